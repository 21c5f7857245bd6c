# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping what is replaced: a data directory, with its WAL directory and tablespaces where their place is needed.

Nothing is moved before the copy is complete: it is made beside every place that is still taken. The moves are written
down with the stamp that calls it complete, so that a run that is killed between two of them is completed by the next
one, and both clusters stay whole: their symbolic links follow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._clone.rights import Rights
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.inspection import (
    is_mount_point,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import DataDirectory
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal, WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import (
    may_write,
    sync_directory,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.processes import server_of


@dataclass(frozen=True)
class Move:
    """One rename. `link` is the link inside the data directory that leads there, such as `pg_wal`.

    `inode` is the directory that was looked at when the move was planned: nothing else is moved in its stead.
    """

    source: str
    target: str
    link: str | None = None
    inode: int | None = None

    @property
    def is_done(self) -> bool:
        return _inode(self.target) in {self.inode} - {None}

    @property
    def is_due(self) -> bool:
        return _inode(self.source) in {self.inode} - {None}


@dataclass(frozen=True)
class Moves:
    """What makes room (`aside`, the data directory last), and what of the copy then takes that room (`into`)."""

    aside: tuple[Move, ...] = ()
    into: tuple[Move, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.aside)

    @property
    def aside_to(self) -> str | None:
        """Where the replaced data directory is, or is going to be."""
        return self.aside[-1].target if self.aside else None

    @property
    def have_begun(self) -> bool:
        return any(move.is_done for move in self.aside)

    @property
    def fit(self) -> bool:
        """Whether what was to be moved is still what lies there."""
        return bool(self.aside) and all(move.is_done or move.is_due for move in self.aside)

    def need_root(self, owner: User) -> bool:
        return any(_rights(move, owner).beside_as_root for move in (*self.aside, *self.into))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> Moves:
        return cls(
            *(tuple(Move(**move) for move in (values or {}).get(name, ())) for name in ("aside", "into"))
        )


def beside(place: str) -> str:
    """Where the part of a copy is made that will take this place."""
    parent, name = os.path.split(place)
    return os.path.join(parent, f".{name}.clone")


def plan_moves(disk: DataDirectory, needed: Iterable[str], stamp: str, owner: User) -> Moves:
    """What has to make room. `needed` are the directories outside that the new copy will fill."""
    wanted = {os.path.realpath(path): path for path in needed}
    linked = {"pg_wal": disk.wal_directory} if disk.wal_directory else {}
    linked.update({f"pg_tblspc/{oid}": place for oid, place in disk.tablespaces.items()})
    suffix = f".replaced-{stamp}"
    aside = [
        Move(place, place + suffix, link, _inode(place))
        for link, place in sorted(linked.items())
        if place in wanted and os.path.isdir(place)
    ]
    for move in aside:
        if is_mount_point(move.source):
            raise Refusal(
                f"'{move.source}' belongs to the cluster that is to be replaced, is needed for the new copy, and is "
                "a mount point that cannot be moved aside: choose another directory for the copy"
            )
    if aside and not may_write(disk.real_path, owner):
        raise Refusal(
            f"'{disk.path}' is to be replaced, and '{owner.name}' may not write in it, so that its links cannot "
            f"follow what is moved aside: give it to '{owner.name}'"
        )
    into = [Move(beside(wanted[move.source]), wanted[move.source]) for move in aside]
    data = Move(disk.real_path, disk.real_path + suffix, None, _inode(disk.real_path))
    return Moves((*aside, data), tuple(into))


def carry_out(moves: Moves, copy: str, owner: User) -> None:
    """Do what has not been done yet. May be called again after it was interrupted anywhere. `copy` is the new one."""
    if not moves:
        return
    data = moves.aside[-1]
    if data.is_due:
        with owner.effective():
            server = server_of(data.source, None) if os.path.isdir(data.source) else None
        if server:
            raise Refusal(f"{server} runs in '{data.source}', which is to be moved aside: stop it first")
    for move in moves.aside:
        if move.is_due:
            _rename(move, owner)
        if move.link and data.is_due:
            with owner.effective():
                _lead(os.path.join(data.source, move.link), move.source, move.target)
    for move in moves.into:
        if os.path.lexists(move.source):
            _rename(move, owner)
        with owner.effective():
            for link in links_in(copy):
                _lead(link, move.source, move.target)


def links_in(data_directory: str) -> list[str]:
    """The links that lead out of a cluster: to its WAL directory and to its tablespaces."""
    place = os.path.join(data_directory, "pg_tblspc")
    links = [os.path.join(data_directory, "pg_wal")]
    with contextlib.suppress(OSError):
        links += [os.path.join(place, name) for name in sorted(os.listdir(place))]
    return [link for link in links if os.path.islink(link)]


def _rename(move: Move, owner: User) -> None:
    with _rights(move, owner).beside():
        try:
            os.rename(move.source, move.target)
        except OSError as error:
            raise WalstreamError(
                f"'{move.source}' cannot be renamed to '{move.target}' ({error.strerror}), and the copy is complete: "
                "remove what is in the way, and run again"
            ) from None
        sync_directory(os.path.dirname(move.target))


def _rights(move: Move, owner: User) -> Rights:
    return Rights.over(os.path.dirname(move.source), owner)


def _inode(path: str) -> int | None:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return None


def _lead(link: str, old: str, new: str) -> None:
    """Let a symbolic link lead somewhere else, in one step. Done already where the data directory has moved."""
    if not os.path.islink(link) or os.readlink(link) == new:
        return
    if os.path.realpath(link) not in {os.path.realpath(old), os.path.realpath(new)}:
        return
    draft = f"{link}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft)
    os.symlink(new, draft)
    os.rename(draft, link)
    sync_directory(os.path.dirname(link))
