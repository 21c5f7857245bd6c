# SPDX-License-Identifier: GPL-3.0-or-later
"""Root at work in directories that others control: the rights that a path calls for, and a hold on the directory.

A link that root follows must not have been planted by somebody who could not go there. The server's user owns the
directories above many of our files, and could put a link to /etc in the place of any of them, at any moment.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_LINKS = 40
"""As many as the kernel follows on one path."""


class Led(Exception):
    """The way leads over a link that somebody else than root may have planted: the account `uid`."""

    def __init__(self, uid: int) -> None:
        super().__init__(uid)
        self.uid = uid


@contextlib.contextmanager
def entered(path: str, owner: User) -> Iterator[int]:
    """A descriptor of the directory at `path`, and inside the block the rights to change what is in it.

    These are the rights of `owner`, the server's user, in a directory of that user, and wherever a link of somebody
    else than root leads; elsewhere root keeps its own. Whatever is exchanged meanwhile, the descriptor stays.
    Raises OSError.
    """
    with contextlib.ExitStack() as stack:
        if not owner.must_switch:
            descriptor = os.open(path, _DIRECTORY)
        else:
            try:
                descriptor = _reached_by_root(path)
            except Led:
                stack.enter_context(owner.effective())
                descriptor = _led(path, owner)
        stack.callback(os.close, descriptor)
        if os.fstat(descriptor).st_uid == owner.uid:
            stack.enter_context(owner.effective())
        yield descriptor


def _led(path: str, owner: User) -> int:
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        reason = (
            f"a link that root did not make leads to where '{owner.name}' may not write: look who made it"
        )
        raise PermissionError(errno.EACCES, reason, path)
    return os.open(path, _DIRECTORY)


def keeper(path: str) -> int:
    """The account whose rights a change in the directory at `path` calls for. Raises OSError."""
    try:
        descriptor = _reached_by_root(path)
    except Led as led:
        return led.uid
    try:
        return os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)


def _reached_by_root(path: str) -> int:
    """Open a directory step by step, over directories and over links in those where only root may put one."""
    ahead = _steps(os.path.join(os.getcwd(), path))
    here = os.open("/", _DIRECTORY)
    links = 0
    try:
        while ahead:
            name = ahead.pop()
            try:
                there = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            except OSError as error:
                target = _link(name, here, error)
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from None
                ahead += _steps(target)
                there = os.open("/" if target.startswith("/") else ".", _DIRECTORY, dir_fd=here)
            os.close(here)
            here = there
    except BaseException:
        os.close(here)
        raise
    return here


def _steps(path: str) -> list[str]:
    """The names on a path, the next one last."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def _link(name: str, directory: int, error: OSError) -> str:
    """Where the link that could not be opened leads; raises `error` if it is no link, and `Led` if it is not root's."""
    if error.errno not in (errno.ENOTDIR, errno.ELOOP):
        raise error
    try:
        target = os.readlink(name, dir_fd=directory)
    except OSError:
        raise error from None
    around = os.fstat(directory)
    if not _only_root_writes(around):
        planted_by = os.stat(name, dir_fd=directory, follow_symlinks=False).st_uid
        raise Led(around.st_uid or planted_by)
    return target


def _only_root_writes(directory: os.stat_result) -> bool:
    mode = stat.S_IMODE(directory.st_mode)
    by_a_group = mode & stat.S_IWGRP and directory.st_gid != 0
    return directory.st_uid == 0 and not by_a_group and not mode & stat.S_IWOTH
