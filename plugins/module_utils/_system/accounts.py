# SPDX-License-Identifier: GPL-3.0-or-later
"""Operating-system accounts, and acting with the rights of one."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError


@dataclass(frozen=True)
class User:
    """An operating-system account, resolved once."""

    name: str
    uid: int
    gid: int
    home: str

    @classmethod
    def named(cls, name: str) -> User:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise WalstreamError(
                f"the operating-system user '{name}' does not exist on this host: "
                "install PostgreSQL's packages or name the server's user with 'owner'"
            ) from None
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir)

    @property
    def must_switch(self) -> bool:
        """Whether this process runs as root and has to step down to act as this user."""
        return os.geteuid() == 0 and self.uid != 0

    @contextlib.contextmanager
    def effective(self) -> Iterator[None]:
        """Act as this user inside the block: for peer authentication and for files created with its rights.

        Does nothing where the process is not root.
        """
        if not self.must_switch:
            yield
            return
        groups = os.getgroups()
        os.setgroups(os.getgrouplist(self.name, self.gid))
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    def popen_options(self) -> dict[str, Any]:
        """Keyword arguments that make `subprocess.Popen` start a program as this user, in its own locale and place."""
        options: dict[str, Any] = {"cwd": "/", "env": environment(self)}
        if self.must_switch:
            options.update(user=self.uid, group=self.gid, extra_groups=os.getgrouplist(self.name, self.gid))
        return options


def environment(user: User) -> dict[str, str]:
    """A clean environment: nothing of the caller's libpq variables may redirect a command."""
    return {"HOME": user.home, "LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath), "USER": user.name}


@contextlib.contextmanager
def clean_environment(user: User) -> Iterator[None]:
    """The same for libpq in this process, which would take hosts, passwords and certificates from the caller's."""
    saved = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment(user))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def current_user() -> User:
    """The account that the module runs as."""
    return User.named(pwd.getpwuid(os.geteuid()).pw_name)


def owner_for(name: str, check_mode: bool) -> User:
    """The server's account. In check mode it may be missing: its package would have brought it."""
    try:
        return User.named(name)
    except WalstreamError:
        if check_mode:
            return current_user()
        raise


def group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def group_to_give(name: str) -> int | None:
    """A group that this process may give its files to; None where there is none of this name, or it may not."""
    gid = group_id(name)
    may = os.geteuid() == 0 or gid in {os.getegid(), *os.getgroups()}
    return gid if may else None
