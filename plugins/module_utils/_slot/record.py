# SPDX-License-Identifier: GPL-3.0-or-later
"""Which slots of a server are ours to drop: a small file, beside the data directory, of those that we made.

A server does not say who made a slot, and a slot that somebody else made may be the only thing that keeps the WAL
of a replica we know nothing about.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
from collections.abc import Callable, Iterator

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system import files, folders
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User


def read(path: str) -> list[str]:
    """The names in the record; none where there is no record, or where it cannot be understood."""
    try:
        names = json.loads(files.read_file(path) or "[]")
    except ValueError:
        return []
    return sorted({str(name) for name in names}) if isinstance(names, list) else []


def add(path: str, name: str) -> None:
    """Note a slot that is about to be made: a note too many does no harm, one too few leaks a slot."""
    _change(path, lambda names: names | {name})


def discard(path: str, name: str) -> None:
    """Strike a slot that is gone."""
    _change(path, lambda names: names - {name})


def _change(path: str, change: Callable[[set[str]], set[str]]) -> None:
    folder = os.path.dirname(path)
    try:
        # As the owner of the folder: nobody's link on the way is followed with more rights than who planted it has.
        keeper = pwd.getpwuid(folders.keeper(folder)).pw_name
        with User.named(keeper).effective(), _alone_in(folder):
            names = set(read(path))
            changed = change(names)
            if changed != names:
                files.write_file(path, json.dumps(sorted(changed)) + "\n", durable=True)
    except (OSError, KeyError) as error:
        raise WalstreamError(f"cannot write the record of our slots, {path}: {error}") from None


@contextlib.contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Replicas make their slots at the same time: one at a time may read the record and write it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # and with it the lock
