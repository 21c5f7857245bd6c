# SPDX-License-Identifier: GPL-3.0-or-later
"""What a data directory is: a pure judgement on what was read from the disk.

Only two things are believed: the control file and the signal files. `PG_VERSION` proves nothing,
since a killed pg_basebackup leaves it behind. What is not recognised is `unknown`, with the reason,
and is never taken for something that may be overwritten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.control_file import ControlData

IN_PLACE_WORKSPACE = ".walstream.clone"
"""Where a clone is prepared inside a data directory that is a mount point and cannot be renamed."""

COMPLETE = "complete.json"
"""In a workspace: the copy beneath it is whole, and only has to be put into its place."""

COPY = "data"
"""In a workspace: the copy itself."""

INITDB_WORKSPACE = ".walstream.initdb"
"""Where our initdb works inside such a data directory; its control file moves out of there last."""

NOT_DATA = frozenset({"lost+found"})
"""What a new file system holds by itself."""

# Base backups come with the configuration, certificates and logs that their source keeps in its data directory.
_CLUSTER_NAMES = frozenset(
    [
        "PG_VERSION",
        "backup_label",
        "backup_label.old",
        "backup_manifest",
        "backup_manifest.tmp",
        "base",
        "conf.d",
        "current_logfiles",
        "global",
        "log",
        "pg_clog",
        "pg_commit_ts",
        "pg_dynshmem",
        "pg_log",
        "pg_logical",
        "pg_multixact",
        "pg_notify",
        "pg_replslot",
        "pg_serial",
        "pg_snapshots",
        "pg_stat",
        "pg_stat_tmp",
        "pg_subtrans",
        "pg_tblspc",
        "pg_twophase",
        "pg_wal",
        "pg_xact",
        "recovery.done",
        "recovery.signal",
        "standby.signal",
        "tablespace_map",
        "tablespace_map.old",
    ]
)
_SERVER_NAMES = frozenset({"postmaster.opts", "postmaster.pid"})
_COPIED_FILE = re.compile(r"^[\w.-]+\.(conf|crt|key|pem|csr|crl|srl|bak|old|log)$")
_WAL_NAME = re.compile(
    r"^([0-9A-F]{24}(\.[0-9A-F]{8}\.backup)?(\.partial)?|[0-9A-F]{8}\.history|archive_status|summaries)$"
)
_NAMES_SHOWN = 3


class State(str, Enum):
    """What a data directory is."""

    ABSENT = "absent"
    EMPTY = "empty"
    PARTIAL = "partial"
    PRIMARY = "primary"
    STANDBY = "standby"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Damage:
    """Why a cluster cannot be judged, in words that follow "holds a cluster"."""

    reason: str


@dataclass(frozen=True)
class Contents:
    """What was read from the disk.

    `obstacle` is what stands in the place of a readable directory, in words. `control` is None where
    there is no control file. `wal_names` is what `pg_wal` holds, and what waits there to be archived; it matters only
    without a control file.
    `staged_complete`: a complete copy of ours waits in the in-place workspace, at least its control file.
    """

    exists: bool = True
    obstacle: str | None = None
    names: frozenset[str] = frozenset()
    wal_names: frozenset[str] = frozenset()
    control: ControlData | Damage | None = None
    staged_complete: bool = False


@dataclass(frozen=True)
class DataDirectory:
    """Everything that is known about a data directory. `path` is what the user named, `real_path` what it leads to."""

    path: str
    real_path: str
    state: State
    reason: str
    version: int | None = None
    control: ControlData | None = None
    running: bool = False
    server: str = ""
    used_by: str = ""
    stale_pid_file: bool = False
    backup_label: bool = False
    recovery_signal: bool = False
    standby_signal: bool = False
    is_mount_point: bool = False
    lost_and_found: bool = False
    wal_directory: str | None = None
    tablespaces: Mapping[str, str] = field(default_factory=dict)

    @property
    def system_identifier(self) -> str | None:
        return self.control.system_identifier if self.control else None

    @property
    def timeline(self) -> int | None:
        return self.control.newest_timeline if self.control else None

    @property
    def cannot_be_renamed(self) -> bool:
        """A mount point stays where it is; `lost+found` betrays one that is hidden from this process."""
        return self.is_mount_point or self.lost_and_found

    @property
    def was_started(self) -> bool:
        """A server has run here: recovery turns backup_label into backup_label.old as it begins."""
        return not self.backup_label

    def as_dict(self) -> dict[str, Any]:
        """The return value of `data_directory_info`."""
        control = self.control
        return {
            "path": self.path,
            "real_path": self.real_path,
            "state": self.state.value,
            "reason": self.reason,
            "version": self.version,
            "system_identifier": self.system_identifier,
            "timeline": self.timeline,
            "control_state": control.state if control else None,
            "checkpoint_lsn": control.checkpoint_lsn if control else None,
            "minimum_recovery_lsn": control.minimum_recovery_lsn if control else None,
            "data_checksums": control.data_checksums if control else None,
            "running": self.running,
            "stale_pid_file": self.stale_pid_file,
            "backup_label": self.backup_label,
            "recovery_signal": self.recovery_signal,
            "standby_signal": self.standby_signal,
            "is_mount_point": self.is_mount_point,
            "wal_directory": self.wal_directory,
            "tablespaces": dict(self.tablespaces),
        }


def classify(contents: Contents) -> tuple[State, str]:
    """The state of a directory and the reason for it, in words that follow its name and 'is' or 'holds'."""
    if contents.obstacle:
        return State.UNKNOWN, contents.obstacle
    if not contents.exists:
        return State.ABSENT, "does not exist"
    if isinstance(contents.control, Damage):
        return State.UNKNOWN, f"holds a cluster {contents.control.reason}"
    if isinstance(contents.control, ControlData):
        return _classify_cluster(contents.names)
    return _classify_without_control_file(contents)


def _classify_cluster(names: frozenset[str]) -> tuple[State, str]:
    if "standby.signal" in names:
        return State.STANDBY, "holds a standby"
    if "recovery.signal" in names:
        return State.PRIMARY, "holds a cluster that recovers from an archive and then becomes a primary"
    if "backup_label" in names:
        return State.PRIMARY, "holds a base backup that has not been started and is no standby"
    return State.PRIMARY, "holds a primary"


def _classify_without_control_file(contents: Contents) -> tuple[State, str]:
    names = contents.names - NOT_DATA
    if not names:
        return State.EMPTY, "is empty"
    if INITDB_WORKSPACE in names:
        return State.EMPTY, "is empty but for an interrupted initdb of ours"
    if IN_PLACE_WORKSPACE in names:
        return _classify_in_place(names - {IN_PLACE_WORKSPACE}, contents)
    return _classify_parts(names, contents.wal_names)


def _classify_in_place(others: frozenset[str], contents: Contents) -> tuple[State, str]:
    if contents.staged_complete:
        return State.PARTIAL, "holds a clone of ours that is complete but not yet in its place"
    if not others:
        return State.PARTIAL, "holds an interrupted clone of ours"
    return _classify_parts(others, contents.wal_names)


def _classify_parts(names: frozenset[str], wal_names: frozenset[str]) -> tuple[State, str]:
    foreign = frozenset(name for name in names if not _from_a_cluster(name))
    if foreign:
        kind = "files that are not a cluster's" if foreign == names else "foreign files"
        return State.UNKNOWN, f"holds {kind} ({_some(foreign)})"
    # With tablespaces, those come first, while WAL already streams: so far there is nothing but pg_wal. What waits to
    # be archived there is a server's.
    just_begun = names <= {"pg_wal", "backup_manifest.tmp"} and all(map(is_wal_name, wal_names))
    # What only a server leaves behind is in no base backup.
    if ("backup_label" in names or just_begun) and not names & _SERVER_NAMES:
        return State.PARTIAL, "holds an interrupted base backup, without a control file"
    return State.UNKNOWN, f"holds parts of a cluster without its control file ({_some(names)})"


def is_wal_name(name: str) -> bool:
    """Whether PostgreSQL gives this name to something in `pg_wal`."""
    return bool(_WAL_NAME.match(name))


def _from_a_cluster(name: str) -> bool:
    return name in _CLUSTER_NAMES | _SERVER_NAMES or bool(_COPIED_FILE.match(name))


def _some(names: frozenset[str]) -> str:
    shown = sorted(names)
    more = ", …" if len(shown) > _NAMES_SHOWN else ""
    return ", ".join(shown[:_NAMES_SHOWN]) + more
