# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting and stopping a server: through a systemd unit, or directly by pg_ctl. One interface for both."""

from __future__ import annotations

import os
import re
import shlex
import time
from dataclasses import dataclass, field
from typing import Protocol

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.postmaster import (
    running_postmaster,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system import (
    configuration_files as files,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import Result, Runner
from ansible_collections.walstream.postgresql.plugins.module_utils._waiter import wait_until

_PATIENCE = 10.0
"""Seconds beyond its own time limit that a program may take before it counts as hung."""

_LOG_BYTES = 65536
# Reasons that are logged line by line before the final word, which only says that there were some.
_GIVEN_AS_LOG = (
    *("invalid value for parameter", "unrecognized configuration parameter", "syntax error in file"),
    *("could not open configuration", "could not open directory", "could not bind", "could not translate"),
)
_SEVERITY = re.compile(r"\b(PANIC|FATAL|ERROR|HINT|DETAIL|LOG|WARNING|CONTEXT):\s+(.*)")


@dataclass(frozen=True)
class Startup:
    """What it takes to start a server: its files, and what the layout adds."""

    data_directory: str
    config_file: str
    log_file: str
    log_group: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    pg_ctl_options: tuple[str, ...] = ()
    run_directories: tuple[str, ...] = ()
    """Directories below /run, which are gone after each boot of a machine or a container."""
    forbidden_by: str = ""
    """Why the server must not be started, if so."""

    def refuse_forbidden(self) -> None:
        if self.forbidden_by:
            raise WalstreamError(f"the server in {self.data_directory} is not started: {self.forbidden_by}")


class Service(Protocol):
    """How a server is started and stopped on this host. Each method returns when it is done."""

    @property
    def name(self) -> str:
        """For messages and results: `pg_ctl`, or the unit."""

    def refuse_unstartable(self) -> None:
        """Raise where the server could not be started again, so that it is better not stopped."""

    def start(self, timeout: float) -> None:
        """Start the server and wait until it accepts connections; raise with its own reason otherwise."""

    def stop(self, timeout: float) -> None:
        """Stop the server in fast mode and wait until it has ended."""


@dataclass(frozen=True)
class PgCtl:
    """pg_ctl, run as the owner of the data directory."""

    bin_directory: str
    startup: Startup
    owner: User
    run: Runner

    name = "pg_ctl"

    def refuse_unstartable(self) -> None:
        self.startup.refuse_forbidden()

    def start(self, timeout: float) -> None:
        self.refuse_unstartable()
        startup = self.startup
        for directory in startup.run_directories:
            files.make_directory(directory, self.owner, 0o2775)
        if not os.path.exists(startup.log_file):
            files.write(startup.log_file, "", self.owner, 0o640, startup.log_group)
        log = Log.at_end_of(startup.log_file, self.owner)
        done = self.run(self.start_argv(timeout), env=startup.environment, timeout=timeout + _PATIENCE)
        if done.rc:
            raise start_failure(startup.data_directory, self.name, log.reason() or done.last_words, timeout)

    def start_argv(self, timeout: float) -> list[str]:
        """pg_ctl gives what follows -o to a shell, so that part is quoted for one."""
        startup = self.startup
        argv = [*self._pg_ctl("start"), "-w", "-t", f"{timeout:.0f}", "-l", startup.log_file]
        if os.path.dirname(startup.config_file) != startup.data_directory:
            argv += ["-o", f"-c {shlex.quote(f'config_file={startup.config_file}')}"]
        return [*argv, *startup.pg_ctl_options]

    def stop(self, timeout: float) -> None:
        argv = [*self._pg_ctl("stop"), "-w", "-t", f"{timeout:.0f}", "-m", "fast"]
        _check_stopped(self.run(argv, timeout=timeout + _PATIENCE), self.startup.data_directory)

    def _pg_ctl(self, action: str) -> list[str]:
        return [os.path.join(self.bin_directory, "pg_ctl"), action, "-s", "-D", self.startup.data_directory]


@dataclass(frozen=True)
class SystemdUnit:
    """A unit of systemd. A server that was started beside it is stopped by pg_ctl: systemd does not know it."""

    unit: str
    startup: Startup
    run: Runner
    beside: PgCtl

    @property
    def name(self) -> str:
        return f"systemd unit {self.unit}"

    def refuse_unstartable(self) -> None:
        self.startup.refuse_forbidden()
        state = self.run(["systemctl", "show", "--property=LoadState", "--value", self.unit]).stdout.strip()
        if state != "loaded":
            raise WalstreamError(
                f"systemd cannot start the server in {self.startup.data_directory}: its unit '{self.unit}' is "
                f"{state or 'not known'}; install, correct or unmask it, or name another one with 'service_unit'"
            )

    def start(self, timeout: float) -> None:
        self.refuse_unstartable()
        began = time.time()
        log = Log.at_end_of(self.startup.log_file, self.beside.owner)
        self._systemctl("reset-failed", timeout)  # a unit that failed too often would refuse otherwise
        done = self._systemctl("start", timeout)
        data_directory = self.startup.data_directory

        # The unit's word is not enough: Debian's ignores a start that failed.
        seen = wait_until(
            lambda: running_postmaster(data_directory), lambda now: now is None or now.is_ready, timeout
        )
        if seen is None or not seen.is_ready:
            reason = log.reason() or self._journal_reason(began) or done.last_words
            raise start_failure(data_directory, self.name, reason, timeout)

    def stop(self, timeout: float) -> None:
        if self._systemctl("is-active", timeout).rc:
            self.beside.stop(timeout)
            return
        _check_stopped(self._systemctl("stop", timeout), self.startup.data_directory)

    def _systemctl(self, action: str, timeout: float) -> Result:
        return self.run(["systemctl", "--quiet", action, self.unit], timeout=timeout + _PATIENCE)

    def _journal_reason(self, since: float) -> str:
        """What the unit has said since then, to the microsecond: a server that cannot start ends within the second."""
        self.run(["journalctl", "--sync"])
        argv = ["journalctl", "--unit", self.unit, f"--since=@{since:.6f}", "--output", "cat", "--no-pager"]
        return reason_in_log(self.run(argv).stdout)


def _check_stopped(done: Result, data_directory: str) -> None:
    if running_postmaster(data_directory):
        raise WalstreamError(
            f"the server in {data_directory} did not stop: {done.last_words}; it may wait for a standby that "
            "does not receive WAL any more, or for its checkpoint: look into its log, or raise 'timeout'"
        )


def start_failure(data_directory: str, service: str, reason: str, timeout: float) -> WalstreamError:
    """The sentence for a server that does not accept connections after it was started."""
    if running_postmaster(data_directory):
        return WalstreamError(
            f"the server in {data_directory} was started by {service} but does not accept connections after "
            f"{timeout:g} seconds ({reason}): it may still recover, so run again later or raise 'timeout'"
        )
    return WalstreamError(f"the server in {data_directory} does not start ({service}): {reason}")


@dataclass(frozen=True)
class Log:
    """A server's log from a moment on."""

    path: str
    offset: int
    owner: User

    @classmethod
    def at_end_of(cls, path: str, owner: User) -> Log:
        return cls(path, os.path.getsize(path) if os.path.exists(path) else 0, owner)

    def text(self) -> str:
        try:
            with self.owner.effective(), open(self.path, "rb") as file:
                file.seek(max(self.offset, os.fstat(file.fileno()).st_size - _LOG_BYTES))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def reason(self) -> str:
        return reason_in_log(self.text())


def reason_in_log(text: str) -> str:
    """Why a server ended, in its own words: all that it said at the worst severity, with hints, on one line.

    A server that speaks another language than English is quoted by its last line.
    """
    said: list[tuple[str, str]] = [
        (match[1], match[2].strip()) for match in map(_SEVERITY.search, text.splitlines()) if match
    ]
    severities = [severity for severity, _words in said]
    worst = next((severity for severity in ("PANIC", "FATAL", "ERROR") if severity in severities), None)
    if worst is None:
        return text.strip().splitlines()[-1].strip() if text.strip() else ""
    reasons: list[str] = []
    within = False
    for severity, words in said:
        within = severity == worst or (within and severity in ("HINT", "DETAIL"))
        if within or (severity == "LOG" and words.startswith(_GIVEN_AS_LOG)):
            reasons.append(words)
    return "; ".join(dict.fromkeys(reasons))
