# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy itself: pg_basebackup into the workspace, proof that the copy is whole, and the move into its place.

Runs in the worker (`job`). Reads none of the data: that is left to PostgreSQL's programs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._clone.copy_errors import (
    explain_copy,
    reason_in,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.move_aside import Moves, carry_out
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.progress import (
    CLEANING,
    FINISHING,
    VERIFYING,
    size,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.reporter import Reporter
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import (
    COMPLETE,
    JOB,
    Workspace,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    IN_PLACE_WORKSPACE,
    NOT_DATA,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.control_file import Damaged
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.programs import Copy, Programs
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import (
    remove_entries,
    sync_directory,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.supervised import Supervisor
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.login_errors import UpstreamNames

_GROUP_ACCESS = 0o750
_CONTROL_DIRECTORY = "global"
_LABEL = "backup_label"
_LINES_KEPT = 200


@dataclass(frozen=True)
class Job:
    """Everything that the worker needs to know.

    `external`: the WAL directory and tablespaces it fills, each with whether it has to be made. `rubbish`: what an
    interrupted copy left in the data directory. `moved_aside_to`: where the replaced cluster goes, or went already.
    """

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
    moves: Moves = field(default_factory=Moves)
    moved_aside_to: str | None = None
    target_mode: int | None = None

    def record(self, token: str) -> dict[str, Any]:
        """What the workspace keeps of it: how the next run knows what this one was about, if it is killed."""
        return {
            "token": token,
            "data_directory": self.data_directory,
            "real_path": self.real_path,
            "upstream": self.upstream,
            "slot": self.copy.slot,
            "system_identifier": self.system_identifier,
            "wal_directory": self.copy.wal_directory,
            "external": dict(self.external),
            "reason": self.reason,
        }


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
        if job.rubbish or os.path.lexists(workspace.data):
            reporter.enter(CLEANING)
            workspace.discard_copy()
            with rights.beneath():
                _remove_rubbish(job)
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
            "moves": self.job.moves.as_dict(),
            "moved_aside_to": self.job.moved_aside_to,
        }

    def _run_basebackup(self) -> None:
        said: list[str] = []

        def listen(line: str) -> None:
            if not self.reporter.hear(line):
                said.append(line)
                del said[:-_LINES_KEPT]
                return
            self._note_filling()
            if not self.job.copy.tablespace_mapping:
                _check_space(self.workspace.path, self.reporter)

        rc = self.supervisor.run(self.programs.basebackup(self.job.copy), listen)
        if rc != 0:
            reason = (
                f"it was killed by signal {-rc}; run again" if rc < 0 else explain_copy(said, self.job.peer)
            )
            raise WalstreamError(
                f"the copy from {self.job.upstream} to '{self.job.data_directory}' failed: {reason}"
            )

    def _note_filling(self) -> None:
        """The first count comes when every tablespace has been found empty, and before the first byte is written."""
        if self.reporter.filling or self.reporter.progress.bytes_total is None:
            return
        self.reporter.filling = True
        if self.job.external:
            record = {**self.job.record(self.reporter.token), "filling": True}
            self.workspace.write(JOB, record, durable=True)

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


def put_into_place(real_path: str, workspace: Workspace) -> None:
    """Let the complete copy become the data directory. May be called again after it was interrupted anywhere."""
    rights = workspace.rights
    if not os.path.lexists(workspace.data):
        return
    moves = Moves.from_dict((workspace.read(COMPLETE) or {}).get("moves"))
    carry_out(moves, workspace.data, rights.owner)
    if workspace.in_place:
        with rights.beneath():
            _move_up(workspace.data, real_path)
        return
    with rights.beside():
        # In one step, and only onto nothing or an empty directory: the kernel refuses anything else.
        try:
            os.rename(workspace.data, real_path)
        except OSError as error:
            kept = f"; what was replaced is in '{moves.aside_to}'" if moves.have_begun else ""
            raise WalstreamError(
                f"the complete copy cannot take the place of '{real_path}' ({error.strerror}); it stays in "
                f"'{workspace.data}'{kept}: see what appeared there while it was made, and run again"
            ) from None
        sync_directory(os.path.dirname(real_path))


def _move_up(data: str, target: str) -> None:
    """The control file's directory goes last: until then the target is recognised as partial, and cannot start.

    The label goes first: what has moved is then always recognised as parts of a base backup.
    """
    with contextlib.suppress(FileNotFoundError):
        names = sorted(os.listdir(data), key=lambda name: (name == _CONTROL_DIRECTORY, name != _LABEL, name))
        for name in names:
            if name == _CONTROL_DIRECTORY:
                sync_directory(target)
            os.rename(os.path.join(data, name), os.path.join(target, name))
        sync_directory(target)
        os.rmdir(data)


def _remove_rubbish(job: Job) -> None:
    """backup_label goes last: it is what tells an interrupted base backup from a damaged cluster."""
    if not job.rubbish:
        return
    names = set(os.listdir(job.real_path)) & set(job.rubbish) - NOT_DATA - {IN_PLACE_WORKSPACE}
    remove_entries(job.real_path, sorted(names, key=lambda name: (name == _LABEL, name)))


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
                "the same path if it may be there on this host too"
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
    told = {name: stamp.get(name) for name in names}
    if not os.path.lexists(str(told["moved_aside_to"])):
        told["moved_aside_to"] = None
    return {**told, "seconds": round(seconds, 3)}
