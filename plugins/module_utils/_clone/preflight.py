# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can be known to prevent a clone before its first byte. Changes nothing, here or on the upstream."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Mapping, Sequence

from ansible_collections.walstream.postgresql.plugins.module_utils._clone.copy import free_bytes
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.external import is_copied_there
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.progress import size
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.rights import (
    check_trusted,
    may_be_taken,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.programs import Programs
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import (
    may,
    may_write,
    nearest_existing,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.processes import user_of
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.walsender import (
    SlotInUse,
    Source,
    Upstream,
)

SERVER_COMPRESSION_SINCE = 15
WAL_ALLOWANCE = 2 * 16 * 1024 * 1024
"""The least WAL that streams in beside the data: the segment of the backup's start and the one of its end."""

_SLOT_NAME = re.compile(r"^[a-z0-9_]{1,63}$")
_SLOT_FREE_WITHIN = 5.0
_SLOT_LEFT_FOR = 70.0


def check_names(slot: str | None, compression: str | None, major: int) -> None:
    if slot and not _SLOT_NAME.match(slot):
        raise WalstreamError(
            f"'{slot}' is no name for a slot: only lower-case letters, digits and underscores are allowed, at most 63"
        )
    if compression and major < SERVER_COMPRESSION_SINCE:
        raise WalstreamError(
            f"compression during a clone needs version {SERVER_COMPRESSION_SINCE}, and the upstream is {major}: "
            "leave 'compression' out"
        )


def check_programs(programs: Programs, major: int, verify: bool) -> None:
    """The same major version as the upstream's, and everything there that is going to be called."""
    for name in ("pg_basebackup", "pg_controldata", *(("pg_verifybackup",) if verify else ())):
        programs.require(name)
    here = programs.major("pg_basebackup")
    if here != major:
        raise WalstreamError(
            f"the upstream is version {major}, and the programs in '{programs.directory}' are version {here}: "
            f"install PostgreSQL {major} here, or point 'bin_directory' at it"
        )


def check_passfile(path: str | None, owner: User) -> None:
    """libpq silently ignores a password file that others may read."""
    if not path:
        return
    try:
        with owner.effective():
            entry = os.stat(path)
        readable = may(path, os.R_OK, owner)
    except OSError as error:
        raise WalstreamError(
            f"the password file '{path}' cannot be read ({error.strerror}): make it first"
        ) from None
    if not readable or entry.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise WalstreamError(
            f"the password file '{path}' must belong to '{owner.name}' and have mode 0600, "
            "or libpq does not use it: correct it"
        )


def check_writable(parent: str, owner: User, what: str, *, exists: bool = False) -> None:
    """Somebody, the server's user or else root, must be able to create things in `parent`.

    `exists`: nothing is going to be created, but the user has to enter.
    """
    existing = nearest_existing(parent)
    if not os.path.isdir(existing):
        raise WalstreamError(
            f"'{existing}', which should hold {what}, is not a directory: choose another place"
        )
    if may_write(existing, owner):
        return
    if os.geteuid() != 0 and not exists:
        raise WalstreamError(
            f"'{owner.name}' may not create anything in '{existing}', which should hold {what}: "
            "give it the right, or run as root (become)"
        )
    if not may(existing, os.X_OK, owner):
        raise WalstreamError(
            f"'{owner.name}' may not enter '{existing}', which should hold {what}: give it the right on each folder "
            "on the way there, or choose another place"
        )
    if os.geteuid() == 0:
        check_trusted(existing, owner)


def check_external(
    directories: Sequence[str], real_path: str, ours: Sequence[str], owner: User
) -> dict[str, bool]:
    """The WAL directory and tablespaces: absent or empty, apart from what an interrupted copy (`ours`) left.

    Returns for each whether it has to be made.
    """
    missing: dict[str, bool] = {}
    for path in directories:
        what = "a WAL directory or tablespace"
        if not os.path.isabs(path):
            raise WalstreamError(f"'{path}' is not an absolute path: give the one of {what} from the root on")
        if (os.path.realpath(path) + "/").startswith(real_path + "/"):
            raise WalstreamError(
                f"'{path}' lies inside the data directory '{real_path}': choose another place"
            )
        check_writable(os.path.dirname(path), owner, what)
        if directories.count(path) > 1:
            raise WalstreamError(f"'{path}' is meant for two things at once: choose a directory for each")
        missing[path] = not os.path.lexists(path)
        if missing[path]:
            continue
        if not os.path.isdir(path) or os.path.islink(path):
            raise WalstreamError(f"'{path}', meant for {what}, is not a directory: choose another place")
        is_ours = os.path.realpath(path) in ours
        foreign = [name for name in os.listdir(path) if not (is_ours and is_copied_there(name))]
        if foreign:
            raise WalstreamError(
                f"'{path}', meant for {what}, is not empty (it holds '{sorted(foreign)[0]}'): empty it, or choose "
                "another directory, such as a new one inside it"
            )
        used = user_of(path, owner)
        if is_ours and os.listdir(path) and used:
            raise WalstreamError(
                f"'{path}', meant for {what}, is in use by {used}: end it, or choose another"
            )
        if not may_write(path, owner) and not may_be_taken(path, owner):
            raise WalstreamError(
                f"'{owner.name}' may not write in '{path}', meant for {what}: give it the right"
            )
    return missing


def check_tablespaces(source: Source, mapping: Mapping[str, str]) -> None:
    """Each tablespace of the upstream has a place here, said by somebody: the same path may belong to another."""
    unmapped = sorted(set(source.by_location or {}) - {""} - set(mapping))
    if unmapped:
        raise WalstreamError(
            f"the upstream has a tablespace at '{unmapped[0]}' that 'tablespace_mapping' does not name: "
            "say where it goes on this host (the same path is a possible answer)"
        )


def check_space(
    source: Source, real_path: str, wal_directory: str | None, mapping: Mapping[str, str], given_back: int
) -> int:
    """Whether it fits, file system by file system. `given_back`: bytes that cleaning up will free.

    Returns the bytes that are free for the data directory.
    """
    needs: dict[int, int] = {}
    frees: dict[int, int] = {}
    names: dict[int, str] = {}

    def need(path: str, count: int) -> None:
        place = nearest_existing(path)
        device = os.stat(place).st_dev
        needs[device] = needs.get(device, 0) + count
        frees[device] = free_bytes(place)
        names.setdefault(device, path)

    located = {key: value for key, value in (source.by_location or {}).items() if value is not None}
    if not located and source.bytes is not None and not mapping:
        located = {"": source.bytes}  # with tablespaces, how much goes where is not known
    for location, count in located.items():
        need(mapping.get(location, real_path) if location else real_path, count)
    need(wal_directory or real_path, WAL_ALLOWANCE)
    home = os.stat(nearest_existing(real_path)).st_dev
    frees[home] = frees.get(home, free_bytes(nearest_existing(real_path))) + given_back
    for device, count in needs.items():
        if count > frees[device]:
            raise WalstreamError(
                f"the copy needs {size(count)} on the file system of '{names[device]}', and only "
                f"{size(frees[device])} are free there: free space, or choose a larger file system"
            )
    return frees[home]


def check_upstream(upstream: Upstream, slot: str | None, left_by_us: bool = False) -> None:
    """Two walsenders and the slot, for real.

    A consumer that has just ended may hold the slot for a moment. One of ours whose host or network died
    (`left_by_us`) holds it until the upstream's wal_sender_timeout.
    """
    deadline = time.monotonic() + (_SLOT_LEFT_FOR if left_by_us else _SLOT_FREE_WITHIN)
    while True:
        try:
            upstream.check_copy_is_possible(slot)
        except SlotInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def size_of_tree(path: str) -> int:
    """Bytes that a directory occupies."""
    total = 0
    pending: list[str] = [path]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            continue
    return total
