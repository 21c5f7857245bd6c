# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a long program line by line, so that nothing of it outlives us when it has to end."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Callable

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.processes import (
    CLONE_VARIABLE,
    end_marked,
)

LOOK_EVERY = 0.1
CHUNK = 65536


class OutOfTime(WalstreamError):
    """The time that the whole clone may take is over."""


class Supervisor:
    """Runs programs as `user` until `deadline`, each in a session of its own and marked with `token`."""

    def __init__(
        self,
        user: User,
        token: str,
        timeout: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._user = user
        self._token = token
        self._timeout = timeout
        self._clock = clock
        self._deadline = clock() + timeout if timeout else None

    def run(self, argv: Sequence[str], on_line: Callable[[str], None]) -> int:
        """Run to the end and return the exit status, negative for a signal. `on_line` may raise to stop it."""
        options = self._user.popen_options()
        options["env"] = {**options["env"], CLONE_VARIABLE: self._token}
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
        try:
            self._listen(process, on_line)
            return process.wait()
        finally:
            self._end(process)

    def _listen(self, process: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> None:
        """Hand over lines until the program itself ends: a child that it leaves may keep the pipe open."""
        if process.stdout is None:
            raise AssertionError("the program's output was not asked for")
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                ended = process.poll() is not None
                if selector.select(0 if ended else LOOK_EVERY):
                    chunk = os.read(process.stdout.fileno(), CHUNK)
                    *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
                    self._hand_over(lines, on_line)
                    if not chunk:
                        break
                elif ended:
                    break
                if self._deadline and self._clock() > self._deadline:
                    raise OutOfTime(
                        f"the clone did not finish within {self._timeout:g} seconds and was ended: allow more time "
                        "with 'timeout'"
                    )
        self._hand_over([rest], on_line)

    @staticmethod
    def _hand_over(lines: list[bytes], on_line: Callable[[str], None]) -> None:
        for line in lines:
            if line.strip():
                on_line(line.decode("utf-8", "replace"))

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Leave nothing behind: a WAL receiver that lives on would keep the slot active."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        with self._user.effective():
            end_marked(self._token)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
