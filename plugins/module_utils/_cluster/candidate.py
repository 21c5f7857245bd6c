# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the server's own program whether it would take a configuration, before anything is installed.

`postgres -C` reads a configuration and knows every parameter's rules; since 15 it also checks
combinations and loads the preloaded libraries when asked for a value that depends on them. The mode
in which initdb probes for memory then tells whether the shared memory could be had. Both need a data
directory that nobody uses, for which a copy of PG_VERSION and of the control file is enough.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.base import Paths
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.guc_file import Setting, quote
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import Runner

_FIRST_WITH_DEEP_CHECK = 15
_STRICT_MEMORY = "2"  # vm.overcommit_memory: a running server's memory would count against the probe

_MESSAGE = re.compile(r"(?:LOG|ERROR|FATAL|PANIC):\s+(.*)")
_PLACE = re.compile(r' in file "[^"]*" line (\d+)')
_NOISE = ("skipping missing configuration file", "configuration file ")
_NOT_OF_THE_CANDIDATE = frozenset({"data_directory", "external_pid_file"})


def refuse_unacceptable(settings: Sequence[Setting], paths: Paths, owner: User, run: Runner) -> None:
    """Raise with the server's own reasons unless it would take these settings, given in reading order."""
    wanted = [setting for setting in settings if setting.name not in _NOT_OF_THE_CANDIDATE]
    with _scratch_directory(wanted, paths, owner) as scratch:
        for argv in _checks(paths, scratch, deep=os.path.exists(f"{scratch}/global/pg_control")):
            done = run(argv)
            if done.rc:
                reasons = reasons_in(done.stderr, wanted, paths.settings_file)
                raise Refusal(f"the server would not take these settings: {reasons}")


def _checks(paths: Paths, scratch: str, deep: bool) -> Iterator[list[str]]:
    program = os.path.join(paths.bin_directory, "postgres")
    version = paths.version or 0
    common = [
        "-D",
        scratch,
        "-c",
        f"config_file={scratch}/postgresql.conf",
        "-c",
        f"data_directory={scratch}",
    ]
    common += ["-c", "lc_messages=C"]
    deep = deep and version >= _FIRST_WITH_DEEP_CHECK
    yield [program, *common, "-C", "shared_memory_size" if deep else "port"]
    if (files.read("/proc/sys/vm/overcommit_memory") or "").strip() != _STRICT_MEMORY:
        probe = ["--check"] if version >= _FIRST_WITH_DEEP_CHECK else ["--boot", "-x0"]
        # Huge pages may all be in the hands of the running server.
        yield [program, *probe, "-F", *common, "-c", "huge_pages=off"]


@contextmanager
def _scratch_directory(settings: Sequence[Setting], paths: Paths, owner: User) -> Iterator[str]:
    with owner.effective():
        scratch = tempfile.mkdtemp(prefix="walstream-candidate-")
        try:
            for folder in ("global", "pg_notify"):
                os.mkdir(f"{scratch}/{folder}", 0o700)
            _write(f"{scratch}/PG_VERSION", f"{paths.version}\n")
            _write(f"{scratch}/postgresql.conf", candidate(settings))
            control = os.path.join(paths.data_directory, "global", "pg_control")
            if os.path.exists(control):
                shutil.copyfile(control, f"{scratch}/global/pg_control")
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
    try:
        yield scratch
    finally:
        with owner.effective():
            shutil.rmtree(scratch, ignore_errors=True)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def candidate(settings: Sequence[Setting]) -> str:
    """All settings in one file, one a line, so that the number of a line leads back to where it came from."""
    return "".join(f"{setting.name} = {quote(setting.value)}\n" for setting in settings)


def reasons_in(stderr: str, settings: Sequence[Setting], ours: str) -> str:
    """The server's complaints on one line, each with the place that it is really about, unless that is our file.

    What is new in our file stands nowhere yet, and its parameter says enough.
    """

    def origin(match: re.Match[str]) -> str:
        number = int(match[1])
        setting = settings[number - 1] if 0 < number <= len(settings) else None
        return f" in {setting.file} line {setting.line}" if setting and setting.file != ours else ""

    said = [match[1] for match in map(_MESSAGE.search, stderr.splitlines()) if match]
    reasons = [_PLACE.sub(origin, words) for words in said if not words.startswith(_NOISE)]
    return "; ".join(dict.fromkeys(reasons)) or " ".join(stderr.split()) or "it gives no reason"
