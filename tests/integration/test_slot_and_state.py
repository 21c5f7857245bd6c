# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots and states of real servers, as the modules see and change them."""

from __future__ import annotations

import pytest

SLOT = {"name": "replica_physical_slot"}


@pytest.fixture(scope="module")
def primary(shared_servers, suite):
    return shared_servers(suite, {"max_replication_slots": "6"})


@pytest.fixture
def no_slots(primary):
    """A primary without slots, before and after the test."""
    drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active"
    primary.psql(drop)
    yield primary
    primary.psql(drop)


class TestSlot:
    def test_check_then_real_then_again(self, no_slots):
        checked = no_slots.run_module("replication_slot", SLOT, check=True, diff=True)
        assert checked["changed"]
        assert checked["slot"] is None
        assert checked["queries"] == []
        assert checked["diff"]["before"] == {"state": "absent"}
        assert no_slots.psql("SELECT count(*) FROM pg_replication_slots") == "0"

        made = no_slots.run_module("replication_slot", SLOT, diff=True)
        assert made["changed"]
        assert made["diff"] == checked["diff"]
        assert made["queries"] == [
            "SELECT pg_create_physical_replication_slot('replica_physical_slot', true)"
        ]
        assert made["slot"]["restart_lsn"]
        assert made["slot"]["wal_status"] == "reserved"

        again = no_slots.run_module("replication_slot", SLOT, diff=True)
        assert not again["changed"]
        assert again["queries"] == []
        assert again["slot"]["restart_lsn"] == made["slot"]["restart_lsn"]

    def test_drop(self, no_slots):
        no_slots.psql("SELECT pg_create_physical_replication_slot('replica_physical_slot', true)")
        absent = {"slot_name": SLOT["name"], "state": "absent"}
        assert no_slots.run_module("replication_slot", absent, check=True)["changed"]
        assert no_slots.run_module("replication_slot", absent)["queries"]
        assert not no_slots.run_module("replication_slot", absent)["changed"]

    def test_a_slot_that_never_reserved_wal_is_made_anew(self, no_slots):
        no_slots.psql("SELECT pg_create_physical_replication_slot('replica_physical_slot')")
        left = no_slots.run_module("replication_slot", {**SLOT, "immediately_reserve": False})
        assert not left["changed"]
        assert left["slot"]["restart_lsn"] is None
        made = no_slots.run_module("replication_slot", SLOT)
        assert made["changed"]
        assert made["slot"]["restart_lsn"]
