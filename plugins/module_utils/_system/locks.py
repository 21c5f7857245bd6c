# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks on files that their holders replace or remove: one on a file that has left its place protects nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os


def take(path: str) -> int | None:
    """A descriptor that holds the lock on the file at `path`, which is made where it is missing; closing it lets go.

    None where the file that was locked is not the one at `path` any more: take the new one. Raises BlockingIOError
    while another process holds the lock, which only one that may write the file can.
    """
    with contextlib.ExitStack() as undone:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        undone.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(path, descriptor):
            undone.pop_all()
            return descriptor
    return None


def _is_at(path: str, descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    return False
