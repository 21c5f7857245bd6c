# SPDX-License-Identifier: GPL-3.0-or-later
"""Small operations on files that survive a crash and follow nobody's symbolic link."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.folders import entered

OWNER_ONLY = 0o700


def sync_directory(path: str) -> None:
    """Make renames and creations in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: str, text: str, *, durable: bool = False) -> None:
    """Replace a file in one step, readable by its owner alone."""
    new = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        if durable:
            os.fsync(descriptor)
    os.rename(new, path)
    if durable:
        sync_directory(os.path.dirname(path))


def read_file(path: str, limit: int = 1_000_000) -> str | None:
    """The text of a regular file, or None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(descriptor, encoding="utf-8", errors="replace") as file:
        return file.read(limit) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None


def make_directory(path: str, owner: User, mode: int = OWNER_ONLY) -> None:
    """Create a directory that is `owner`'s: nobody else can enter it even for a moment.

    Raises FileExistsError. Root's chown goes through a descriptor of what it has just created.
    """
    above, name = os.path.split(path.rstrip("/"))
    with entered(above, owner) as folder:
        os.mkdir(name, OWNER_ONLY, dir_fd=folder)
        if os.geteuid() != owner.uid or mode != OWNER_ONLY:
            take_directory(name, owner, mode, expected_uid=os.geteuid(), folder=folder)


def take_directory(path: str, owner: User, mode: int, expected_uid: int, folder: int | None = None) -> None:
    """Give a directory that belongs to `expected_uid` to `owner`; `folder` is a descriptor of the one above it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        if os.fstat(descriptor).st_uid != expected_uid:
            raise WalstreamError(
                f"somebody exchanged '{path}' while it was being made: look who may write there"
            )
        os.fchmod(descriptor, mode)
        if os.geteuid() == 0:
            os.fchown(descriptor, owner.uid, owner.gid)
    finally:
        os.close(descriptor)


def remove_entries(directory: str, names: Iterable[str]) -> None:
    """Remove these entries of a directory and everything beneath them; symbolic links are not followed."""
    for name in names:
        path = os.path.join(directory, name)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(path).st_mode):
                shutil.rmtree(path)
            else:
                os.unlink(path)


def may_write(directory: str, user: User) -> bool:
    """Whether `user` may create and rename in a directory."""
    return may(directory, os.W_OK | os.X_OK, user)


def may(path: str, mode: int, user: User) -> bool:
    """Whether `user` has these rights (`os.W_OK`, ...) on a path.

    The kernel answers for the real user. Some C libraries (Debian 11's) leave it at that, asked for the effective one.
    """
    if not user.must_switch:
        return os.access(path, mode, effective_ids=True)
    real_user, real_group = os.getuid(), os.getgid()
    with user.effective():
        os.setresgid(user.gid, -1, -1)
        os.setresuid(user.uid, -1, -1)
        try:
            return os.access(path, mode)
        finally:
            os.setresuid(real_user, -1, -1)
            os.setresgid(real_group, -1, -1)


def nearest_existing(path: str) -> str:
    """The path itself, or the nearest folder above it that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path
