# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for a slot over all that a server can show and a user can ask for."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._slot.plan import (
    Action,
    Health,
    Limits,
    Wanted,
    difference,
    health,
    plan,
    shape,
    shape_after,
)

LIMITS = Limits(wal_level="replica", max_replication_slots=10, slots=3, may_replicate=True, role="postgres")
PRESENT = Wanted("s")
ABSENT = Wanted("s", present=False)

GOOD = {
    "slot_name": "s",
    "slot_type": "physical",
    "temporary": False,
    "active": False,
    "active_pid": None,
    "restart_lsn": "0/3000060",
    "wal_status": "reserved",
}
IN_USE = {"active": True, "active_pid": 4711}
UNRESERVED = {**GOOD, "restart_lsn": None, "wal_status": None}
LOST = {**GOOD, "wal_status": "lost"}
LOST_WITHOUT_POSITION = {**LOST, "restart_lsn": None}
TIMED_OUT = {**LOST, "invalidation_reason": "idle_timeout"}
ENDANGERED = {**GOOD, "wal_status": "unreserved"}
EXTENDED = {**GOOD, "wal_status": "extended"}
LOGICAL = {**GOOD, "slot_type": "logical", "database": "app"}
TEMPORARY = {**GOOD, **IN_USE, "temporary": True}

RECREATE_LOST = replace(PRESENT, recreate_lost=True)
ANY_POSITION = replace(PRESENT, reserve=False)


@pytest.mark.parametrize(
    ("wanted", "row", "action", "words"),
    [
        (PRESENT, None, Action.CREATE, "no such slot"),
        (PRESENT, GOOD, Action.NOTHING, "as it should be"),
        (PRESENT, {**GOOD, **IN_USE}, Action.NOTHING, "as it should be"),
        (PRESENT, EXTENDED, Action.NOTHING, "as it should be"),
        (PRESENT, ENDANGERED, Action.NOTHING, "as it should be"),
        (PRESENT, UNRESERVED, Action.RECREATE, "reserves no WAL"),
        (PRESENT, {**UNRESERVED, **IN_USE}, Action.REFUSE, "in use by the process with PID 4711"),
        (replace(PRESENT, force=True), {**UNRESERVED, **IN_USE}, Action.RECREATE, "reserves no WAL"),
        (ANY_POSITION, UNRESERVED, Action.NOTHING, "as it should be"),
        (ANY_POSITION, LOST, Action.REFUSE, "recreate_lost"),
        (PRESENT, LOST, Action.REFUSE, "recreate_lost"),
        (PRESENT, LOST_WITHOUT_POSITION, Action.REFUSE, "recreate_lost"),
        (PRESENT, TIMED_OUT, Action.REFUSE, "lost (idle_timeout)"),
        (RECREATE_LOST, LOST, Action.RECREATE, "lost"),
        (RECREATE_LOST, LOST_WITHOUT_POSITION, Action.RECREATE, "lost"),
        (RECREATE_LOST, {**LOST, **IN_USE}, Action.REFUSE, "in use"),
        (RECREATE_LOST, GOOD, Action.NOTHING, "as it should be"),
        (replace(PRESENT, force=True), GOOD, Action.NOTHING, "as it should be"),
        (PRESENT, LOGICAL, Action.REFUSE, "logical slot of the database 'app'"),
        (PRESENT, TEMPORARY, Action.REFUSE, "temporary slot of the session with PID 4711"),
        (ABSENT, None, Action.NOTHING, "no such slot"),
        (ABSENT, GOOD, Action.DROP, "should not be there"),
        (ABSENT, LOST, Action.DROP, "should not be there"),
        (ABSENT, {**GOOD, **IN_USE}, Action.REFUSE, "in use"),
        (replace(ABSENT, force=True), {**GOOD, **IN_USE}, Action.DROP, "should not be there"),
        (replace(ABSENT, force=True), LOGICAL, Action.REFUSE, "logical"),
        (replace(ABSENT, force=True), TEMPORARY, Action.REFUSE, "temporary"),
    ],
)
def test_plan(wanted, row, action, words):
    decided = plan(wanted, row, LIMITS)
    assert decided.action is action
    assert words in decided.reason


ALL_WANTED = [Wanted("s", *flags) for flags in itertools.product([True, False], repeat=4)]
ALL_ROWS = [
    {
        **GOOD,
        "slot_type": slot_type,
        "restart_lsn": restart_lsn,
        "wal_status": wal_status,
        "active": active,
        "invalidation_reason": reason,
    }
    for slot_type in ("physical", "logical")
    for restart_lsn in (None, "0/1")
    for wal_status in (None, "reserved", "extended", "unreserved", "lost")
    for active in (True, False)
    for reason in (None, "wal_removed")
]


@pytest.mark.parametrize("wanted", ALL_WANTED, ids=str)
def test_whatever_is_there_a_slot_that_protects_something_is_dropped_only_on_request(wanted):
    for row in ALL_ROWS:
        action = plan(wanted, row, LIMITS).action
        if action in (Action.DROP, Action.RECREATE):
            assert row["slot_type"] == "physical"
            assert not row["active"] or wanted.force
        if action is Action.RECREATE:
            assert health(row)[0] in (Health.LOST, Health.UNRESERVED)
        if action is Action.NOTHING and wanted.present:
            assert health(row)[0] is not Health.LOST
            assert row["restart_lsn"] or not wanted.reserve


@pytest.mark.parametrize("wanted", ALL_WANTED, ids=str)
def test_a_second_run_changes_nothing(wanted):
    for row in [None, *ALL_ROWS]:
        decided = plan(wanted, row, LIMITS)
        if decided.action in (Action.NOTHING, Action.REFUSE):
            continue
        after = shape_after(decided, wanted, row)
        made = None if after.state == "absent" else (GOOD if after.reserved else UNRESERVED)
        assert shape(made) == after
        assert plan(wanted, made, LIMITS).action is Action.NOTHING


@pytest.mark.parametrize(
    ("limits", "row", "words"),
    [
        ({"slots": 10}, None, "all 10 of max_replication_slots"),
        ({"max_replication_slots": 0, "slots": 0}, None, "all 0 of max_replication_slots"),
        ({"wal_level": "minimal"}, None, "wal_level = replica"),
        ({"may_replicate": False, "role": "app"}, None, "'app' may not manage"),
        ({"may_replicate": False}, UNRESERVED, "may not manage"),
    ],
)
def test_what_the_server_would_reject_is_known_before(limits, row, words):
    decided = plan(PRESENT, row, replace(LIMITS, **limits))
    assert decided.action is Action.REFUSE
    assert words in decided.reason


def test_limits_do_not_matter_where_nothing_is_made():
    full = replace(LIMITS, slots=10, may_replicate=False, wal_level="minimal")
    assert plan(PRESENT, GOOD, full).action is Action.NOTHING
    assert plan(PRESENT, UNRESERVED, replace(LIMITS, slots=10)).action is Action.RECREATE


@pytest.mark.parametrize(
    ("row", "expected", "words"),
    [
        (GOOD, Health.GOOD, "not in use, and keeps WAL"),
        ({**GOOD, **IN_USE}, Health.GOOD, "in use"),
        (EXTENDED, Health.GOOD, "more than max_wal_size"),
        (ENDANGERED, Health.ENDANGERED, "next checkpoint"),
        (UNRESERVED, Health.UNRESERVED, "reserves no WAL"),
        (LOST_WITHOUT_POSITION, Health.LOST, "may have been removed"),
        (TIMED_OUT, Health.LOST, "idle_timeout"),
    ],
)
def test_health(row, expected, words):
    level, sentence = health(row)
    assert level is expected
    assert words in sentence


def test_an_endangered_slot_is_warned_about():
    assert "about to be lost" in plan(PRESENT, ENDANGERED, LIMITS).warning
    assert plan(PRESENT, GOOD, LIMITS).warning is None


def test_difference():
    shown = difference(plan(PRESENT, UNRESERVED, LIMITS), PRESENT, UNRESERVED)
    assert shown["before"] == {"state": "present", "slot_type": "physical", "reserved": False, "lost": False}
    assert shown["after"] == {"state": "present", "slot_type": "physical", "reserved": True, "lost": False}
    assert difference(plan(ABSENT, GOOD, LIMITS), ABSENT, GOOD)["after"] == {"state": "absent"}
    same = difference(plan(PRESENT, LOST, LIMITS), PRESENT, LOST)
    assert same["before"] == same["after"]
