# SPDX-License-Identifier: GPL-3.0-or-later
"""With whose rights a clone acts: the server's user's where they reach, root's only where nobody else can interfere.

A name in a folder that somebody else may write can become a link to anywhere between two system calls. So root
acts only in folders whose way there, from the root directory on, only root and the server's user can change.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import (
    OWNER_ONLY,
    make_directory,
    may_write,
    nearest_existing,
    take_directory,
)

PARENT_MODE = 0o755
_LINKS_FOLLOWED = 40


@dataclass(frozen=True)
class Rights:
    """Who does what in a folder (`parent`) and beneath it."""

    owner: User
    beside_as_root: bool
    parent: str = "/"

    @classmethod
    def over(cls, parent: str, owner: User) -> Rights:
        as_root = owner.must_switch and not may_write(nearest_existing(parent), owner)
        return cls(owner, as_root, parent)

    def beneath(self) -> contextlib.AbstractContextManager[None]:
        """For what lies inside the workspace, WAL directory and tablespaces."""
        return self.owner.effective()

    def beside(self) -> contextlib.AbstractContextManager[None]:
        """For the folder that holds the data directory. Raise where root would act under somebody else's hands."""
        if not self.beside_as_root:
            return self.owner.effective()
        check_trusted(self.parent, self.owner)
        return contextlib.nullcontext()

    def settle(self) -> None:
        """Let this process be the owner for good."""
        if self.owner.must_switch:
            os.setgroups(os.getgrouplist(self.owner.name, self.owner.gid))
            os.setgid(self.owner.gid)
            os.setuid(self.owner.uid)


def check_trusted(path: str, owner: User) -> None:
    """Raise unless only root and `owner` can exchange what lies on the way to `path`."""
    for place, entry in _way_to(nearest_existing(path)):
        who = None
        if entry.st_uid not in {0, owner.uid}:
            who = f"belongs to '{_user_name(entry.st_uid)}'"
        elif not stat.S_ISLNK(entry.st_mode) and not entry.st_mode & stat.S_ISVTX:
            # In a sticky folder nobody moves what is somebody else's.
            if entry.st_mode & stat.S_IWOTH:
                who = "may be written by everybody"
            elif entry.st_mode & stat.S_IWGRP and _has_others(entry.st_gid, owner):
                who = f"may be written by the group '{_group_name(entry.st_gid)}'"
        if who:
            raise Refusal(
                f"'{path}' is not '{owner.name}'s to write, and root does not act there, because '{place}' {who}, "
                f"who could exchange it meanwhile: give '{path}' to '{owner.name}', or '{place}' to root"
            )


def make_folder(path: str, owner: User, mode: int = OWNER_ONLY) -> None:
    """Make a folder that is `owner`'s, with the folders above it that are missing; it may be there already.

    Where root has to make it, it appears under its name only once it is the owner's: a run that is killed in here
    leaves nothing that the owner cannot enter.
    """
    parent, name = os.path.split(path)
    if not os.path.isdir(parent):
        make_folder(parent, owner, PARENT_MODE)
    rights = Rights.over(parent, owner)
    with rights.beside():
        if not rights.beside_as_root:
            with contextlib.suppress(FileExistsError):
                make_directory(path, owner, mode)
        elif not os.path.lexists(path):
            draft = os.path.join(parent, f".{name}.new")
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(draft)
            make_directory(draft, owner, mode)
            _rename_unless_taken(draft, path)
        elif may_be_taken(path, owner):
            take_directory(path, owner, mode, expected_uid=0)


def _rename_unless_taken(draft: str, path: str) -> None:
    """Another run may have been faster, and have put something into it already."""
    try:
        os.rename(draft, path)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        os.rmdir(draft)


def may_be_taken(path: str, owner: User) -> bool:
    """Whether `path` is an empty folder of root's, where root has to act for the owner.

    That is what a new file system is.
    """
    entry = os.lstat(path)
    return (
        Rights.over(os.path.dirname(path), owner).beside_as_root
        and stat.S_ISDIR(entry.st_mode)
        and entry.st_uid == 0 != owner.uid
        and not os.listdir(path)
    )


def _way_to(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Everything that the kernel looks at on its way to `path`, links and what they lead through included."""
    current, names, links = "/", path.split("/"), 0
    yield current, os.lstat(current)
    while names:
        name = names.pop(0)
        if name in {"", "."}:
            continue
        if name == "..":
            current = os.path.dirname(current)
            continue
        place = os.path.join(current, name)
        entry = os.lstat(place)
        yield place, entry
        if not stat.S_ISLNK(entry.st_mode):
            current = place
            continue
        links += 1
        if links > _LINKS_FOLLOWED:
            raise Refusal(f"'{path}' leads through too many symbolic links: name the folder itself")
        target = os.readlink(place)
        current = "/" if os.path.isabs(target) else current
        names = [*target.split("/"), *names]


def _has_others(gid: int, owner: User) -> bool:
    """Whether anybody but root and `owner` belongs to a group."""
    try:
        members = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        members = set()
    members.update(entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == gid)
    return bool(members - {"root", owner.name})


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
