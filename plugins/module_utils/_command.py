# SPDX-License-Identifier: GPL-3.0-or-later
"""Running PostgreSQL's programs as the server's operating-system user.

Commands are argument lists, never shell strings, and run in the C locale because
PostgreSQL's programs translate what they print.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError


@dataclass(frozen=True)
class Result:
    """What a finished command left behind."""

    rc: int
    stdout: str
    stderr: str

    @property
    def last_words(self) -> str:
        """The last line that the command printed, which is where PostgreSQL's programs put the reason."""
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return lines[-1].strip() if lines else f"exit status {self.rc} and no message"


class Runner(Protocol):
    """Runs an argument list to its end; tests pass a function of their own."""

    def __call__(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> Result: ...


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


def system_runner(user: User) -> Runner:
    """A runner that executes commands for real, as `user`."""

    def run(
        argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> Result:
        options = user.popen_options()
        options["env"] = {**options["env"], **(env or {})}
        try:
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
                **options,
            )
        except FileNotFoundError:
            raise WalstreamError(
                f"the program '{argv[0]}' does not exist on this host: install PostgreSQL's server package "
                "or point 'bin_directory' at the folder that holds its programs"
            ) from None
        except PermissionError as error:
            raise WalstreamError(f"'{argv[0]}' cannot be run as '{user.name}' ({error.strerror})") from None
        except subprocess.TimeoutExpired:
            raise WalstreamError(f"'{argv[0]}' did not finish within {timeout:g} seconds") from None
        return Result(
            done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        )

    return run
