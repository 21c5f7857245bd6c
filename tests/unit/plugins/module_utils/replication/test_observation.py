# SPDX-License-Identifier: GPL-3.0-or-later
"""From the one row of the query to an observation, and what can be derived from one."""

from __future__ import annotations

import json

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import Lsn
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import QueryFailed
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.observation import described
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.on_server import (
    observe,
    parse_conninfo,
)

ROW = {
    "in_recovery": True,
    "lsn": "0/5000000",
    "received": "0/5000060",
    "version": "15.18 (Debian 15.18-1)",
    "role": "postgres",
    "system_identifier": "7711510154694615063",
    "wal_file": None,
    "control_timeline": 1,
    "wal_block_size": 8192,
    "wal_segment_size": 16777216,
    "pause_state": "not paused",
    "startup_wait": None,
    "last_replay_age": 12.5,
    "primary_conninfo": "host=db1 port=5433 user=replicator password='pass word' application_name=r1",
    "apply_delay": 0.0,
    "settings": {"primary_slot_name": "replica", "synchronous_standby_names": ""},
    "pending_restart": [],
    "receiver": {
        "status": "streaming",
        "heard": True,
        "received_tli": 1,
        "latest_end_lsn": "0/5000100",
        "sender_host": "db1",
    },
    "senders": None,
    "slots": None,
    "base_backups": None,
}


class FakeServer:
    """Answers the query with one row, and the question for a history file with its text."""

    def __init__(self, row, history=None, major=15):
        self.row = row
        self.history = history
        self.major = major
        self.statements = []

    def rows(self, sql, values=None):
        self.statements.append(sql)
        return [self.row]

    def value(self, sql, values=None):
        self.statements.append(sql)
        if isinstance(self.history, Exception):
            raise self.history
        return self.history


def seen(history=None, **changes):
    return observe(FakeServer({**ROW, **changes}, history))


def receiver(**changes):
    return {**ROW["receiver"], **changes}


@pytest.mark.parametrize(
    ("changes", "history", "timeline"),
    [
        ({}, None, 1),
        ({"wal_file": "0000000B0000000000000005", "in_recovery": False, "receiver": None}, None, 11),
        ({"control_timeline": 3, "receiver": None}, None, 3),
        # The receiver has asked for timeline 2: replay is there only beyond the end of timeline 1.
        ({"receiver": receiver(received_tli=2)}, "1\t0/5000000\treason", 1),
        ({"receiver": receiver(received_tli=2)}, "1\t0/4000000\treason", 2),
        ({"receiver": receiver(received_tli=3)}, "1\t0/4000000\tr\n2\t0/6000000\tr", 2),
        ({"receiver": receiver(received_tli=2)}, QueryFailed("permission denied", "42501"), 1),
        ({"receiver": {"status": None, "received_tli": None}}, None, 1),
    ],
)
def test_timeline(changes, history, timeline):
    assert seen(history, **changes).timeline == timeline


def test_one_query_is_enough_on_the_usual_path():
    server = FakeServer(ROW)
    observe(server)
    assert len(server.statements) == 1


@pytest.mark.parametrize(
    ("major", "function"), [(13, "pg_is_wal_replay_paused"), (18, "pg_get_wal_replay_pause_state")]
)
def test_pause_state_by_version(major, function):
    server = FakeServer(ROW, major=major)
    observe(server)
    assert function in server.statements[0]


@pytest.mark.parametrize(
    ("changes", "lag", "delay"),
    [
        ({}, 0x100, 12.5),
        ({"receiver": receiver(latest_end_lsn="0/5000000")}, 0x60, 12.5),
        ({"receiver": receiver(latest_end_lsn=None), "received": "0/5000000"}, 0, 0.0),
        ({"received": "0/4000000", "receiver": receiver(latest_end_lsn="0/5000000")}, 0, 0.0),
        ({"receiver": None}, None, 12.5),
        ({"receiver": receiver(status="waiting")}, None, 12.5),
        ({"receiver": None, "last_replay_age": None}, None, None),
    ],
)
def test_lag_and_delay(changes, lag, delay):
    observed = seen(**changes)
    assert observed.lag_bytes == lag
    assert observed.replay_delay == delay


def test_what_is_returned_is_plain_and_without_secrets():
    shown = described(seen(slots=[{"slot_name": "a", "slot_type": "physical", "restart_lsn": None}]))
    assert "pass word" not in json.dumps(shown)
    assert "pass word" not in repr(seen())
    assert shown["version"] == "15.18"
    assert shown["upstream"]["host"] == "db1"
    assert shown["upstream"]["port"] == 5433
    assert shown["upstream"]["application_name"] == "r1"
    assert shown["slots"][0]["health"] == "unreserved"


def test_a_primary_has_no_upstream():
    shown = described(seen(in_recovery=False, wal_file="000000010000000000000005", receiver=None))
    assert shown["role"] == "primary"
    assert shown["upstream"] is None
    assert shown["replay"] is None
    assert shown["received_lsn"] is None


@pytest.mark.parametrize(
    ("text", "keywords"),
    [
        ("", {}),
        ("host=a port=1", {"host": "a", "port": "1"}),
        ("host='a b' password='it\\'s'", {"host": "a b", "password": "it's"}),
        ("postgresql://u:p@h:1/d", {"host": "h", "port": "1", "user": "u", "password": "p", "dbname": "d"}),
        ("no such thing", {}),
    ],
)
def test_parse_conninfo(text, keywords):
    assert parse_conninfo(text) == keywords


def test_several_hosts():
    observed = seen(primary_conninfo="host=a,b port=5433,5434", receiver=None)
    assert observed.upstream_port == 5433
    assert observed.upstream_host == "a,b"


def test_a_conninfo_that_may_not_be_seen():
    assert not seen(primary_conninfo=None).conninfo_visible
    assert seen(primary_conninfo="").conninfo_visible


def test_what_a_standby_has_is_at_least_what_it_replayed():
    assert seen(received=None).reached == Lsn.parse("0/5000000")


@pytest.mark.parametrize(
    ("end", "timeline", "streams"),
    [
        ("0/5000000", 1, True),  # it is where its upstream is
        ("0/5FFFFFF", 1, True),  # the upstream writes to that segment, and cannot have removed it
        ("0/6000000", 1, False),
        ("0/4FFFFFF", 1, False),  # it has what its upstream has not
        ("0/5000000", 2, False),
    ],
)
def test_a_receiver_that_has_heard_nothing_streams_where_its_upstream_confirms_it(end, timeline, streams):
    silent = {**ROW["receiver"], "heard": False, "latest_end_lsn": None}
    seen = observe(FakeServer({**ROW, "receiver": silent}))
    assert not seen.streaming
    assert seen.confirmed_by(timeline, Lsn.parse(end)).streaming is streams


@pytest.mark.parametrize("receiver", [None, {**ROW["receiver"], "status": "waiting"}])
def test_nothing_confirms_what_does_not_claim_to_stream(receiver):
    seen = observe(FakeServer({**ROW, "receiver": receiver}))
    assert not seen.confirmed_by(1, Lsn.parse("0/5000000")).streaming
