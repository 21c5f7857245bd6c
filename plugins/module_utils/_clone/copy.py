# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy itself: pg_basebackup into the workspace, proof that the copy is whole, and the move into its place.

Runs in the worker (`job`). Reads none of the data: that is left to PostgreSQL's programs.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._clone.copy_errors import (
    explain_copy,
    reason_in,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.move_aside import Move, carry_out
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.progress import (
    CLEANING,
    FINISHING,
    VERIFYING,
    size,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.reporter import Reporter
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import (
    COMPLETE,
    MOVES,
    Rights,
    Workspace,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    IN_PLACE_WORKSPACE,
    NOT_DATA,
    is_wal_name,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.control_file import Damaged
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.programs import Copy, Programs
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import (
    OWNER_ONLY,
    make_directory,
    remove_entries,
    sync_directory,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.supervised import Supervisor
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.login_errors import UpstreamNames

_TABLESPACE_CONTENT = re.compile(r"^PG_\d+_\d+$")
_GROUP_ACCESS = 0o750
_PARENT_MODE = 0o755
_CONTROL_DIRECTORY = "global"
_LINES_KEPT = 200


@dataclass(frozen=True)
class Job:
    """Everything that the worker needs to know. `external`: the WAL directory and tablespaces it fills, each with
    whether it has to be made. `rubbish`: what an interrupted copy left in the data directory."""

    data_directory: str
    real_path: str
    copy: Copy
    system_identifier: str
    upstream: str
    peer: UpstreamNames
    reason: str = ""
    standby: bool = True
    verify: bool = True
    external: Mapping[str, bool] = field(default_factory=dict)
    rubbish: tuple[str, ...] = ()
    moves: tuple[Move, ...] = ()
    moves_first: bool = False
    target_mode: int | None = None

    @property
    def moved_aside_to(self) -> str | None:
        return self.moves[-1].target if self.moves else None


@dataclass
class Clone:
    """One copy being made: what (`job`), where (`workspace`), and with whose help."""

    job: Job
    workspace: Workspace
    programs: Programs
    supervisor: Supervisor
    reporter: Reporter

    def make(self) -> None:
        """Everything up to the stamp that calls the copy complete. What fails leaves the target untouched."""
        job, workspace, reporter = self.job, self.workspace, self.reporter
        rights = workspace.rights
        if job.rubbish:
            reporter.enter(CLEANING)
            with rights.beneath():
                _remove_rubbish(job)
        if job.moves_first:
            make_room(job.moves, workspace)
        for path in (path for path, missing in job.external.items() if missing):
            make_external(path, rights)
        self._run_basebackup()
        with rights.beneath():
            _check_tablespaces(job, workspace.data)
        if job.verify:
            reporter.enter(VERIFYING)
            self._verify()
        reporter.enter(FINISHING)
        self._check_identity()
        with rights.beneath():
            _set_signals(workspace.data, job.standby)
            if job.target_mode == _GROUP_ACCESS:
                os.chmod(workspace.data, _GROUP_ACCESS)
            sync_directory(workspace.data)
        workspace.write(COMPLETE, self._stamp(), durable=True)

    def _stamp(self) -> dict[str, Any]:
        progress = self.reporter.progress
        return {
            "system_identifier": self.job.system_identifier,
            "timeline": progress.timeline,
            "start_lsn": progress.start_lsn,
            "bytes": progress.bytes_done,
            "standby": self.job.standby,
            "verified": self.job.verify,
            "moved_aside_to": self.job.moved_aside_to,
        }

    def _run_basebackup(self) -> None:
        said: list[str] = []

        def listen(line: str) -> None:
            if not self.reporter.hear(line):
                said.append(line)
                del said[:-_LINES_KEPT]
            elif not self.job.copy.tablespace_mapping:
                _check_space(self.workspace.path, self.reporter)

        rc = self.supervisor.run(self.programs.basebackup(self.job.copy), listen)
        if rc != 0:
            reason = (
                f"it was killed by signal {-rc}; run again" if rc < 0 else explain_copy(said, self.job.peer)
            )
            raise WalstreamError(
                f"the copy from {self.job.upstream} to '{self.job.data_directory}' failed: {reason}"
            )

    def _verify(self) -> None:
        said: list[str] = []
        rc = self.supervisor.run(self.programs.verifybackup(self.workspace.data), said.append)
        if rc != 0:
            reason = f"pg_verifybackup was killed by signal {-rc}" if rc < 0 else reason_in(said)
            raise WalstreamError(
                f"the copy is not what the upstream sent ({reason}): it was removed; check this host's storage, "
                "and run again"
            )

    def _check_identity(self) -> None:
        """The upstream's address may have changed hands between the question who it is and the copy."""
        try:
            control = self.programs.control_data(self.workspace.data)
        except Damaged as damage:
            raise WalstreamError(f"the copy's control file is damaged ({damage}): run again") from None
        if control.system_identifier != self.job.system_identifier:
            raise WalstreamError(
                f"the copy is one of cluster {control.system_identifier}, but the upstream was "
                f"{self.job.system_identifier} a moment ago: another server answers at its address; check who it is"
            )


def make_room(moves: tuple[Move, ...], workspace: Workspace) -> None:
    """Move aside what is replaced, writing down beforehand what is going to be moved."""
    workspace.write(MOVES, {"moves": [move.as_dict() for move in moves]}, durable=True)
    carry_out(moves, workspace.rights)
    workspace.forget(MOVES)


def put_into_place(real_path: str, workspace: Workspace) -> None:
    """Let the complete copy become the data directory. May be called again after it was interrupted anywhere."""
    rights = workspace.rights
    if workspace.in_place:
        with rights.beneath():
            _move_up(workspace.data, real_path)
        return
    if os.path.lexists(workspace.data):
        with rights.beside():
            # In one step, and only onto nothing or an empty directory: the kernel refuses anything else.
            try:
                os.rename(workspace.data, real_path)
            except OSError as error:
                raise WalstreamError(
                    f"the complete copy cannot take the place of '{real_path}' ({error.strerror}); it stays in "
                    f"'{workspace.data}': see what appeared there while it was made, and run again"
                ) from None
            sync_directory(os.path.dirname(real_path))


def _move_up(data: str, target: str) -> None:
    """The control file's directory goes last: until then the target is recognised as partial, and cannot start."""
    with contextlib.suppress(FileNotFoundError):
        names = sorted(os.listdir(data), key=lambda name: (name == _CONTROL_DIRECTORY, name))
        for name in names:
            if name == _CONTROL_DIRECTORY:
                sync_directory(target)
            os.rename(os.path.join(data, name), os.path.join(target, name))
        sync_directory(target)
        os.rmdir(data)


def clean_external(external: Mapping[str, bool], rights: Rights) -> None:
    """Empty the WAL directory and tablespaces of a copy that did not become one, and remove those it made."""
    for path, was_missing in external.items():
        with rights.beneath(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names = os.listdir(path)
            remove_entries(path, [name for name in names if is_copied_there(name)])
        if was_missing:
            above = Rights.over(os.path.dirname(path), rights.owner)
            with above.beside(), contextlib.suppress(OSError):
                os.rmdir(path)


def links_of(real_path: str) -> set[str]:
    """The WAL directory and tablespaces of the cluster in `real_path`; none where there is no whole cluster."""
    if not os.path.exists(os.path.join(real_path, _CONTROL_DIRECTORY, "pg_control")):
        return set()
    place = os.path.join(real_path, "pg_tblspc")
    links = [os.path.join(real_path, "pg_wal")]
    with contextlib.suppress(OSError):
        links += [os.path.join(place, name) for name in os.listdir(place)]
    return {os.path.realpath(link) for link in links if os.path.islink(link)}


def is_copied_there(name: str) -> bool:
    """Whether pg_basebackup puts something of this name into a WAL directory or a tablespace."""
    return is_wal_name(name) or bool(_TABLESPACE_CONTENT.match(name))


def _remove_rubbish(job: Job) -> None:
    """backup_label goes last: it is what tells an interrupted base backup from a damaged cluster."""
    names = set(os.listdir(job.real_path)) & set(job.rubbish) - NOT_DATA - {IN_PLACE_WORKSPACE}
    remove_entries(job.real_path, sorted(names, key=lambda name: (name == "backup_label", name)))


def make_external(path: str, rights: Rights, mode: int = OWNER_ONLY) -> None:
    """Make a WAL directory or a tablespace's, with the folders above it that are missing."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        make_external(parent, rights, _PARENT_MODE)
    with Rights.over(parent, rights.owner).beside(), contextlib.suppress(FileExistsError):
        make_directory(path, rights.owner, mode)


def _check_space(path: str, reporter: Reporter) -> None:
    """Stop at the first byte rather than at the last if the estimate says that it will not fit."""
    progress = reporter.progress
    if reporter.space_checked or not progress.bytes_total:
        return
    reporter.space_checked = True
    left, free = progress.bytes_total - progress.bytes_done, free_bytes(path)
    if left > free:
        raise WalstreamError(
            f"the copy needs {size(progress.bytes_total)}, and the file system of '{path}' has only "
            f"{size(free)} free: free space or give the data directory a larger file system"
        )


def free_bytes(path: str) -> int:
    """What an ordinary user may still write on the file system of `path`."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def _check_tablespaces(job: Job, data: str) -> None:
    """A tablespace that nobody mapped was copied to the path that it has on the upstream."""
    place = os.path.join(data, "pg_tblspc")
    mapped = set(job.copy.tablespace_mapping.values())
    for name in os.listdir(place):
        link = os.path.join(place, name)
        target = os.readlink(link) if os.path.islink(link) else link
        if target not in mapped:
            raise WalstreamError(
                f"the upstream has a tablespace at '{target}' that 'tablespace_mapping' does not name: add it, with "
                "the same path if it may be there on this host too, and remove what was copied there"
            )


def _set_signals(data: str, standby: bool) -> None:
    """A copy of a standby brings its signal files along; a copy decides for itself."""
    for name in ("recovery.signal", *(() if standby else ("standby.signal",))):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(data, name))
    if standby:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(os.path.join(data, "standby.signal"), flags, 0o600)
        os.fsync(descriptor)
        os.close(descriptor)


def result_of(stamp: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """The part of the module's return value that the copy knows."""
    names = ("system_identifier", "timeline", "start_lsn", "bytes", "moved_aside_to")
    return {**{name: stamp.get(name) for name in names}, "seconds": round(seconds, 3)}
