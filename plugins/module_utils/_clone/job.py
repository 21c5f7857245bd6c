# SPDX-License-Identifier: GPL-3.0-or-later
"""A clone outlives the connection that asked for it: it runs in a process of its own, and others wait for it.

The worker holds the workspace's lock for as long as it lives. Whoever wants to know how it ended
waits for the lock and reads `progress.json`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import uuid
from dataclasses import dataclass
from typing import Any, Callable, NoReturn

from ansible_collections.walstream.postgresql.plugins.module_utils._clone import external
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.copy import (
    Clone,
    Job,
    put_into_place,
    result_of,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.move_aside import Moves, carry_out
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.progress import DONE, FAILED
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.reporter import Reporter
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import (
    COMPLETE,
    JOB,
    PROGRESS,
    WAITERS,
    Workspace,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import COPY
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.programs import Programs
from ansible_collections.walstream.postgresql.plugins.module_utils._system.processes import (
    end_marked,
    marked_with,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.supervised import Supervisor

LOOK_EVERY, LOOK_LATER_EVERY = 0.03, 0.25
QUICK_FOR = 3.0
"""A small clone is over in that time, and not a moment of it is lost. A long one is looked at at leisure."""

REPORT_KEPT_FOR = 30.0
"""Seconds that the worker leaves its report for somebody to read before it removes it itself."""


@dataclass(frozen=True)
class Outcome:
    """How a clone ended; `result` or `error`, or neither if it was killed."""

    token: str
    result: dict[str, Any] | None = None
    error: str | None = None

    @classmethod
    def read(cls, workspace: Workspace) -> Outcome:
        last = workspace.read(PROGRESS) or {}
        return cls(str(last.get("token", "")), last.get("result"), last.get("error"))


def start(job: Job, workspace: Workspace, lock: int, programs: Programs, timeout: float | None = None) -> str:
    """Start the worker and return the clone's token. The lock goes over to the worker."""
    token = uuid.uuid4().hex
    # The worker removes the rest of an earlier copy, where somebody sees that it takes its time.
    workspace.clear(keep=frozenset({COPY, WAITERS}))
    workspace.write(JOB, job.record(token), durable=True)
    # From now on nobody who looks finds nothing.
    reporter = Reporter(workspace, token, time.time)

    def work() -> None:
        if not workspace.rights.beside_as_root and not job.moves.need_root(workspace.rights.owner):
            workspace.rights.settle()
        supervisor = Supervisor(workspace.rights.owner, token, timeout)
        _work(Clone(job, workspace, programs, supervisor, reporter), lock)

    _detach(lock, work)
    os.close(lock)
    return token


def wait(workspace: Workspace, seconds: float | None) -> bool:
    """Wait until no clone works here any more; False if `seconds` were over first."""
    began = time.monotonic()
    while workspace.exists() and workspace.is_locked():
        passed = time.monotonic() - began
        if seconds is not None and passed >= seconds:
            return False
        time.sleep(LOOK_EVERY if passed < QUICK_FOR else LOOK_LATER_EVERY)
    return True


def tidy(workspace: Workspace) -> None:
    """Remove what a clone that is over has left, except a complete copy.

    Not while another one works here, and not before everybody who waits for it knows its end.
    """
    if not workspace.exists() or workspace.is_awaited():
        return
    lock = workspace.try_lock()
    if lock is None:
        return
    try:
        if not (workspace.read(COMPLETE) and os.path.lexists(workspace.data)):
            clean_up(workspace)
            workspace.remove()
    finally:
        os.close(lock)


def clean_up(workspace: Workspace) -> None:
    """End what an interrupted clone has left running, and empty the directories that it filled.

    A copy that is already in its place keeps them: that is one which is complete and no longer in the workspace.
    What had begun to move aside for it goes on to do so: half of a cluster in each of two places helps nobody.
    """
    end_orphans(workspace)
    stamp, record = workspace.read(COMPLETE), workspace.read(JOB) or {}
    if os.path.lexists(workspace.data):
        moves = Moves.from_dict((stamp or {}).get("moves"))
        if moves.have_begun:
            carry_out(moves, workspace.data, workspace.rights.owner)
            # Its links lead to what it has taken; nothing is left where it was made.
            record = {**record, "external": {move.target: True for move in moves.into}}
        workspace.forget(COMPLETE)  # from here on it is no longer whole
    elif stamp:
        return
    filled = external.filled_by(record, workspace.data)
    external.clean(filled, external.made_for(record), workspace.rights.owner)


def discard(workspace: Workspace) -> None:
    """Remove a copy that nobody needs any more. Not while another clone works here."""
    lock = workspace.try_lock()
    if lock is not None:
        try:
            clean_up(workspace)
            workspace.remove()
        finally:
            os.close(lock)


def let_go(workspace: Workspace, lock: int) -> None:
    """Give up before the copy has begun, leaving nothing that was not there before."""
    with contextlib.suppress(OSError, WalstreamError):
        if os.path.samestat(os.fstat(lock), os.stat(workspace.lock_file)):
            if not os.path.lexists(workspace.data):
                workspace.remove()
            os.close(lock)


def has_orphans(workspace: Workspace) -> bool:
    """Whether a worker that was killed has left programs running. Only where no clone works."""
    token = (workspace.read(JOB) or {}).get("token")
    with workspace.rights.beneath():
        return bool(token and marked_with(str(token)))


def end_orphans(workspace: Workspace) -> None:
    """End them: an orphaned WAL receiver keeps the slot active. Only for the holder of the lock."""
    token = (workspace.read(JOB) or {}).get("token")
    with workspace.rights.beneath():
        ended = not token or end_marked(str(token))
    if not ended:
        raise WalstreamError(
            f"processes of an interrupted clone in '{workspace.path}' cannot be ended: end them, and run again"
        )


def finish(real_path: str, workspace: Workspace) -> dict[str, Any]:
    """Put the complete copy of an interrupted clone into its place. Only for the holder of the lock."""
    began = time.monotonic()
    stamp = workspace.read(COMPLETE) or {}
    end_orphans(workspace)
    put_into_place(real_path, workspace)
    workspace.remove()
    return result_of(stamp, time.monotonic() - began)


def _work(clone: Clone, lock: int) -> None:
    """The worker's life. It always leaves a report, unless it is killed outright."""
    job, workspace, reporter = clone.job, clone.workspace, clone.reporter
    try:
        clone.make()
        stamp = workspace.read(COMPLETE) or {}
        put_into_place(job.real_path, workspace)
        reporter.end(DONE, result=result_of(stamp, reporter.seconds))
    except BaseException as error:
        sentence = str(error)
        if isinstance(error, OSError):
            sentence = f"the clone into '{job.data_directory}' failed: {error.strerror} ('{error.filename}')"
        elif not isinstance(error, WalstreamError):
            sentence = f"the clone into '{job.data_directory}' was ended by {type(error).__name__}: {error}"
        if not workspace.read(COMPLETE):
            with contextlib.suppress(OSError, WalstreamError):
                record = workspace.read(JOB) or {}
                filled = external.filled_by(record, workspace.data)
                external.clean(filled, external.made_for(record), workspace.rights.owner)
                workspace.discard_copy()
        reporter.end(FAILED, error=sentence)
    os.close(lock)
    _leave_no_report(workspace, reporter.token)


def _leave_no_report(workspace: Workspace, token: str) -> None:
    """If nobody comes for the report, because the connection was lost, do not leave it lying around."""
    deadline = time.monotonic() + REPORT_KEPT_FOR
    while time.monotonic() < deadline:
        time.sleep(0.5)
        if not workspace.exists() or Outcome.read(workspace).token != token:
            return
    with contextlib.suppress(OSError, WalstreamError):
        tidy(workspace)


def _detach(lock: int, work: Callable[[], None]) -> None:
    """Run `work` in a process that belongs to nobody: no parent, no terminal, no open file but the lock."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            _become_worker(lock, work)
    finally:
        os._exit(0)


def _become_worker(lock: int, work: Callable[[], None]) -> NoReturn:
    os.chdir("/")
    os.umask(0o077)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != lock:  # noqa: PLR2004
            with contextlib.suppress(OSError):
                os.close(int(name))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, _stop)
    try:
        work()
    finally:
        os._exit(0)


def _stop(_number: int, _frame: Any) -> NoReturn:
    raise WalstreamError("the clone was told to stop; run again to begin anew")
