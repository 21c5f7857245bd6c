# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about one physical replication slot, and what is wrong with one: pure decisions.

A row is what `pg_replication_slots` shows, by column name. Columns that a version does not have are
simply absent, so nothing here asks for the version.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

Row = Mapping[str, Any]


class Health(enum.Enum):
    """How far a slot can be relied upon to keep the WAL that its consumer still needs."""

    GOOD = "good"
    ENDANGERED = "endangered"
    UNRESERVED = "unreserved"
    LOST = "lost"


class Action(enum.Enum):
    NOTHING = "nothing"
    CREATE = "create"
    RECREATE = "recreate"
    DROP = "drop"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Wanted:
    """The slot that somebody asks for."""

    name: str
    present: bool = True
    reserve: bool = True
    recreate_lost: bool = False
    force: bool = False


@dataclass(frozen=True)
class Limits:
    """What decides whether a server can take another slot."""

    wal_level: str
    max_replication_slots: int
    slots: int
    may_replicate: bool
    role: str


@dataclass(frozen=True)
class Plan:
    """One action and its one reason. `warning` is for a slot that exists and works, but maybe not for long."""

    action: Action
    reason: str
    warning: str | None = None


@dataclass(frozen=True)
class Shape:
    """What a slot is, without the positions that move all the time; the two sides of a difference."""

    state: str
    slot_type: str | None = None
    reserved: bool | None = None
    lost: bool | None = None


def health(row: Row) -> tuple[Health, str]:
    """How a slot is and a sentence about it, from the row alone."""
    why_lost = row.get("invalidation_reason")
    if row.get("wal_status") == "lost" or why_lost:
        reason = f" ({why_lost})" if why_lost else ""
        return Health.LOST, f"lost{reason}: WAL that its consumer needs may have been removed"
    if row.get("restart_lsn") is None:
        return Health.UNRESERVED, "reserves no WAL: nothing is kept for its consumer until it first connects"
    if row.get("wal_status") == "unreserved":
        return (
            Health.ENDANGERED,
            "about to be lost: it holds more WAL than max_slot_wal_keep_size allows, "
            "and the next checkpoint may remove what its consumer needs",
        )
    use = "in use" if row.get("active") else "not in use, and keeps WAL for its consumer"
    return Health.GOOD, use + (", more than max_wal_size" if row.get("wal_status") == "extended" else "")


def shape(row: Row | None) -> Shape:
    """What the slot is now."""
    if row is None:
        return Shape("absent")
    return Shape("present", row["slot_type"], row["restart_lsn"] is not None, health(row)[0] is Health.LOST)


def shape_after(plan: Plan, wanted: Wanted, row: Row | None) -> Shape:
    """What the slot will be once the plan has been carried out."""
    if plan.action in (Action.CREATE, Action.RECREATE):
        return Shape("present", "physical", wanted.reserve, False)
    return Shape("absent") if plan.action is Action.DROP else shape(row)


def difference(plan: Plan, wanted: Wanted, row: Row | None) -> dict[str, Any]:
    """Before and after, as Ansible's `--diff` wants them."""
    return {
        "before_header": f"slot {wanted.name}",
        "after_header": f"slot {wanted.name}",
        "before": _known(shape(row)),
        "after": _known(shape_after(plan, wanted, row)),
    }


def _known(slot: Shape) -> dict[str, Any]:
    return {name: value for name, value in asdict(slot).items() if value is not None}


def plan(wanted: Wanted, row: Row | None, limits: Limits) -> Plan:
    """The one thing to do about the slot, as the server shows it (None: there is no such slot)."""
    decided = _plan_present(wanted, row) if wanted.present else _plan_absent(wanted, row)
    if decided.action in (Action.NOTHING, Action.REFUSE):
        return decided
    return _cannot(wanted, decided, limits) or decided


def _plan_present(wanted: Wanted, row: Row | None) -> Plan:
    if row is None:
        return Plan(Action.CREATE, "there is no such slot")
    foreign = _foreign(wanted, row)
    if foreign:
        return foreign
    found, sentence = health(row)
    if found is Health.LOST:
        if not wanted.recreate_lost:
            return Plan(
                Action.REFUSE,
                f"the slot '{wanted.name}' is {sentence}. Its replica may need a new base backup; "
                "set 'recreate_lost' to make the slot anew",
            )
        return _replace(wanted, row, f"it is {sentence}")
    if found is Health.UNRESERVED and wanted.reserve:
        return _replace(wanted, row, f"it {sentence}")
    return Plan(
        Action.NOTHING,
        "it is as it should be",
        f"the slot '{wanted.name}' is {sentence}" if found is Health.ENDANGERED else None,
    )


def _plan_absent(wanted: Wanted, row: Row | None) -> Plan:
    if row is None:
        return Plan(Action.NOTHING, "there is no such slot")
    foreign = _foreign(wanted, row)
    if foreign:
        return foreign
    return _in_use(wanted, row, "dropped") or Plan(Action.DROP, "it should not be there")


def _foreign(wanted: Wanted, row: Row) -> Plan | None:
    """Slots that are not ours to judge: another kind, or one that dies with somebody's session."""
    if row["slot_type"] != "physical":
        return Plan(
            Action.REFUSE,
            f"'{wanted.name}' is a {row['slot_type']} slot of the database '{row.get('database')}', not a "
            "physical one: choose another name, or use community.postgresql.postgresql_slot for that slot",
        )
    if row.get("temporary"):
        return Plan(
            Action.REFUSE,
            f"'{wanted.name}' is a temporary slot of the session with PID {row.get('active_pid')} and goes "
            "when that ends: choose another name, or wait for it to end",
        )
    return None


def _replace(wanted: Wanted, row: Row, reason: str) -> Plan:
    """Drop and create. Loses nothing: a lost slot and one without a position keep no WAL for anybody."""
    return _in_use(wanted, row, "made anew") or Plan(Action.RECREATE, reason)


def _in_use(wanted: Wanted, row: Row, done: str) -> Plan | None:
    if not row.get("active") or wanted.force:
        return None
    return Plan(
        Action.REFUSE,
        f"the slot '{wanted.name}' is in use by the process with PID {row.get('active_pid')} and was not {done}: "
        "stop its consumer first, or set 'force' to end that consumer's session",
    )


def _cannot(wanted: Wanted, decided: Plan, limits: Limits) -> Plan | None:
    """Why the server would reject what is planned, so that check mode knows as well."""
    if not limits.may_replicate:
        return Plan(
            Action.REFUSE,
            f"the role '{limits.role}' may not manage replication slots: log in as a superuser, or give the role "
            "the attribute REPLICATION",
        )
    if decided.action is Action.DROP:
        return None
    if limits.wal_level == "minimal":
        return Plan(
            Action.REFUSE,
            f"the slot '{wanted.name}' needs wal_level = replica, but the server runs with minimal: "
            "change it and restart the server",
        )
    if decided.action is Action.CREATE and limits.slots >= limits.max_replication_slots:
        return Plan(
            Action.REFUSE,
            f"there is no room for the slot '{wanted.name}': all {limits.max_replication_slots} of "
            "max_replication_slots are taken. Raise it and restart the server, or drop a slot that nobody uses",
        )
    return None
