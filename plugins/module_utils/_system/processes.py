# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes belong to a directory or to a clone, read from /proc.

Never by a process number alone: numbers are reused, a killed postmaster may stay a zombie, and a
pid file may have been written on another machine or in another container.

In a container even root may not look into another account's processes, so most of this is to be
called as the account whose processes are looked for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable

from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User

CLONE_VARIABLE = "WALSTREAM_CLONE"
"""In the environment of everything that a clone starts; inherited, so that orphans can be recognised."""

_MARK = f"{CLONE_VARIABLE}=".encode()
_SERVER_NAMES = frozenset({"postgres", "postmaster"})
_END_WITHIN = 5.0


@dataclass(frozen=True)
class Process:
    pid: int
    name: str
    state: str
    started: int
    """Clock ticks since boot: with the pid it names a process for good."""

    @property
    def is_alive(self) -> bool:
        """A zombie is dead; only its parent has not noticed."""
        return self.state not in "ZX"

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def find(pid: int) -> Process | None:
    """The process of this number, or None. The name in `stat` may itself contain spaces and parentheses."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    return Process(pid, name, rest[0], int(rest[19]))


def all_alive() -> Iterator[Process]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            process = find(int(entry))
            if process and process.is_alive:
                yield process


def server_of(directory: str, pid_in_file: int | None) -> Process | None:
    """The PostgreSQL process that works on `directory`: every one of them has it as its current directory.

    A server process whose directory may not be read (another account's) counts when the pid file names it.
    """
    for process in all_alive():
        if process.name not in _SERVER_NAMES:
            continue
        here = works_in(process.pid, directory)
        if here or (here is None and process.pid == pid_in_file):
            return process
    return None


def user_of(directory: str, owner: User) -> Process | None:
    """A process that has a file open beneath `directory`, other than this one and those of a clone of ours.

    Both views together: what root may see, and what the server's user may.
    """
    with owner.effective():
        as_owner = _first_user_of(directory)
    return as_owner or _first_user_of(directory)


def _first_user_of(directory: str) -> Process | None:
    prefix = directory.rstrip("/") + "/"
    for process in all_alive():
        if process.pid == os.getpid():
            continue
        if not any(path.startswith(prefix) for path in _open_paths(process.pid)):
            continue
        if not any(value.startswith(_MARK) for value in _environment(process.pid)):
            return process
    return None


def marked_with(token: str) -> list[Process]:
    """What a clone started and left behind, recognised by its environment."""
    mark = _MARK + token.encode()
    return [
        process for process in all_alive() if process.pid != os.getpid() and mark in _environment(process.pid)
    ]


def end_marked(
    token: str, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
) -> bool:
    """Kill everything that carries the mark, and say whether all of it is gone.

    There is nothing to save in an interrupted copy, and a WAL receiver that lives on keeps the slot active.
    """
    deadline = clock() + _END_WITHIN
    while True:
        left = marked_with(token)
        if not left:
            return True
        if clock() > deadline:
            return False
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGKILL)
        sleep(0.02)


def works_in(pid: int, directory: str) -> bool | None:
    """None where it may not be known. Compared by inode: another container may see another path."""
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/cwd"), os.stat(directory))
    except PermissionError:
        return None
    except OSError:
        return False


def _open_paths(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{descriptor}")


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []
