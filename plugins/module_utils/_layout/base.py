# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a cluster's files are and how its server is controlled: one interface for every kind of host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.host import Host
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.service import Service
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import guc_file
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User

SETTINGS_FILE = "walstream.conf"
"""Our one file, in `conf.d` beside the main configuration file."""

INCLUDE = "conf.d"

LAYOUT_OPTIONS: dict[str, dict[str, Any]] = {
    "version": {"type": "int"},
    "layout": {"type": "str", "choices": ["debian", "plain"]},
    "data_directory": {"type": "path"},
    "config_directory": {"type": "path"},
    "bin_directory": {"type": "path"},
    "owner": {"type": "str", "default": "postgres"},
    "service_unit": {"type": "str"},
}
"""The options by which every module of ours is told which cluster is meant."""


@dataclass(frozen=True)
class Wish:
    """Which cluster is meant, as far as somebody said."""

    version: int | None = None
    layout: str | None = None
    cluster: str = "main"
    data_directory: str | None = None
    config_directory: str | None = None
    bin_directory: str | None = None
    owner: str = "postgres"
    service_unit: str | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any], cluster: str) -> Wish:
        given = {name: params[name] for name in LAYOUT_OPTIONS if params[name] is not None}
        for option in ("data_directory", "config_directory", "bin_directory"):
            if option in given:
                given[option] = _absolute(option, given[option])
        return cls(cluster=cluster, **given)


def _absolute(option: str, path: str) -> str:
    if not os.path.isabs(path):
        raise WalstreamError(f"{option} '{path}' is not an absolute path: give it from the root on")
    return os.path.normpath(path)


@dataclass(frozen=True)
class Paths:
    """One cluster's files."""

    version: int | None
    cluster: str
    owner: str
    bin_directory: str
    data_directory: str
    config_directory: str
    log_file: str

    @property
    def config_file(self) -> str:
        return os.path.join(self.config_directory, "postgresql.conf")

    @property
    def settings_file(self) -> str:
        return os.path.join(self.config_directory, INCLUDE, SETTINGS_FILE)

    @property
    def auto_file(self) -> str:
        """Where ALTER SYSTEM writes; the server reads it after every other file."""
        return os.path.join(self.data_directory, "postgresql.auto.conf")

    @property
    def has_configuration(self) -> bool:
        return os.path.exists(self.config_file)

    def configuration(self) -> guc_file.Configuration:
        """What the main file and its includes say; empty where there is none."""
        if not self.has_configuration:
            return guc_file.Configuration()
        with files.acting_as(self.owner):
            return guc_file.load(self.config_file, files.read, files.list_directory)

    def loaded_files(self) -> list[str]:
        """Files, and folders of files, that the server reads its parameters and rules from."""
        configuration = self.configuration()
        rules = self.file_named("hba_file", "pg_hba.conf", configuration)
        return [*configuration.files, *configuration.directories, self.auto_file, rules]

    def file_named(self, parameter: str, name: str, configuration: guc_file.Configuration) -> str:
        """hba_file and the like: as configured, else beside the main file."""
        configured = configuration.value(parameter)
        return (
            os.path.join(self.data_directory, configured) if configured else f"{self.config_directory}/{name}"
        )


class Layout(Protocol):
    """One kind of host. `paths` is resolved; everything else is done with it."""

    @property
    def name(self) -> str: ...

    @property
    def settings_mode(self) -> int:
        """The mode of our settings file."""

    @property
    def folder_mode(self) -> int:
        """The mode of its folder, where that has to be made."""

    @property
    def paths(self) -> Paths: ...

    def service(self, owner: User) -> Service:
        """How this cluster's server is started and stopped."""

    def configure(self, owner: User, locale: str, chosen: Mapping[str, str]) -> None:
        """Make the configuration files of a data directory that has none. What exists is kept.

        `chosen` are values for a main file that has to be made, in the place of initdb's.

        Killed half-way and repeated, it completes: the main file comes last.
        """


def installed_in(wish: Wish, host: Host, version: int | None) -> str:
    """The folder with the programs of this version; empty where they are not installed."""
    if wish.bin_directory:
        return wish.bin_directory
    return host.installed.get(version, "") if version else ""
