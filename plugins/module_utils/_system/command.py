# SPDX-License-Identifier: GPL-3.0-or-later
"""Running PostgreSQL's programs as the server's operating-system user.

Commands are argument lists, never shell strings, and run in the C locale because
PostgreSQL's programs translate what they print.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User


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
    """Runs an argument list to its end, with `descriptors` open there too; tests pass a function of their own."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        descriptors: Sequence[int] = (),
    ) -> Result: ...


def system_runner(user: User) -> Runner:
    """A runner that executes commands for real, as `user`."""

    def run(
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        descriptors: Sequence[int] = (),
    ) -> Result:
        options = user.popen_options()
        options["env"] = {**options["env"], **(env or {})}
        try:
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                pass_fds=descriptors,
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


def start(argv: Sequence[str], user: User) -> None:
    """Start a program as `user` that nobody needs to wait for. How it ends is its own affair."""
    subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **user.popen_options(),
    )
