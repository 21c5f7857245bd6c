# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping `progress.json` up to date while a clone works, and reading it from anywhere."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Callable

from ansible_collections.walstream.postgresql.plugins.module_utils._clone.plan import Leftover
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.progress import (
    Progress,
    advance,
    sentence,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import (
    JOB,
    PROGRESS,
    Workspace,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User


class Reporter:
    """Turns lines of pg_basebackup into progress, and writes it down whenever it changes."""

    def __init__(self, workspace: Workspace, token: str, clock: Callable[[], float]) -> None:
        self._workspace = workspace
        self.token = token
        self._clock = clock
        self.progress = Progress.beginning(clock())
        self.space_checked = False
        self.filling = False
        self._write()

    @property
    def seconds(self) -> float:
        return self._clock() - self.progress.started

    def hear(self, line: str) -> bool:
        """Take a line in; False if it says nothing about progress."""
        moved = advance(self.progress, line, self._clock())
        if moved is None:
            return False
        self.progress = moved
        self._note()
        return True

    def enter(self, phase: str) -> None:
        self.progress = self.progress.enter(phase, self._clock())
        self._note()

    def end(self, phase: str, **outcome: Any) -> None:
        """The last word: `result` or `error`."""
        self.progress = self.progress.enter(phase, self._clock())
        self._write(**outcome)

    def _note(self) -> None:
        """A full disk is told by the program that fills it, not by the note about it."""
        with contextlib.suppress(OSError):
            self._write()

    def _write(self, **outcome: Any) -> None:
        self._workspace.write(PROGRESS, {**self.progress.as_dict(), "token": self.token, **outcome})


def read_progress(real_path: str, owner: User, now: float) -> dict[str, Any] | None:
    """What an earlier clone of this data directory does or left: for people, and for `data_directory_info`.

    None where there is nothing of the kind.
    """
    for in_place in (False, True):
        workspace = Workspace.of(real_path, in_place, owner)
        if not os.path.isdir(workspace.path):
            continue
        leftover = workspace.leftover()
        if leftover is Leftover.NONE:
            continue
        progress = Progress.from_dict(workspace.read(PROGRESS) or {})
        job = workspace.read(JOB) or {}
        running = leftover is Leftover.RUNNING
        return {
            "state": leftover.value,
            "path": workspace.path,
            "phase": progress.phase,
            "bytes_done": progress.bytes_done,
            "bytes_total": progress.bytes_total,
            "percent": progress.percent,
            "bytes_per_second": round(progress.rate),
            "seconds_left": progress.seconds_left,
            "upstream": job.get("upstream"),
            "details": progress.as_dict(),
            "text": sentence(progress, now) if running else f"{leftover.value} while {progress.phase}",
        }
    return None
