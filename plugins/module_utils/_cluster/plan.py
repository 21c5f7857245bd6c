# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster's settings should be, given what was declared and what its files say. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal, WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import guc_file
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.guc_file import (
    Configuration,
    ListDirectory,
    Read,
    Setting,
)

OWN_OPTIONS = {"port": "port", "primary_conninfo": "upstream", "primary_slot_name": "slot"}
"""Parameters that have an option of their own, which knows more about them than `settings` could."""

STANDBY_MINIMUMS = {
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}
"""What a standby must have at least as high as its primary (manual, "Hot Standby"), with the server's defaults."""

SLOTS_BY_DEFAULT = 10
"""The server's own `max_replication_slots`."""

_CONTROLDATA_NAMES = {
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}

INCLUDE_LINES = """
# Managed by Ansible (collection walstream.postgresql): settings in files of their own
include_dir 'conf.d'
"""


@dataclass(frozen=True)
class Declared:
    """What a task says about a cluster's settings. None means that it says nothing."""

    settings: Mapping[str, Any] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    keep: Sequence[str] = ()
    purge: bool = True
    options: Mapping[str, str | None] = field(default_factory=dict)
    """Rendered values of the parameters with options of their own; an empty text takes one out of our file."""

    def __post_init__(self) -> None:
        for name in (*(self.settings or ()), *self.defaults):
            option = OWN_OPTIONS.get(str(name).lower())
            if option:
                raise WalstreamError(
                    f"the parameter '{name}' is set by the option '{option}': take it out of the settings"
                )


def wanted_settings(
    declared: Declared, ours: Mapping[str, str], elsewhere: Mapping[str, Setting]
) -> dict[str, str]:
    """The contents of our settings file.

    `ours` is what it says now; `elsewhere` is what the cluster's other files say, to which defaults give way.
    """
    kept = {*OWN_OPTIONS, *(name.lower() for name in declared.keep)}
    if declared.settings is None or not declared.purge:
        wanted: dict[str, str | None] = dict(ours)
    else:
        wanted = {name: value for name, value in ours.items() if name in kept}
    for name, value in guc_file.normalized(declared.defaults).items():
        wanted[name] = None if name in elsewhere else value
    wanted.update(guc_file.normalized(declared.settings or {}))
    wanted.update((name, value or None) for name, value in declared.options.items() if value is not None)
    return {name: value for name, value in wanted.items() if value is not None}


@dataclass(frozen=True)
class Overlay:
    """The files as they are on disk, with some of them as they will be."""

    texts: Mapping[str, str]
    read_from_disk: Read
    list_on_disk: ListDirectory

    def read(self, path: str) -> str | None:
        return self.texts[path] if path in self.texts else self.read_from_disk(path)

    def list_directory(self, path: str) -> Sequence[str] | None:
        prefix = path.rstrip("/") + "/"
        added = [
            one[len(prefix) :]
            for one in self.texts
            if one.startswith(prefix) and "/" not in one[len(prefix) :]
        ]
        names = self.list_on_disk(path)
        if names is None and not added:
            return None
        return list(dict.fromkeys([*(names or ()), *added]))


def refuse_problems(configuration: Configuration) -> None:
    """The server would refuse to start or to reload."""
    if configuration.problems:
        raise Refusal(
            f"the server cannot read its configuration: {'; '.join(configuration.problems)}; correct that first"
        )


def refuse_beaten(configuration: Configuration, settings_file: str, wanted: Mapping[str, str]) -> None:
    """Settings of ours that a later line overrules would silently not hold."""
    effective = configuration.effective()
    beaten = [
        f"'{name}' is set to '{guc_file.masked(winner.value)}' in {winner.file} line {winner.line}"
        for name, value in sorted(wanted.items())
        for winner in [effective.get(name)]
        if winner and winner.file != settings_file and winner.value != value
    ]
    if beaten:
        raise Refusal(
            f"{'; '.join(beaten)}, which is read after {settings_file} and wins: "
            "remove it there, or do not declare it here"
        )


def refuse_contradictions(effective: Mapping[str, str]) -> None:
    """Combinations with which every server refuses to start. Versions before 15 tell only when it is too late."""
    minimal = effective.get("wal_level", "replica").lower() == "minimal"
    reasons = []
    if minimal and effective.get("max_wal_senders", "10") != "0":
        reasons.append("max_wal_senders above 0 needs wal_level 'replica' or 'logical'")
    if minimal and effective.get("archive_mode", "off").lower() not in ("off", "false", "no", "0"):
        reasons.append("archive_mode needs wal_level 'replica' or 'logical'")
    if reasons:
        raise Refusal(f"the server would not start with these settings: {'; '.join(reasons)}")


def refuse_slots_without_room(slots: Sequence[str], effective: Mapping[str, str]) -> None:
    """A new cluster starts without a slot, so its settings alone decide."""
    room = _number(effective.get("max_replication_slots"), SLOTS_BY_DEFAULT)
    if slots and effective.get("wal_level", "replica").lower() == "minimal":
        raise Refusal("slots need wal_level 'replica' or 'logical', and it is 'minimal'")
    if len(slots) > room:
        raise Refusal(
            f"there is no room for {len(slots)} slots ({', '.join(slots)}): max_replication_slots is {room}, "
            "so raise it"
        )


def refuse_too_low_for_standby(effective: Mapping[str, str], on_primary: Mapping[str, int]) -> None:
    """A standby with less than its primary pauses replay or does not start. `on_primary`: from its control file."""
    low = [
        f"{name} is {effective.get(name, default)} here and {on_primary[name]} on the primary"
        for name, default in STANDBY_MINIMUMS.items()
        if name in on_primary and _number(effective.get(name), default) < on_primary[name]
    ]
    if low:
        raise Refusal(
            f"a standby must have at least what its primary has: {'; '.join(low)}; raise it here, "
            "or lower it on the primary first and let this standby replay that"
        )


def _number(value: str | None, default: int) -> int:
    return int(value) if value is not None and value.isdigit() else default


def standby_minimums(controldata: str) -> dict[str, int]:
    """The primary's values, as pg_controldata shows them for a standby."""
    minimums = {}
    for line in controldata.splitlines():
        name, _colon, value = line.partition(" setting:")
        name = {
            "max_prepared_xacts": "max_prepared_transactions",
            "max_locks_per_xact": "max_locks_per_transaction",
        }.get(name, name)
        if name in STANDBY_MINIMUMS and value.strip().isdigit():
            minimums[name] = int(value)
    return minimums


def changed_names(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
