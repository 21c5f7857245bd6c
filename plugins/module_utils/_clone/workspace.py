# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder in which a clone is prepared: beside its data directory, or inside one that cannot be renamed.

It belongs to the server's user and to nobody else, holds a lock as long as a clone works in it, and
its presence is what makes an interrupted clone recognisable:

    lock            held (flock) by the worker for as long as it lives
    waiters         held, shared, by everybody who waits for its end: the last of them tidies up
    job.json        what is being copied from where, and by which processes
    progress.json   how far it is, and at the end the result or the reason of the failure
    data/           the copy
    complete.json   the copy is whole and verified; all that is left is to put it into its place, moving aside first
                    what it replaces
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from dataclasses import dataclass
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._clone.plan import Leftover
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.rights import Rights, make_folder
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    COMPLETE,
    COPY,
    IN_PLACE_WORKSPACE,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal
from ansible_collections.walstream.postgresql.plugins.module_utils._system import locks
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import (
    read_file,
    remove_entries,
    sync_directory,
    write_file,
)

LOCK = "lock"
WAITERS = "waiters"
JOB = "job.json"
PROGRESS = "progress.json"
_LOOK_TAKES = 0.1


@dataclass(frozen=True)
class Workspace:
    path: str
    rights: Rights
    in_place: bool = False

    @classmethod
    def of(cls, real_path: str, in_place: bool, owner: User) -> Workspace:
        """The workspace of a data directory."""
        parent, name = os.path.split(real_path)
        if in_place:
            return cls(
                os.path.join(real_path, IN_PLACE_WORKSPACE), Rights.over(real_path, owner), in_place=True
            )
        return cls(os.path.join(parent, f".{name}.clone"), Rights.over(parent, owner))

    @property
    def data(self) -> str:
        return os.path.join(self.path, COPY)

    @property
    def lock_file(self) -> str:
        return self._file(LOCK)

    def _file(self, name: str) -> str:
        return os.path.join(self.path, name)

    def exists(self) -> bool:
        """Whether it is there; raise if what is there is not ours."""
        try:
            entry = os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        if not stat.S_ISDIR(entry.st_mode) or entry.st_uid not in {self.rights.owner.uid, 0}:
            raise Refusal(
                f"'{self.path}', where a clone is prepared, is not a directory of '{self.rights.owner.name}': "
                "somebody else put it there; look at it and remove it"
            )
        return True

    def create(self) -> None:
        if not self.exists():
            make_folder(self.path, self.rights.owner)

    def read(self, name: str) -> dict[str, Any] | None:
        """The contents of one of the JSON files; None where it is missing or not whole."""
        with self.rights.beneath():
            text = read_file(self._file(name))
        try:
            value = json.loads(text or "")
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def write(self, name: str, value: dict[str, Any], *, durable: bool = False) -> None:
        with self.rights.beneath():
            write_file(self._file(name), json.dumps(value), durable=durable)

    def try_lock(self) -> int | None:
        """A descriptor that holds the lock, or None while another clone does.

        Waits no longer than somebody needs who only looks whether it is held.
        """
        deadline = time.monotonic() + _LOOK_TAKES
        while True:
            try:
                with self.rights.beneath():
                    descriptor = locks.take(self._file(LOCK))
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.005)
                continue
            except FileNotFoundError:
                descriptor = None
            if descriptor is not None:
                return descriptor
            self.create()  # whoever held it before has removed the workspace

    def join(self) -> int | None:
        """Wait with others: while the descriptor is open, none of them removes the report. None if it is gone."""
        with contextlib.suppress(OSError), self.rights.beneath():
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self._file(WAITERS), flags, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            return descriptor
        return None

    def is_awaited(self) -> bool:
        """Whether somebody has yet to read the report."""
        waiter = self.join()
        if waiter is None:
            return False
        try:
            fcntl.flock(waiter, fcntl.LOCK_UN)
            fcntl.flock(waiter, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(waiter)
        return False

    def is_locked(self) -> bool:
        """Whether a clone works here now."""
        try:
            with self.rights.beneath():
                descriptor = os.open(self._file(LOCK), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def leftover(self) -> Leftover:
        if not self.exists():
            return Leftover.NONE
        if self.is_locked():
            return Leftover.RUNNING
        if not os.path.lexists(self.data):
            return Leftover.ENDED
        return Leftover.COMPLETE if self.read(COMPLETE) else Leftover.INTERRUPTED

    def forget(self, name: str) -> None:
        """Remove one of the files, durably: what is done next relies on it."""
        with self.rights.beneath():
            remove_entries(self.path, [name])
            sync_directory(self.path)

    def discard_copy(self) -> None:
        """Remove the copy, keeping the report about it."""
        with self.rights.beneath():
            remove_entries(self.path, [COPY])

    def clear(self, keep: frozenset[str] = frozenset()) -> None:
        """Remove everything but the lock. The job goes first, durably: without it nobody takes the WAL directory and
        the tablespaces of a copy that is in its place for those of one that is not."""
        self.forget(JOB)
        with self.rights.beneath():
            remove_entries(self.path, sorted(set(os.listdir(self.path)) - {LOCK} - keep))

    def remove(self) -> None:
        """Remove it altogether. Only for the holder of the lock."""
        self.clear()
        with self.rights.beneath():
            remove_entries(self.path, [LOCK])
        # Not empty: the next clone has already begun in it.
        with self.rights.beside(), contextlib.suppress(OSError):
            os.rmdir(self.path)
