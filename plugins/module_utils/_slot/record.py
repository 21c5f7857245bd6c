# SPDX-License-Identifier: GPL-3.0-or-later
"""Which slots of a server are ours to drop: a small file, beside the data directory, of those that we made.

A server does not say who made a slot, and a slot that somebody else made may be the only thing that keeps the WAL
of a replica we know nothing about.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
from collections.abc import Callable, Iterator

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system import files, folders, locks
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._waiter import wait_until

_PATIENCE = 10.0
"""Seconds. Each holds the lock for one write."""


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
        with User.named(keeper).effective(), _alone_with(path):
            names = set(read(path))
            changed = change(names)
            if changed != names:
                files.write_file(path, json.dumps(sorted(changed)) + "\n", durable=True)
    except (OSError, KeyError) as error:
        raise WalstreamError(f"cannot write the record of our slots, {path}: {error}") from None


@contextlib.contextmanager
def _alone_with(path: str) -> Iterator[None]:
    """Replicas make their slots at the same time: one at a time may read the record and write it."""
    descriptor = wait_until(lambda: _try_to_lock(path), lambda locked: locked is not None, _PATIENCE)
    if descriptor is None:
        raise WalstreamError(
            f"the record of our slots, {path}, has been locked by another process for {_PATIENCE:g} seconds: "
            "end what holds it (fuser tells), and run again"
        )
    try:
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def _try_to_lock(path: str) -> int | None:
    with contextlib.suppress(BlockingIOError):
        return locks.take(path)
    return None
