# SPDX-License-Identifier: GPL-3.0-or-later
"""Each predicate over one observation: met, not met, and what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import Lsn
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.expectations import (
    Expected,
    is_hopeless,
    unmet,
    with_end_of_upstream,
)
from ansible_collections.walstream.postgresql.tests.unit.plugins.module_utils.replication.standby import (
    RECEIVER,
    STANDBY,
)

SENDER = {"application_name": "replica1", "state": "streaming"}
SLOT = {
    "slot_name": "replica",
    "slot_type": "physical",
    "active": True,
    "restart_lsn": "0/1",
    "wal_status": "reserved",
}
PRIMARY = replace(
    STANDBY,
    in_recovery=False,
    received=None,
    pause_state=None,
    receiver=None,
    conninfo={},
    senders=(SENDER,),
    slots=(SLOT,),
)
BEHIND = replace(STANDBY, lsn=Lsn.parse("0/3000000"))
ABSENT = replace(STANDBY, receiver=None)
HELD_BACK = replace(BEHIND, apply_delay=3600, startup_wait="RecoveryApplyDelay")
HELD_BACK_AND_ABSENT = replace(HELD_BACK, receiver=None, received=None)

EXPECT = Expected(standby=True, streaming=True)
EXPECT_PRIMARY = Expected(standby=False)


def expect(**wanted):
    return replace(EXPECT, **wanted)


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        (EXPECT, STANDBY),
        # Restarted while its primary is idle: nothing new to receive, and what was kept is replayed.
        (
            expect(max_lag_bytes=0, max_replay_delay=0, replayed_lsn=STANDBY.lsn, received_lsn=STANDBY.lsn),
            replace(STANDBY, received=Lsn.parse("0/3000000")),
        ),
        (expect(streaming=False), ABSENT),
        (expect(host="db1", port=5432, slot="replica"), STANDBY),
        (expect(streaming=False, host="db1", slot="replica"), ABSENT),
        (expect(system_identifier="42", timeline=1), STANDBY),
        (expect(replayed_lsn=Lsn.parse("0/3000060")), STANDBY),
        (expect(replayed_lsn=Lsn.parse("0/3000000")), STANDBY),
        # An idle primary's insert position is after the header of a page without records.
        (expect(replayed_lsn=Lsn.parse("0/3000028")), BEHIND),
        (expect(received_lsn=Lsn.parse("0/3000060")), BEHIND),
        (expect(max_lag_bytes=0), STANDBY),
        (expect(max_lag_bytes=96), BEHIND),
        (expect(max_lag_bytes=0), replace(BEHIND, apply_delay=3600)),
        (expect(max_replay_delay=1), STANDBY),
        (expect(max_replay_delay=3600), BEHIND),
        (expect(max_replay_delay=1), replace(BEHIND, apply_delay=3600)),
        (expect(allow_paused=True), replace(STANDBY, pause_state="paused")),
        (expect(streaming=False, max_replay_delay=3600), ABSENT),
        # What is configured comes true at the next connection, and that comes after the delay.
        (
            expect(allow_held_back=True, slot="new", host="db2"),
            replace(HELD_BACK, settings={"primary_slot_name": "new"}, conninfo={"host": "db2"}),
        ),
        (
            expect(allow_held_back=True, slot="replica", host="db1", received_lsn=Lsn.parse("0/4000000")),
            HELD_BACK_AND_ABSENT,
        ),
        (EXPECT_PRIMARY, PRIMARY),
        (replace(EXPECT_PRIMARY, replicas=("replica1",), slots=("replica",), timeline=1), PRIMARY),
        (replace(EXPECT_PRIMARY, replayed_lsn=Lsn.parse("0/3000060")), PRIMARY),
        # A cascading standby feeds others.
        (expect(replicas=("replica1",)), replace(STANDBY, senders=(SENDER,))),
        (
            replace(EXPECT_PRIMARY, replicas=("replica1",), encrypted=True),
            replace(PRIMARY, senders=({**SENDER, "ssl": True}, {**SENDER, "application_name": "backup"})),
        ),
    ],
)
def test_met(expected, seen):
    assert unmet(expected, seen) == []


@pytest.mark.parametrize(
    ("expected", "seen", "words"),
    [
        (EXPECT, PRIMARY, "is a primary (not in recovery)"),
        (EXPECT_PRIMARY, STANDBY, "is a standby (in recovery), not a primary"),
        (EXPECT, ABSENT, "no WAL receiver is running"),
        (EXPECT, replace(ABSENT, conninfo={}), "because primary_conninfo is empty"),
        (EXPECT, replace(STANDBY, receiver={**RECEIVER, "status": "waiting"}), "'waiting', not 'streaming'"),
        (EXPECT, replace(STANDBY, receiver={**RECEIVER, "heard": False}), "has sent nothing yet"),
        (EXPECT, replace(STANDBY, receiver={"status": None}), "member of pg_monitor"),
        (
            EXPECT,
            replace(STANDBY, lsn=Lsn.parse("0/3000070")),
            "0/3000070 is replayed here, which the upstream",
        ),
        (expect(host="db2"), STANDBY, "the upstream is db1, port 5432, not db2, port 5432"),
        (expect(port=5433), STANDBY, "not db1, port 5433"),
        (expect(slot="other"), STANDBY, "through the slot 'replica', not through the slot 'other'"),
        (
            expect(slot="other"),
            replace(STANDBY, receiver={**RECEIVER, "slot_name": ""}, settings={}),
            "through no slot",
        ),
        (expect(system_identifier="43"), STANDBY, "is 42, not 43"),
        (expect(timeline=2), STANDBY, "the timeline is 1, not 2"),
        (EXPECT, HELD_BACK_AND_ABSENT, "no WAL receiver is running"),
        (expect(allow_held_back=True), ABSENT, "no WAL receiver is running"),
        (
            expect(allow_held_back=True, received_lsn=Lsn.parse("0/4000000")),
            HELD_BACK,
            "received up to 0/3000060",
        ),
        (expect(allow_held_back=True, slot="new"), HELD_BACK, "not through the slot 'new'"),
        (expect(allow_held_back=True, host="db2"), HELD_BACK_AND_ABSENT, "not db2"),
        (expect(allow_held_back=True, port=1), HELD_BACK, "not db1, port 1"),
        (expect(allow_held_back=True, timeline=2), HELD_BACK_AND_ABSENT, "the timeline is 1, not 2"),
        (EXPECT, replace(STANDBY, pause_state="paused"), "pg_wal_replay_resume()"),
        (EXPECT, replace(STANDBY, pause_state="pause requested"), "pause requested"),
        (expect(replayed_lsn=Lsn.parse("0/3000060")), BEHIND, "replayed up to 0/3000000, 96 bytes short"),
        (
            expect(replayed_lsn=Lsn.parse("0/3000060")),
            replace(BEHIND, apply_delay=60),
            "ask for 'received_lsn' instead",
        ),
        (expect(received_lsn=Lsn.parse("0/3000070")), STANDBY, "received up to 0/3000060, 16 bytes short"),
        (expect(max_lag_bytes=95), BEHIND, "96 bytes of WAL are not replayed yet, more than 95"),
        (expect(streaming=False, max_lag_bytes=1), ABSENT, "the lag is unknown"),
        (expect(max_replay_delay=1), BEHIND, "replay is 3600.0 s late, more than 1 s"),
        (
            expect(max_replay_delay=1),
            replace(BEHIND, apply_delay=60),
            "3540.0 s late beyond the 60 s on purpose",
        ),
        # Without a receiver nobody knows what the upstream has: the age of the last commit is the bound.
        (expect(streaming=False, max_replay_delay=1), ABSENT, "3600.0 s late"),
        (expect(max_replay_delay=1), replace(BEHIND, last_replay_age=None), "the replay delay is unknown"),
        (
            replace(EXPECT_PRIMARY, replicas=("replica1", "x")),
            PRIMARY,
            "x is not attached (attached: replica1)",
        ),
        (
            replace(EXPECT_PRIMARY, replicas=("replica1",)),
            replace(PRIMARY, senders=({**SENDER, "state": "catchup"},)),
            "replica1 is catchup",
        ),
        (
            replace(EXPECT_PRIMARY, replicas=("replica1",)),
            replace(PRIMARY, senders=({**SENDER, "state": None},)),
            "member of pg_monitor",
        ),
        (
            replace(EXPECT_PRIMARY, replicas=("replica1",), encrypted=True),
            replace(PRIMARY, senders=({**SENDER, "ssl": True}, {**SENDER, "ssl": False})),
            "not encrypted: replica1",
        ),
        (replace(EXPECT_PRIMARY, slots=("x",)), PRIMARY, "'x' does not exist"),
        (
            replace(EXPECT_PRIMARY, slots=("replica",)),
            replace(PRIMARY, slots=({**SLOT, "active": False, "wal_status": "lost"},)),
            "'replica' is not active (lost",
        ),
        (replace(EXPECT_PRIMARY, replayed_lsn=Lsn.parse("0/3000070")), PRIMARY, "written up to 0/3000060"),
    ],
)
def test_not_met(expected, seen, words):
    sentences = unmet(expected, seen)
    assert len(sentences) == 1
    assert words in sentences[0]
    assert "secret" not in sentences[0]


def test_every_unmet_expectation_is_named():
    wanted = expect(timeline=2, slot="other", replayed_lsn=Lsn.parse("0/4000000"))
    assert len(unmet(wanted, replace(ABSENT, pause_state="paused"))) == 5


def test_a_sender_that_streams_is_enough_beside_an_old_one_of_its_name():
    seen = replace(PRIMARY, senders=({**SENDER, "state": "startup"}, SENDER))
    assert unmet(replace(EXPECT_PRIMARY, replicas=("replica1",)), seen) == []


def test_only_the_identity_is_beyond_hope():
    assert is_hopeless(expect(system_identifier="43"), STANDBY)
    assert not is_hopeless(expect(system_identifier="42", timeline=7), ABSENT)


@pytest.mark.parametrize(
    ("seen", "sentence"),
    [
        (STANDBY, None),
        (BEHIND, "WAL is replayed up to 0/3000000, 96 bytes short of 0/3000060"),
        (replace(BEHIND, apply_delay=3600), None),
        (
            replace(BEHIND, apply_delay=3600, received=None),
            "WAL is received up to 0/3000000, 96 bytes short of 0/3000060",
        ),
        (replace(STANDBY, timeline=2), "the timeline is 2, not 1"),
    ],
)
def test_what_its_upstream_has(seen, sentence):
    expected = with_end_of_upstream(expect(caught_up=True), seen, 1, Lsn.parse("0/3000060"))
    assert unmet(expected, seen) == ([sentence] if sentence else [])
