# SPDX-License-Identifier: GPL-3.0-or-later
"""From a plan to a job: measure, run the preflight, and write down exactly what is going to be done."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, replace

from ansible_collections.walstream.postgresql.plugins.module_utils._clone import external, preflight
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.copy import Job
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.move_aside import Moves, plan_moves
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.options import Options
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.plan import Plan
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import (
    COMPLETE,
    JOB,
    Workspace,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    INITDB_WORKSPACE,
    NOT_DATA,
    DataDirectory,
    State,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.programs import (
    Copy,
    Programs,
    find_bin_directory,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import system_runner
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.identity import Identity
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.walsender import Source, Upstream


@dataclass(frozen=True)
class Prepared:
    """A job that has passed the preflight. `bytes` is None where the size is known only once the copy begins."""

    job: Job
    programs: Programs
    bytes: int | None
    free: int


@dataclass(frozen=True)
class Situation:
    """What was found, and what was decided about it."""

    disk: DataDirectory
    workspace: Workspace
    identity: Identity
    plan: Plan

    @property
    def is_partial(self) -> bool:
        return self.disk.state is State.PARTIAL


def prepare(
    options: Options, upstream: Upstream, situation: Situation, ask_upstream: bool = True
) -> Prepared:
    """Everything that can fail before the first byte fails here; nothing is changed.

    `ask_upstream`: whether to try the walsenders and the slot, which a check cannot where a run would first make room.
    """
    disk, workspace, owner = situation.disk, situation.workspace, options.owner
    major = situation.identity.major
    preflight.check_names(options.copy.slot, options.copy.compression, major)
    programs = _find_programs(options, major)
    preflight.check_programs(programs, major, options.verify)
    parent = os.path.dirname(workspace.path)
    preflight.check_writable(
        os.path.dirname(parent) if workspace.in_place else parent,
        owner,
        "the data directory",
        exists=workspace.in_place,
    )
    source = _measure(options, upstream)
    preflight.check_tablespaces(source, options.copy.tablespace_mapping)
    copy = replace(
        options.copy, target=workspace.data, tablespace_mapping=_used_mapping(options.copy, source)
    )
    needed = [path for path in (copy.wal_directory, *copy.tablespace_mapping.values()) if path]
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    moves = plan_moves(disk, needed, stamp, owner) if situation.plan.move_aside else Moves()
    copy = _beside_what_is_taken(copy, moves)
    needed = [path for path in (copy.wal_directory, *copy.tablespace_mapping.values()) if path]
    outside = preflight.check_external(needed, disk.real_path, _ours(situation), owner)
    free = preflight.check_space(
        source, parent, copy.wal_directory, copy.tablespace_mapping, _given_back(situation)
    )
    if ask_upstream:
        left = (workspace.read(JOB) or {}).get("slot") == copy.slot
        preflight.check_upstream(upstream, copy.slot, left_by_us=left)
    job = Job(
        data_directory=options.data_directory,
        real_path=disk.real_path,
        copy=copy,
        system_identifier=situation.identity.system_identifier,
        upstream=upstream.place,
        peer=replace(upstream.peer, slot=copy.slot),
        reason=situation.plan.reason,
        standby=options.desired.standby,
        verify=options.verify,
        external=outside,
        rubbish=_rubbish(disk),
        moves=moves,
        moved_aside_to=moves.aside_to or (workspace.read(COMPLETE) or {}).get("moved_aside_to"),
        target_mode=_mode(disk.real_path) if disk.state is State.EMPTY else None,
    )
    return Prepared(job, programs, source.bytes, free)


def leads(disk: DataDirectory) -> list[str]:
    """Where the links of an interrupted base backup lead: that belongs to it."""
    return [path for path in (disk.wal_directory, *disk.tablespaces.values()) if path]


def _rubbish(disk: DataDirectory) -> tuple[str, ...]:
    """What has to go from the data directory: what an interrupted base backup or initdb left there."""
    if disk.state is State.PARTIAL:
        return tuple(os.listdir(disk.real_path))
    if disk.state is not State.EMPTY:
        return ()
    names = set(os.listdir(disk.real_path)) - NOT_DATA
    if names - {INITDB_WORKSPACE}:
        raise WalstreamError(
            f"'{disk.path}' {disk.reason}, whose parts have begun to take their place: look at them, and empty it"
        )
    return tuple(names)


def _find_programs(options: Options, major: int) -> Programs:
    directory = find_bin_directory(options.bin_directory, major, "pg_basebackup")
    if directory is None:
        raise WalstreamError(
            f"pg_basebackup of version {major} is not on this host: install PostgreSQL {major}'s packages, or "
            "point 'bin_directory' at the folder that holds its programs"
        )
    return Programs(directory, system_runner(options.owner))


def _measure(options: Options, upstream: Upstream) -> Source:
    """The size as the caller measured it, or as the role may ask for it, or unknown until the copy begins."""
    if options.source_tablespaces is not None:
        return Source(dict.fromkeys(["", *options.source_tablespaces]), options.source_bytes)
    if options.source_bytes is not None:
        return Source(None, options.source_bytes)
    return upstream.measure()


def _used_mapping(copy: Copy, source: Source) -> dict[str, str]:
    """Without what maps a tablespace that the upstream does not have: it would leave an empty directory."""
    return {
        old: new
        for old, new in copy.tablespace_mapping.items()
        if source.by_location is None or old in source.by_location
    }


def _beside_what_is_taken(copy: Copy, moves: Moves) -> Copy:
    """Where the cluster that is to be replaced has its place still, the copy is made beside it."""
    staged = {move.target: move.source for move in moves.into}
    wal = copy.wal_directory
    return replace(
        copy,
        wal_directory=staged.get(wal, wal) if wal else None,
        tablespace_mapping={old: staged.get(new, new) for old, new in copy.tablespace_mapping.items()},
    )


def _ours(situation: Situation) -> list[str]:
    """Directories outside whose contents are the rest of an interrupted copy."""
    workspace = situation.workspace
    left = external.filled_by(workspace.read(JOB) or {}, workspace.data) if situation.plan.clean else []
    return [*left, *(leads(situation.disk) if situation.is_partial else [])]


def _given_back(situation: Situation) -> int:
    """Bytes that cleaning up will free where the data directory is."""
    if not situation.plan.clean:
        return 0
    bytes_left = preflight.size_of_tree(situation.workspace.data)
    return bytes_left + (preflight.size_of_tree(situation.disk.real_path) if situation.is_partial else 0)


def _mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)
