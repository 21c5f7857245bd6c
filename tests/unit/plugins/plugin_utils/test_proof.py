# SPDX-License-Identifier: GPL-3.0-or-later
"""What one look at both hosts proves, and that nothing less than the module `recovery_state` asks for passes."""

from __future__ import annotations

import copy
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.expectations import (
    Expected,
    with_end_of_upstream,
)
from ansible_collections.walstream.postgresql.plugins.modules.cluster import proof_of
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _desired, _proof, _topology

PROVE = Path(__file__).parents[4] / "roles" / "replica" / "tasks" / "prove.yml"

PRIMARY = {
    "reachable": True,
    "in_recovery": False,
    "system_identifier": "7",
    "timeline": 1,
    "lsn": "0/3000060",
}
STANDBY = {
    "reachable": True,
    "in_recovery": True,
    "server_version": "15.10",
    "version": 15,
    "owner": "postgres",
    "system_identifier": "7",
    "timeline": 1,
    "lsn": "0/3000060",
    "received_lsn": "0/3000060",
    "wal_block_size": 8192,
    "wal_segment_size": 16 << 20,
    "replay": {"pause_state": "not paused", "apply_delay": 0.0, "startup_wait": "RecoveryWalStream"},
    "receiver": {
        "status": "streaming",
        "heard": True,
        "sender_host": "p",
        "sender_port": 5432,
        "slot_name": "r",
        "latest_end_lsn": "0/3000060",
    },
    "settings": {"primary_slot_name": "r"},
    "upstream": {"host": "p", "port": "5432"},
}

LATE = {
    **STANDBY,
    "lsn": "0/2000000",
    "replay": {"pause_state": "not paused", "apply_delay": 3600.0, "startup_wait": "RecoveryApplyDelay"},
}


def topology(**replica):
    shared = {"replication_password": "secret"}
    return _topology.build({"primary": ["p"], "replica": ["r"]}, {"p": shared, "r": {**shared, **replica}})


def lacking(declared, found, **desired):
    node = {**_desired.node(declared, "r", {}), **desired}
    return _proof.lacking(declared, declared.nodes["r"], node, found)


def with_change(found, path, value):
    found = copy.deepcopy(found)
    *parents, last = path.split(".")
    place = found
    for parent in parents:
        place = place[parent]
    place[last] = value
    return found


def test_a_replica_that_has_everything_is_proved():
    assert not lacking(topology(), {"p": PRIMARY, "r": STANDBY})


def test_a_replica_may_be_ahead_of_the_moment_in_which_its_primary_was_seen():
    assert not lacking(topology(), {"p": {**PRIMARY, "lsn": "0/3000000"}, "r": STANDBY})


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("r.reachable", False, "no primary and standby"),
        ("p.reachable", False, "no primary and standby"),
        ("p.in_recovery", True, "no primary and standby"),
        ("r.in_recovery", False, "the server is a primary"),
        ("r.system_identifier", "8", "the system identifier is 8, not 7"),
        ("r.timeline", 2, "the timeline is 2, not 1"),
        ("p.timeline", 2, "the timeline is 1, not 2"),
        ("r.receiver", None, "no WAL receiver is running"),
        ("r.receiver.status", "waiting", "in the state 'waiting'"),
        ("r.receiver.heard", False, "has sent nothing yet"),
        ("r.receiver.latest_end_lsn", "0/3000000", "which the upstream does not have"),
        ("r.receiver.sender_host", "q", "the upstream is q, port 5432, not p, port 5432"),
        ("r.receiver.sender_port", 5433, "the upstream is p, port 5433, not p, port 5432"),
        ("r.receiver.slot_name", "other", "through the slot 'other', not through the slot 'r'"),
        ("r.replay.pause_state", "paused", "replay stands still"),
        ("p.lsn", "0/30000A0", "64 bytes short of 0/30000A0"),
    ],
)
def test_each_thing_that_is_lacking_is_said(path, value, sentence):
    found = with_change({"p": PRIMARY, "r": STANDBY}, path, value)
    assert sentence in lacking(topology(), found)


@pytest.mark.parametrize("name", ["p", "r"])
def test_nothing_is_proved_where_nobody_looked(name):
    found = {"p": PRIMARY, "r": STANDBY}
    del found[name]
    assert lacking(topology(), found)


def test_encryption_is_seen_by_the_upstream_only():
    assert "only its upstream" in lacking(topology(), {"p": PRIMARY, "r": STANDBY}, encrypted=True)


class TestLateOnPurpose:
    declared = topology(replication_apply_delay="1h")

    def test_it_has_to_have_received(self):
        assert not lacking(self.declared, {"p": PRIMARY, "r": LATE})
        short = {**LATE, "received_lsn": "0/3000000"}
        assert "received up to 0/3000000" in lacking(self.declared, {"p": PRIMARY, "r": short})

    def test_one_that_may_be_without_connection_proves_itself_by_a_login(self):
        found = {"p": PRIMARY, "r": {**LATE, "receiver": None}}
        assert "no WAL receiver is running" in lacking(self.declared, found)

    @pytest.mark.parametrize(
        ("key", "value", "words"),
        [("sender_host", "old", "the upstream is old"), ("slot_name", "old", "through the slot 'old'")],
    )
    def test_one_that_still_follows_its_former_upstream_is_not_proved(self, key, value, words):
        found = {"p": PRIMARY, "r": {**LATE, "receiver": {**LATE["receiver"], key: value}}}
        assert words in lacking(self.declared, found)

    def test_what_was_judged_is_what_is_said(self):
        late = {**LATE, "lsn": "0/3000060", "received_lsn": "0/3000000"}
        node = _desired.node(self.declared, "r", {})
        assert "has received 0/3000060," in _proof.proved(node, {"p": PRIMARY, "r": late})


class TestInTheTopology:
    def added(self, found, **due):
        declared = topology()
        nodes = {name: {**_desired.node(declared, name, {}), "due": due.get(name, {})} for name in ("p", "r")}
        return _proof.added(declared, nodes, found)

    def test_what_is_proved_is_said(self):
        nodes = self.added({"p": PRIMARY, "r": STANDBY})
        assert nodes["r"]["due"] == nodes["p"]["due"] == {}
        assert "streams from p:5432 through the slot r and has replayed 0/3000060" in nodes["r"]["proved"]
        assert nodes["p"]["proved"] == ""

    @pytest.mark.parametrize("busy", ["p", "r"])
    def test_whatever_changes_anywhere_is_followed_by_a_proof(self, busy):
        nodes = self.added({"p": PRIMARY, "r": STANDBY}, **{busy: {"server": "a setting"}})
        assert list(nodes["r"]["due"])[-1] == "proof"
        assert nodes["r"]["proved"] == ""
        assert "proof" not in nodes["p"]["due"]

    def test_what_is_lacking_is_what_is_due(self):
        nodes = self.added({"p": PRIMARY, "r": {**STANDBY, "receiver": None}})
        assert nodes["r"]["due"] == {"proof": "no WAL receiver is running"}


def test_all_ways_of_proving_ask_for_the_same():
    """What prove.yml asks the module for, what is asked of a discovery, and of a server that was just started."""
    tasks = {task["name"]: task for task in yaml.safe_load(PROVE.read_text())[0]["block"]}
    options = tasks["Wait until this replica streams and has replayed it"][
        "walstream.postgresql.recovery_state"
    ]
    asked = {name for name in options if not name.startswith("login_")} - {"state", "timeout", "upstream"}
    # `state` and `upstream` ask for several things, and a standby's module asks for streaming unless told otherwise.
    asked |= {"standby", "host", "port", "streaming"}
    at_once, in_time = _asked(_expected(delayed=False)), _asked(_expected(delayed=True))
    assert asked == at_once | in_time
    assert _asked(_expected_of_a_start()) == at_once | {"caught_up"}


def _asked(expected):
    return {
        field.name for field in fields(Expected) if getattr(expected, field.name) not in (None, False, ())
    }


def _expected_of_a_start():
    """What the module `cluster` asks for, once it knows where the upstream is."""
    seen = _proof.observed(STANDBY)
    expected = proof_of({"system_identifier": "7", "timeout": 1}, {"host": "p", "port": "5432"}, "r").expected
    return with_end_of_upstream(expected, seen, 1, seen.lsn)


def _expected(delayed):
    declared = topology(replication_apply_delay="1h" if delayed else 0)
    return _proof.expected(PRIMARY, _desired.node(declared, "r", {}))
