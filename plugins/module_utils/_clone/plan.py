# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about a data directory that should be a copy of its upstream. Pure, and the heart of the collection.

Nothing falls through to a copy: each rule names the states that it speaks about, and what no rule
speaks about is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    DataDirectory,
    State,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.identity import Identity


class Action(str, Enum):
    UNCHANGED = "unchanged"
    CLONE = "clone"
    WAIT = "wait"
    FINISH = "finish"
    REFUSE = "refuse"


class Leftover(str, Enum):
    """What an earlier clone left beside a data directory."""

    NONE = "none"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    COMPLETE = "complete"
    ENDED = "ended"
    """Only the report of a clone whose copy is in its place, or of one that failed and has been cleaned up."""


@dataclass(frozen=True)
class Desired:
    """`replace` is consent: the system identifier of what may be moved aside."""

    standby: bool = True
    replace: str | None = None
    verify: bool = True


@dataclass(frozen=True)
class Staged:
    """What an earlier clone left beside the data directory.

    `wal_available`: whether the upstream still has the WAL that a complete copy goes on from; None where
    nobody asked. `standby`: what the copy was made to be. `verified`: whether it was held against its manifest.
    `replaces`: whether it was made to replace exactly what is on disk now.
    """

    leftover: Leftover = Leftover.NONE
    system_identifier: str | None = None
    wal_available: bool | None = None
    standby: bool | None = None
    verified: bool = True
    replaces: bool = False


@dataclass(frozen=True)
class Plan:
    """One action and one reason. `clean`: remove what an interrupted copy left. `move_aside`: what is there is kept
    under another name."""

    action: Action
    reason: str
    clean: bool = False
    move_aside: bool = False


def plan(
    desired: Desired,
    disk: DataDirectory,
    upstream: Identity,
    staged: Staged,
    wal_available: bool | None = None,
) -> Plan:
    """Decide. `wal_available`: whether the upstream still has the WAL that a standby on disk needs; None if unknown."""
    if staged.leftover is Leftover.RUNNING:
        return Plan(Action.WAIT, "another run is already cloning into this data directory")
    if disk.state is State.UNKNOWN:
        return _refuse(f"'{disk.path}' {disk.reason}: look at it, and move it away if it is not needed")
    if disk.state in {State.PRIMARY, State.STANDBY}:
        return _plan_for_cluster(desired, disk, upstream, staged, wal_available)
    if disk.state in {State.ABSENT, State.EMPTY, State.PARTIAL}:
        return _plan_for_vacancy(desired, disk, upstream, staged)
    raise AssertionError(f"no rule for {disk.state}")  # a new state never falls through to a copy


def _plan_for_vacancy(desired: Desired, disk: DataDirectory, upstream: Identity, staged: Staged) -> Plan:
    if disk.running:
        return _refuse(f"{disk.server} runs in '{disk.path}', which {disk.reason}: stop it first")
    if disk.used_by:
        return _refuse(
            f"'{disk.path}' {disk.reason}, and {disk.used_by} is using it: wait for its end, or end it"
        )
    if staged.leftover is Leftover.COMPLETE:
        return _plan_for_staged(desired, disk, upstream, staged)
    if staged.leftover is Leftover.INTERRUPTED or disk.state is State.PARTIAL:
        what = (
            disk.reason if disk.state is State.PARTIAL else "has the rest of an interrupted clone beside it"
        )
        return Plan(Action.CLONE, f"'{disk.path}' {what}, which is removed", clean=True)
    return Plan(Action.CLONE, f"'{disk.path}' {disk.reason}")


def _plan_for_staged(desired: Desired, disk: DataDirectory, upstream: Identity, staged: Staged) -> Plan:
    """A copy of ours is complete, and only has to be put into its place."""
    if staged.system_identifier != upstream.system_identifier:
        return _refuse_for_staged(disk, upstream, staged)
    objection = _objection(desired, staged)
    if objection:
        return Plan(
            Action.CLONE, f"the complete copy beside '{disk.path}' {objection}, and is removed", clean=True
        )
    return Plan(Action.FINISH, f"a complete copy waits to be put into the place of '{disk.path}'")


def _objection(desired: Desired, staged: Staged) -> str | None:
    """Why a complete copy of the right cluster is not to be used, in words that follow it."""
    if staged.wal_available is False:
        return "has outlived its WAL"
    if staged.standby != desired.standby:
        return "was made for another purpose"
    return "was not verified" if desired.verify and not staged.verified else None


def _refuse_for_staged(disk: DataDirectory, upstream: Identity, staged: Staged) -> Plan:
    return _refuse(
        f"a complete copy of another cluster, {staged.system_identifier}, waits beside '{disk.path}', and the "
        f"upstream is {upstream.system_identifier}: it may be the only one, so look at it and move it away"
    )


def _plan_for_cluster(
    desired: Desired,
    disk: DataDirectory,
    upstream: Identity,
    staged: Staged,
    wal_available: bool | None,
) -> Plan:
    foreign = disk.system_identifier != upstream.system_identifier
    if foreign:
        objection = (
            f"'{disk.path}' holds another cluster: its system identifier is {disk.system_identifier}, "
            f"the upstream's is {upstream.system_identifier}"
        )
    elif disk.version != upstream.major:
        return _refuse(
            f"'{disk.path}' holds version {disk.version or 'unknown'} of the upstream's cluster, which is "
            f"version {upstream.major}: check which directory and which upstream are meant"
        )
    elif (disk.timeline or 0) > upstream.timeline:
        # No consent helps: the identifier that it names is the upstream's too, and the newer history is here.
        return _refuse(
            f"'{disk.path}' is on timeline {disk.timeline}, newer than the upstream's {upstream.timeline}: a server "
            "was promoted here, so the upstream may be the one that is out of date; follow the promoted server, "
            "or move the directory away by hand"
        )
    elif disk.state is State.STANDBY or not desired.standby:
        return _plan_for_copy(desired, disk, upstream, staged, wal_available)
    elif disk.running:
        return _refuse(
            f"a live primary runs in '{disk.path}' ({disk.server}): it is no standby, and nothing was changed; "
            "correct the inventory, or stop it before it rejoins"
        )
    elif not disk.was_started:
        objection = f"'{disk.path}' {disk.reason}, of this upstream's cluster"
    else:
        objection = (
            f"'{disk.path}' holds a stopped former primary of this cluster, which may have transactions that "
            "the upstream does not have"
        )
    if disk.running:
        return _refuse(f"{objection}, and a server runs on it ({disk.server}): stop it first")
    return _replace(desired, disk, upstream, staged, objection)


def _plan_for_copy(
    desired: Desired, disk: DataDirectory, upstream: Identity, staged: Staged, wal_available: bool | None
) -> Plan:
    """A copy of this upstream's cluster is in its place."""
    if wal_available is False and not disk.running and desired.replace == disk.system_identifier:
        return _replace(
            desired, disk, upstream, staged, "the upstream no longer has the WAL that this standby needs"
        )
    what = "standby" if disk.state is State.STANDBY else "copy"
    return Plan(Action.UNCHANGED, f"'{disk.path}' holds a {what} of this upstream's cluster")


def _replace(
    desired: Desired, disk: DataDirectory, upstream: Identity, staged: Staged, objection: str
) -> Plan:
    """Replace what is there if its system identifier is the one that was consented to."""
    way_out = (
        f"to move it aside and clone, set 'replace' to '{disk.system_identifier}', the identifier of what may be "
        "replaced"
    )
    if desired.replace is None:
        return _refuse(f"{objection}; {way_out}")
    if desired.replace != disk.system_identifier:
        return _refuse(
            f"{objection}; the consent names {desired.replace}, so it is stale or wrong: {way_out}"
        )
    if disk.cannot_be_renamed:
        return _refuse(
            f"{objection}; it is to be replaced, but it is a mount point and cannot be moved aside: "
            "empty it yourself, keeping a copy"
        )
    if staged.leftover is Leftover.COMPLETE:
        if staged.system_identifier != upstream.system_identifier:
            return _refuse_for_staged(disk, upstream, staged)
        if staged.replaces and not _objection(desired, staged):
            return Plan(
                Action.FINISH,
                f"{objection}; it is moved aside with the consent that names it, for the complete copy beside it",
                move_aside=True,
            )
    return Plan(
        Action.CLONE,
        f"{objection}; it is moved aside with the consent that names it",
        clean=staged.leftover in {Leftover.INTERRUPTED, Leftover.COMPLETE},
        move_aside=True,
    )


def _refuse(reason: str) -> Plan:
    return Plan(Action.REFUSE, reason)
