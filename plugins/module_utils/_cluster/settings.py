# SPDX-License-Identifier: GPL-3.0-or-later
"""From a cluster's configuration files as they are to what they should be. Reads only."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from ansible_collections.walstream.postgresql.plugins.module_utils._cluster.plan import (
    INCLUDE_LINES,
    Declared,
    Overlay,
    wanted_settings,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.base import Paths
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import guc_file
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files


@dataclass(frozen=True)
class SettingsPlan:
    """From the files as they are to the files as they should be."""

    before: str | None
    after: str | None
    wanted: dict[str, str]
    ours: dict[str, str]
    configuration: guc_file.Configuration
    main: str | None = None
    """The main file with the line that includes ours, where it lacks that."""
    overridden: tuple[str, ...] = ()
    """Parameters of ours that ALTER SYSTEM has set, which would win."""

    @property
    def is_settled(self) -> bool:
        return self.before == self.after and self.main is None

    @classmethod
    def read(cls, paths: Paths, declared: Declared) -> SettingsPlan:
        """Hold what is declared against the files on disk."""
        before = files.read(paths.settings_file)
        ours = {setting.name: setting.value for setting in guc_file.parse(before or "")}
        automatic = guc_file.parse(files.read(paths.auto_file) or "", paths.auto_file)
        elsewhere = paths.configuration().effective(without={paths.settings_file})
        elsewhere.update((setting.name, setting) for setting in automatic)
        wanted = wanted_settings(declared, ours, elsewhere)
        after = guc_file.render(wanted) if wanted or before is not None else None
        decided = {*wanted, *(name for name, value in declared.options.items() if value is not None)}
        overridden = tuple(sorted({setting.name for setting in automatic} & decided))

        texts = {} if after is None else {paths.settings_file: after}
        main = _main_with_include(paths) if texts and paths.has_configuration else None
        if main is not None:
            texts[paths.config_file] = main
        overlay = Overlay(texts, files.read, files.list_directory)
        if paths.has_configuration:
            configuration = guc_file.load(paths.config_file, overlay.read, overlay.list_directory)
        else:
            configuration = guc_file.Configuration(tuple(guc_file.parse(after or "", paths.settings_file)))
        kept = tuple(setting for setting in automatic if setting.name not in overridden)
        configuration = replace(configuration, settings=(*configuration.settings, *kept))
        return cls(before, after, wanted, ours, configuration, main, overridden)


def _main_with_include(paths: Paths) -> str | None:
    """The main file's text with our include line, where it lacks one."""
    configuration = paths.configuration()
    folder = os.path.dirname(paths.settings_file)
    if folder in configuration.directories or paths.settings_file in configuration.files:
        return None
    return (files.read(paths.config_file) or "").rstrip("\n") + "\n" + INCLUDE_LINES
