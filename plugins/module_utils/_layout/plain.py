# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain layout: PostgreSQL as it comes, with its configuration inside the data directory or in a folder of its own.

The RHEL family, official images, and servers that people built themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory import (
    initial_configuration as initial,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.base import (
    Paths,
    Wish,
    installed_in,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.host import Host
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.original_files import (
    HBA,
    IDENT,
    MAIN,
    originals,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.service import (
    PgCtl,
    Service,
    Startup,
    SystemdUnit,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User, current_user
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import system_runner

RUN_DIRECTORY = "/var/run/postgresql"


@dataclass(frozen=True)
class PlainLayout:
    """One data directory, wherever it is."""

    paths: Paths
    host: Host
    service_unit: str | None = None

    name = "plain"
    folder_mode = 0o700
    settings_mode = 0o600

    @classmethod
    def resolve(cls, wish: Wish, host: Host) -> PlainLayout:
        version = wish.version or host.usual_version
        programs = installed_in(wish, host, version)
        data_directory = wish.data_directory or _usual_data_directory(host, version, programs)
        if not data_directory:
            raise WalstreamError(
                "the plain layout has no data directory that is the usual one on this distribution: "
                "name it with 'data_directory'"
            )
        paths = Paths(
            version=version,
            cluster=wish.cluster,
            owner=wish.owner,
            bin_directory=programs,
            data_directory=data_directory,
            config_directory=wish.config_directory or data_directory,
            log_file=f"{data_directory}.log",
        )
        return cls(paths, host, wish.service_unit)

    def service(self, owner: User) -> Service:
        paths = self.paths
        startup = Startup(
            data_directory=paths.data_directory,
            config_file=paths.config_file,
            log_file=paths.log_file,
            run_directories=(RUN_DIRECTORY,) if self._listens_in(RUN_DIRECTORY) else (),
        )
        direct = PgCtl(paths.bin_directory, startup, owner, system_runner(owner))
        unit = self.service_unit or self._usual_unit()
        if not unit:
            return direct
        if not self.host.systemd:
            raise WalstreamError(
                f"systemd does not run on this host, so the unit '{unit}' cannot start the server: "
                "leave 'service_unit' out, and pg_ctl does it"
            )
        return SystemdUnit(unit, startup, system_runner(current_user()), direct)

    def _listens_in(self, directory: str) -> bool:
        """Packages build their default socket directory in; its place is known by the folder of the programs."""
        configured = self.paths.configuration().value("unix_socket_directories")
        packaged = self.paths.bin_directory.startswith(("/usr/lib/postgresql/", "/usr/pgsql-", "/usr/bin"))
        return directory in configured if configured else packaged

    def _usual_unit(self) -> str | None:
        """The distribution's unit, where it is about this very data directory."""
        if not self.host.systemd:
            return None
        run = system_runner(current_user())
        for unit in (f"postgresql-{self.paths.version}.service", "postgresql.service"):
            shown = run(["systemctl", "show", "--property=Environment", "--value", unit]).stdout.split()
            if f"PGDATA={self.paths.data_directory}" in (word.rstrip("/") for word in shown):
                return unit
        return None

    def configure(self, owner: User, locale: str, chosen: Mapping[str, str]) -> None:
        paths = self.paths
        original = originals(paths, locale, chosen, system_runner(owner))
        files.make_directory(paths.config_directory, owner, 0o700)
        values: dict[str, str] = {}
        if paths.config_directory != paths.data_directory:
            values["data_directory"] = paths.data_directory
            values["hba_file"] = f"{paths.config_directory}/{HBA}"
            values["ident_file"] = f"{paths.config_directory}/{IDENT}"
        original[MAIN] = initial.with_values(original[MAIN], values)
        for name in (HBA, IDENT, MAIN):  # the main file last: with it the cluster counts as configured
            path = os.path.join(paths.config_directory, name)
            if not os.path.lexists(path):
                files.write(path, original[name], owner, 0o600)
        if values:
            for name in original:  # a second set of files that nobody reads would be a trap
                files.remove(os.path.join(paths.data_directory, name), owner)


def _usual_data_directory(host: Host, version: int | None, programs: str) -> str | None:
    """Of the RHEL family's packages: PGDG's, which carry the version in every path, and the distribution's own."""
    if not host.is_redhat:
        return None
    return f"/var/lib/pgsql/{version}/data" if "pgsql-" in programs else "/var/lib/pgsql/data"
