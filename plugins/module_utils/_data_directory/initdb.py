# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a new cluster with initdb so that an interrupted attempt is never taken for a cluster.

initdb writes the control file early: what a killed one leaves looks like a primary. So it works beside
the data directory and the result is renamed into place; where that cannot be, because the data
directory is a mount point, it works inside, and the control file moves to its place last.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.initial_configuration import (
    HOST_METHOD,
    LOCAL_METHOD,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    INITDB_WORKSPACE,
    NOT_DATA,
    DataDirectory,
    State,
    is_wal_name,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal, WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system import secret_file, time_zone
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import Result, Runner
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import (
    may_write,
    remove_entries,
    sync_directory,
)

_FIRST_WITHOUT_INSTRUCTIONS = 14
_FIRST_WITH_LONG_PASSWORDS = 14
_FIRST_WITH_CHECKSUMS_BY_DEFAULT = 18
_LONG_PASSWORD = 99
"""Bytes of a password that initdb's buffer held before version 14. The rest was lost without a word."""


@dataclass(frozen=True)
class NewCluster:
    """What a new cluster is made with. `superuser_password` counts where `takes_password` says so."""

    version: int
    encoding: str = "UTF8"
    locale: str = "C.UTF-8"
    data_checksums: bool = True
    wal_directory: str | None = None
    superuser_password: str | None = field(default=None, repr=False)

    @property
    def takes_password(self) -> bool:
        """Whether initdb sets it as it is: it reads one line, and used to keep no more than 99 bytes of that."""
        password = self.superuser_password or ""
        is_whole = self.version >= _FIRST_WITH_LONG_PASSWORDS or len(password.encode()) <= _LONG_PASSWORD
        return bool(password) and is_whole and not {"\r", "\n", "\0"} & set(password)

    def argv(self, bin_directory: str, target: str) -> list[str]:
        argv = [os.path.join(bin_directory, "initdb"), "-D", target, "--encoding", self.encoding]
        argv += ["--locale", self.locale, "--auth-local", LOCAL_METHOD, "--auth-host", HOST_METHOD]
        if self.version >= _FIRST_WITHOUT_INSTRUCTIONS:
            argv.append("--no-instructions")
        if self.data_checksums:
            argv.append("--data-checksums")
        elif self.version >= _FIRST_WITH_CHECKSUMS_BY_DEFAULT:
            argv.append("--no-data-checksums")
        if self.wal_directory:
            argv += ["--waldir", self.wal_directory]
        return argv


def initialize(data: DataDirectory, new: NewCluster, bin_directory: str, owner: User, run: Runner) -> bool:
    """Run initdb for a data directory that is absent or empty, and for no other.

    Returns whether the superuser has the password of `new`. Where an interrupted attempt is only finished, that is
    not known.
    """
    if data.state not in (State.ABSENT, State.EMPTY):
        raise Refusal(
            f"{data.path} {data.reason}: initdb is not run on it; move it aside if nothing in it is needed"
        )
    parent = os.path.dirname(data.real_path)
    files.make_directories(parent, owner, 0o755)
    if new.wal_directory:
        files.make_directories(os.path.dirname(new.wal_directory), owner, 0o755)
        files.make_directory(new.wal_directory, owner, 0o700)
    try:
        if data.cannot_be_renamed or not may_write(parent, owner):
            return _inside(data.real_path, new, bin_directory, owner, run)
        return _beside(data.real_path, new, bin_directory, owner, run)
    except OSError as error:
        raise WalstreamError(
            f"cannot make a cluster in {data.path}: {error.strerror} ({error.filename})"
        ) from None


def _beside(target: str, new: NewCluster, bin_directory: str, owner: User, run: Runner) -> bool:
    parent, name = os.path.split(target)
    work = os.path.join(parent, f".{name}.initdb")
    with owner.effective():
        _forget(work, new)
    has_password = _run(new, bin_directory, work, owner, run)
    with owner.effective():
        os.rename(work, target)
        sync_directory(parent)
    return has_password


def _inside(target: str, new: NewCluster, bin_directory: str, owner: User, run: Runner) -> bool:
    files.make_directory(target, owner, 0o700)
    if os.geteuid() == 0:
        os.chown(target, owner.uid, owner.gid)  # a new mount belongs to root
    work = os.path.join(target, INITDB_WORKSPACE)
    with owner.effective():
        os.chmod(target, 0o700)
        finished = (
            set(os.listdir(target)) - NOT_DATA - {INITDB_WORKSPACE}
        )  # nothing moves before initdb is done
        if not finished:
            _forget(work, new)
    has_password = not finished and _run(new, bin_directory, work, owner, run)
    with owner.effective():
        for name in sorted(os.listdir(work), key=lambda name: name == "global"):
            os.rename(os.path.join(work, name), os.path.join(target, name))
        os.rmdir(work)
        sync_directory(target)
    return has_password


def _forget(work: str, new: NewCluster) -> None:
    """Remove what an interrupted attempt left, its WAL elsewhere included."""
    if not os.path.lexists(work):
        return
    wal = os.path.join(work, "pg_wal")
    if new.wal_directory and os.path.realpath(wal) == os.path.realpath(new.wal_directory):
        remove_entries(new.wal_directory, filter(is_wal_name, os.listdir(new.wal_directory)))
    remove_entries(os.path.dirname(work), [os.path.basename(work)])


def _run(new: NewCluster, bin_directory: str, target: str, owner: User, run: Runner) -> bool:
    # Without being told, initdb compares the host's zone with every file of the time zone database: half a second.
    zone = time_zone.of_this_host()
    argv, descriptors = new.argv(bin_directory, target), []
    with secret_file.in_memory(new.superuser_password if new.takes_password else None, owner) as password:
        if password is not None:
            argv += ["--pwfile", secret_file.path_of(password)]
            descriptors.append(password)
        done = run(argv, env={"TZ": zone} if zone else None, descriptors=descriptors)
    if done.rc:
        raise WalstreamError(f"initdb failed: {_reason(done)}")
    return bool(descriptors)


def _reason(done: Result) -> str:
    errors = [
        line[len("initdb: error: ") :]
        for line in done.stderr.splitlines()
        if line.startswith("initdb: error: ")
    ]
    return "; ".join(errors) or done.last_words
