# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping what is replaced: a data directory, with its WAL directory and tablespaces where their place is needed.

The moves are planned first and written down, so that a run that is killed between two of them is
completed by the next one, and the replaced cluster stays whole: its symbolic links follow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import Rights
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.inspection import (
    is_mount_point,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import DataDirectory
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import sync_directory
from ansible_collections.walstream.postgresql.plugins.module_utils._system.processes import server_of


@dataclass(frozen=True)
class Move:
    """One rename; `link` is the link inside the data directory that leads there, such as `pg_wal`."""

    source: str
    target: str
    link: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Move:
        return cls(str(values["source"]), str(values["target"]), values.get("link"))


def plan_moves(disk: DataDirectory, needed: Iterable[str], stamp: str) -> list[Move]:
    """What has to make room, the data directory last. `needed` are the directories that the new copy will fill."""
    wanted = {os.path.realpath(path) for path in needed}
    linked = {"pg_wal": disk.wal_directory} if disk.wal_directory else {}
    linked.update({f"pg_tblspc/{oid}": place for oid, place in disk.tablespaces.items()})
    suffix = f".replaced-{stamp}"
    moves = [Move(place, place + suffix, link) for link, place in sorted(linked.items()) if place in wanted]
    for move in moves:
        if is_mount_point(move.source):
            raise Refusal(
                f"'{move.source}' belongs to the cluster that is to be replaced, is needed for the new copy, and is "
                "a mount point that cannot be moved aside: choose another directory for the copy"
            )
    return [*moves, Move(disk.real_path, disk.real_path + suffix)]


def carry_out(moves: Iterable[Move], owner_rights: Rights) -> None:
    """Do what has not been done yet. May be called again after it was interrupted anywhere."""
    planned = list(moves)
    data = planned[-1]
    with owner_rights.beneath():
        server = server_of(data.source, None) if os.path.isdir(data.source) else None
    if server:
        raise Refusal(f"{server} runs in '{data.source}', which is to be moved aside: stop it first")
    for move in planned:
        rights = Rights.over(os.path.dirname(move.source), owner_rights.owner)
        with rights.beside():
            if os.path.lexists(move.source) and not os.path.lexists(move.target):
                os.rename(move.source, move.target)
                sync_directory(os.path.dirname(move.target))
        if move.link:
            with rights.beneath():
                _lead(os.path.join(data.source, move.link), move.target)


def _lead(link: str, target: str) -> None:
    """Let a symbolic link lead somewhere else, in one step. Done already where the data directory has moved."""
    if not os.path.islink(link) or os.readlink(link) == target:
        return
    new = f"{link}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    os.symlink(target, new)
    os.rename(new, link)
    sync_directory(os.path.dirname(link))
