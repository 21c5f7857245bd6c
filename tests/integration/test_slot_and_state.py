# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots and states of real servers, as the modules see and change them."""

from __future__ import annotations

import time

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.expectations import unmet
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _proof

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

    def test_a_logical_slot_is_never_touched(self, shared_servers, suite):
        node = shared_servers(suite, {"wal_level": "logical"})
        node.psql("SELECT pg_create_logical_replication_slot('replica_physical_slot', 'pgoutput')")
        for state in ("present", "absent"):
            result = node.run_module("replication_slot", {**SLOT, "state": state, "force": True})
            assert "is a logical slot of the database 'postgres'" in result["msg"]
        assert node.psql("SELECT count(*) FROM pg_replication_slots") == "1"
        node.remove()

    def test_bad_input_is_one_sentence(self, no_slots):
        def message(**arguments):
            result = no_slots.run_module("replication_slot", {**SLOT, **arguments}, check=True)
            assert result["failed"]
            return result["msg"]

        assert "only lower-case letters" in message(name="db-1")
        assert "community.postgresql.postgresql_slot" in message(slot_type="logical")
        assert "PostgreSQL at" in message(login_port=5999)
        assert 'role "nobody_here" does not exist' in message(session_role="nobody_here")

    def test_all_slots_taken(self, no_slots):
        no_slots.psql("SELECT pg_create_physical_replication_slot('s' || i) FROM generate_series(1, 6) i")
        result = no_slots.run_module("replication_slot", SLOT, check=True)
        assert "all 6 of max_replication_slots are taken" in result["msg"]

    def test_a_role_without_the_right(self, no_slots):
        no_slots.psql("DROP ROLE IF EXISTS plain; CREATE ROLE plain")
        result = no_slots.run_module("replication_slot", {**SLOT, "session_role": "plain"}, check=True)
        assert "'plain' may not manage replication slots" in result["msg"]

    def test_a_role_with_the_right(self, no_slots):
        result = no_slots.run_module("replication_slot", {**SLOT, "session_role": "replicator"})
        assert result["changed"]

    def test_a_slot_in_use_is_dropped_only_by_force(self, no_slots):
        no_slots.psql("SELECT pg_create_physical_replication_slot('replica_physical_slot', true)")
        consumer = f"{no_slots.bin_directory}/pg_receivewal -D /tmp --no-sync --slot=replica_physical_slot"
        no_slots.append(f"{no_slots.data_directory}/pg_hba.conf", "local replication postgres peer")
        no_slots.reload()
        no_slots.run("sh", "-c", f"{consumer} >/dev/null 2>&1 & echo", user="postgres")
        no_slots.wait_for("SELECT active FROM pg_replication_slots")
        absent = {**SLOT, "state": "absent"}
        assert "is in use by the process with PID" in no_slots.run_module("replication_slot", absent)["msg"]
        result = no_slots.run_module("replication_slot", {**absent, "force": True})
        assert result["changed"]
        assert any("pg_terminate_backend" in query for query in result["queries"])
        assert no_slots.psql("SELECT count(*) FROM pg_replication_slots") == "0"

    def test_a_lost_slot_is_made_anew_only_where_asked(self, shared_servers, suite):
        node = shared_servers(
            suite, {"max_slot_wal_keep_size": "'16MB'", "wal_keep_size": "0", "max_wal_size": "'32MB'"}
        )
        node.psql("SELECT pg_create_physical_replication_slot('replica_physical_slot', true)")
        for _attempt in range(5):
            node.psql("CREATE TABLE t (); DROP TABLE t; SELECT pg_switch_wal(); CHECKPOINT;")
        node.wait_for("SELECT wal_status FROM pg_replication_slots", "lost")
        info = node.run_module("replication_info", {})["replication_info"]
        assert info["slots"][0]["health"] == "lost"
        refused = node.run_module("replication_slot", SLOT)
        assert "lost" in refused["msg"]
        assert "recreate_lost" in refused["msg"]
        checked = node.run_module("replication_slot", {**SLOT, "recreate_lost": True}, check=True, diff=True)
        assert checked["diff"]["before"]["lost"] is True
        made = node.run_module("replication_slot", {**SLOT, "recreate_lost": True}, diff=True)
        assert made["diff"] == checked["diff"]
        assert made["slot"]["wal_status"] == "reserved"
        assert not node.run_module("replication_slot", {**SLOT, "recreate_lost": True})["changed"]
        node.remove()

    def test_wal_level_minimal(self, shared_servers, suite):
        node = shared_servers(suite, {"wal_level": "minimal", "max_wal_senders": "0"})
        assert "needs wal_level = replica" in node.run_module("replication_slot", SLOT, check=True)["msg"]
        node.remove()


@pytest.fixture(scope="module")
def standby(shared_servers, primary):
    """A standby of the primary through a slot of its own."""
    primary.psql("SELECT pg_create_physical_replication_slot('replica', true)")
    primary.psql("CREATE TABLE t (i int)")
    node = shared_servers.standby(primary, slot="replica", name="replica1")
    primary.wait_for("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1")
    return node


def state_of(node, **arguments):
    return node.run_module("recovery_state", {"timeout": 10, **arguments})


class TestStateAsExpected:
    def test_both_sides(self, primary, standby, suite):
        primary.psql("INSERT INTO t VALUES (1)")
        above = state_of(primary, state="primary", replicas=["replica1"], slots=["replica"])
        assert not above.get("failed"), above
        assert not above["changed"]
        seen = above["recovery_state"]
        below = state_of(
            standby,
            upstream={"host": primary.address, "port": 5432},
            slot="replica",
            system_identifier=seen["system_identifier"],
            timeline=seen["timeline"],
            replayed_lsn=seen["lsn"],
            received_lsn=seen["lsn"],
            max_lag_bytes=0,
            max_replay_delay=5,
        )
        assert not below.get("failed"), below
        assert below["recovery_state"]["unmet"] == []
        assert "pass'w" not in str(below)

    def test_caught_up_with_what_its_upstream_says(self, primary, standby):
        written = primary.psql("CREATE TABLE w (); DROP TABLE w; SELECT pg_current_wal_flush_lsn()").split()[
            -1
        ]
        proved = state_of(standby, caught_up=True)
        assert not proved.get("failed"), proved
        newest = "SELECT '{}'::pg_lsn >= '{}'"
        assert primary.psql(newest.format(proved["recovery_state"]["lsn"], written)) == "t"
        standby.psql("SELECT pg_wal_replay_pause()")
        try:
            primary.psql("CREATE TABLE w (); DROP TABLE w")
            assert "short of" in state_of(standby, caught_up=True, allow_paused=True, timeout=1)["msg"]
        finally:
            standby.psql("SELECT pg_wal_replay_resume()")

    def test_what_discovery_sees_proves_as_much(self, primary, standby):
        """The controller judges what `cluster_info` has read by the predicates of `recovery_state`."""
        desired = {
            "upstream": {"host": primary.address, "port": 5432},
            "slot": "replica",
            "apply_delayed": False,
        }

        def lacking():
            facts = [
                node.run_module(
                    "cluster_info",
                    {"layout": "plain", "data_directory": node.data_directory, "version": node.major},
                )["cluster_info"]
                for node in (primary, standby)
            ]
            return unmet(_proof.expected(facts[0], desired), _proof.observed(facts[1]))

        written = primary.psql("CREATE TABLE u (); DROP TABLE u; SELECT pg_current_wal_flush_lsn()").split()[
            -1
        ]
        standby.wait_for(f"SELECT pg_last_wal_replay_lsn() >= '{written}'")
        assert lacking() == []
        standby.psql("SELECT pg_wal_replay_pause()")
        try:
            primary.psql("CREATE TABLE u (); DROP TABLE u")
            still, short = lacking()
            assert still.startswith("replay stands still")
            assert "short of" in short
        finally:
            standby.psql("SELECT pg_wal_replay_resume()")

    def test_an_idle_primary_does_not_look_late(self, primary, standby):
        primary.psql("INSERT INTO t VALUES (1)")
        time.sleep(2)
        result = state_of(standby, max_replay_delay=1, timeout=0)
        assert not result.get("failed"), result
        assert result["recovery_state"]["replay"]["delay"] == 0

    def test_an_insert_position_after_a_page_header_is_reached(self, primary, standby):
        switch = "CREATE TABLE s (); DROP TABLE s; SELECT 'x' FROM pg_switch_wal(); SELECT pg_current_wal_insert_lsn()"
        inserted = primary.psql(switch).split()[-1]
        assert inserted.endswith("000028")
        assert not state_of(standby, replayed_lsn=inserted).get("failed")

    def test_slots_on_a_standby(self, standby):
        slot = {"name": "cascade"}
        assert standby.run_module("replication_slot", slot)["slot"]["restart_lsn"]
        assert not standby.run_module("replication_slot", slot)["changed"]
        assert standby.run_module("replication_slot", {**slot, "state": "absent"})["changed"]

    def test_info(self, primary, standby):
        above = primary.run_module("replication_info", {})["replication_info"]
        below = standby.run_module("replication_info", {})["replication_info"]
        assert above["role"] == "primary"
        assert below["role"] == "standby"
        assert below["system_identifier"] == above["system_identifier"]
        assert above["standbys"][0]["application_name"] == "replica1"
        assert above["standbys"][0]["slot_name"] == "replica"
        assert above["slots"][0]["health"] == "good"
        assert below["upstream"]["host"] == primary.address
        assert below["upstream"]["status"] == "streaming"
        assert below["replay"]["pause_state"] == "not paused"
        assert above["settings"]["wal_level"] == "replica"

    def test_info_without_privileges(self, primary, standby):
        primary.psql("DROP ROLE IF EXISTS curious; CREATE ROLE curious LOGIN PASSWORD 'x'")
        login = {"login_host": "localhost", "login_user": "curious", "login_password": "x"}
        info = primary.run_module("replication_info", login)["replication_info"]
        assert info["role"] == "primary"
        refused = state_of(standby, timeout=1, **login)
        assert "pg_monitor" in refused["msg"]


class TestStateNotAsExpected:
    """Each failure names what is wrong and, where that can be known, why."""

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ({"state": "primary"}, "is a standby (in recovery), not a primary"),
            ({"upstream": {"host": "elsewhere"}}, "not elsewhere, port 5432"),
            ({"upstream": {"port": 5433}}, "port 5433"),
            ({"slot": "other"}, "not through the slot 'other'"),
            ({"timeline": 7}, "the timeline is 1, not 7"),
            ({"replayed_lsn": "FF/0"}, "bytes short of FF/0"),
            ({"received_lsn": "FF/0"}, "bytes short of FF/0"),
            ({"replicas": ["x"]}, "x is not attached (attached: none)"),
            ({"slots": ["x"]}, "'x' does not exist"),
            ({"login_port": 5999}, "PostgreSQL is not running there"),
            ({"replayed_lsn": "nonsense"}, "'nonsense' is not a WAL position"),
        ],
    )
    def test_wrong_expectation(self, standby, arguments, sentence):
        result = state_of(standby, timeout=0.3, **arguments)
        assert result["failed"]
        assert sentence in result["msg"]

    def test_another_cluster_fails_at_once(self, standby):
        started = time.monotonic()
        result = state_of(standby, timeout=60, system_identifier="1")
        assert "another cluster" in result["msg"]
        assert time.monotonic() - started < 20

    def test_paused_replay(self, primary, standby):
        standby.psql("SELECT pg_wal_replay_pause()")
        try:
            primary.psql("INSERT INTO t VALUES (1)")
            lsn = primary.psql("SELECT pg_current_wal_flush_lsn()")
            result = state_of(standby, timeout=1, replayed_lsn=lsn, max_lag_bytes=0)
            assert "pg_wal_replay_resume()" in result["msg"]
            assert len(result["unmet"]) == 3
            assert not state_of(standby, received_lsn=lsn, allow_paused=True).get("failed")
        finally:
            standby.psql("SELECT pg_wal_replay_resume()")

    def test_a_delayed_standby_is_behind_on_purpose(self, primary, standby):
        standby.psql("ALTER SYSTEM SET recovery_min_apply_delay = '1h'; SELECT pg_reload_conf()")
        standby.wait_for("SHOW recovery_min_apply_delay", "1h")
        try:
            primary.psql("INSERT INTO t VALUES (1)")
            lsn = primary.psql("SELECT pg_current_wal_flush_lsn()")
            assert not state_of(standby, received_lsn=lsn, max_lag_bytes=0, max_replay_delay=1).get("failed")
            assert "behind on purpose" in state_of(standby, timeout=1, replayed_lsn=lsn)["msg"]
            assert not state_of(standby, caught_up=True).get("failed")
        finally:
            standby.psql("ALTER SYSTEM RESET recovery_min_apply_delay; SELECT pg_reload_conf()")
            standby.wait_for("SHOW recovery_min_apply_delay", "0")


class TestWhyItDoesNotStream:
    """The receiver is away; the module finds the reason by a login like the server's."""

    @pytest.fixture(autouse=True)
    def whole_again(self, primary, standby):
        """Every test breaks something and mends it; the next one starts with a streaming standby."""
        state = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'replica1' AND state = 'streaming'"
        primary.wait_for(state, "1")
        yield
        primary.wait_for(state, "1")

    @staticmethod
    def causes(primary, standby):
        """What the module finds once the receiver has lost its session."""
        primary.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication", check=False)
        standby.wait_for("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'", "0")
        result = state_of(standby, timeout=0.5)
        assert "no WAL receiver" in result["msg"], result["msg"]
        assert "pass'w" not in str(result)
        return " ".join(result["causes"])

    def test_password(self, primary, standby):
        primary.psql("ALTER ROLE replicator PASSWORD 'changed'")
        try:
            cause = self.causes(primary, standby)
        finally:
            primary.set_password("replicator")
        assert "refuses the password of 'replicator'" in cause
        assert standby.data_directory + ".pgpass" in cause

    def test_no_line_in_the_passfile(self, primary, standby):
        standby.write(f"{standby.data_directory}.pgpass", "other:*:*:replicator:x\n")
        try:
            cause = self.causes(primary, standby)
        finally:
            standby.write_passfile()
        assert "there is no password for 'replicator'" in cause

    def test_pg_hba(self, primary, standby):
        hba = f"{primary.data_directory}/pg_hba.conf"
        primary.run("sed", "-i", "s/^host all,replication/#&/", hba)
        primary.reload()
        try:
            cause = self.causes(primary, standby)
        finally:
            primary.run("sed", "-i", "s/^#host all,replication/host all,replication/", hba)
            primary.reload()
        assert "pg_hba.conf has no line that lets 'replicator' replicate" in cause

    def test_role_may_not_replicate(self, primary, standby):
        primary.psql("ALTER ROLE replicator NOREPLICATION")
        try:
            cause = self.causes(primary, standby)
        finally:
            primary.psql("ALTER ROLE replicator REPLICATION")
        assert "may not replicate: give it REPLICATION" in cause

    def test_slot_missing(self, primary, standby):
        standby.psql("ALTER SYSTEM SET primary_slot_name = 'gone'; SELECT pg_reload_conf()")
        try:
            cause = self.causes(primary, standby)
        finally:
            standby.psql("ALTER SYSTEM RESET primary_slot_name; SELECT pg_reload_conf()")
        assert "the slot 'gone' does not exist on the upstream" in cause

    def test_unknown_host_and_wrong_port(self, primary, standby):
        before = standby.psql("SHOW primary_conninfo")
        for change, sentence in (
            ("host=no-such-host.invalid", "cannot be resolved"),
            ("port=5999", "nobody listens"),
        ):
            quoted = f"{before} {change}".replace("'", "''")
            standby.psql(f"ALTER SYSTEM SET primary_conninfo = '{quoted}'; SELECT pg_reload_conf()")
            standby.wait_for(
                f"SELECT setting LIKE '%{change}' FROM pg_settings WHERE name = 'primary_conninfo'"
            )
            try:
                assert sentence in self.causes(primary, standby)
            finally:
                standby.psql("ALTER SYSTEM RESET primary_conninfo; SELECT pg_reload_conf()")

    def test_upstream_down(self, primary, standby):
        primary.stop("immediate")
        try:
            assert "nobody listens at" in " ".join(state_of(standby, timeout=0.5)["causes"])
        finally:
            primary.start()


class TestTimelines:
    def test_a_cascade_follows_a_promotion(self, servers, suite):
        first = servers(suite)
        second = servers.standby(first, name="second")
        third = servers.standby(second, name="third")
        second.wait_for("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1")
        fork = first.psql("CREATE TABLE t (); SELECT pg_current_wal_flush_lsn()")
        assert not state_of(second, replayed_lsn=fork).get("failed")
        first.stop()
        second.psql("SELECT pg_promote()")
        above = state_of(second, state="primary", timeline=2)
        assert not above.get("failed"), above["msg"]
        second.psql("CREATE TABLE u ()")
        written = second.psql("SELECT pg_current_wal_flush_lsn()")
        below = state_of(third, timeline=2, replayed_lsn=written)
        assert not below.get("failed"), below["msg"]

        # A former primary that wrote on while nobody looked has diverged.
        first.start()
        first.psql("CREATE TABLE v AS SELECT generate_series(1, 100000)")
        first.stop()
        conninfo = third.psql("SHOW primary_conninfo").replace("'", "''")
        first.write_passfile()
        first.configure({"primary_conninfo": f"'{conninfo}'"})
        first.run("touch", f"{first.data_directory}/standby.signal", user="postgres")
        first.start()
        # It streams again and again for a moment: no look may take that for success.
        for _look in range(8):
            assert state_of(first, timeout=0).get("failed")
            assert state_of(first, timeout=0, caught_up=True).get("failed")
        result = state_of(first, timeout=1)
        assert "diverged" in " ".join(result["causes"]), result["msg"]

    def test_wal_that_the_upstream_has_removed(self, servers, suite):
        first = servers(suite, {"wal_keep_size": "0", "max_wal_size": "'32MB'", "min_wal_size": "'32MB'"})
        second = servers.standby(first)
        second.stop()
        for _attempt in range(8):
            first.psql("CREATE TABLE t (); DROP TABLE t; SELECT pg_switch_wal(); CHECKPOINT;")
        second.start()
        # The receiver is "streaming" for a moment again and again: no look may take that for success.
        assert state_of(second, timeout=5, caught_up=True)["failed"]
        result = state_of(second, timeout=5)
        assert result["failed"]
        assert "no longer has the WAL" in " ".join(result["causes"]), result["msg"]


class TestAfterARestart:
    """A standby that was restarted has replayed what it kept, while its receiver has only begun."""

    @pytest.fixture(scope="class")
    @classmethod
    def middle(cls, shared_servers, suite):
        """A standby with a primary that writes nothing, and a standby of its own."""
        above = shared_servers(
            suite, {"autovacuum": "off", "bgwriter_delay": "'10s'", "max_wal_size": "'4GB'"}
        )
        node = shared_servers.standby(above, name="middle")
        below = shared_servers.standby(node, name="below")
        node.wait_for("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1")
        node.above, node.below = above, below
        return node

    @pytest.mark.parametrize("how", ["in a segment", "at its start"])
    def test_an_idle_primary(self, middle, how):
        above = middle.above
        above.psql("CREATE TABLE IF NOT EXISTS t (); CHECKPOINT")
        if how == "at its start":
            above.psql("SELECT pg_switch_wal()")
        lsn = above.psql("SELECT pg_current_wal_flush_lsn()")
        assert not state_of(middle, replayed_lsn=lsn).get("failed")
        middle.restart()
        for _look in range(2):
            seen = state_of(middle, replayed_lsn=lsn, received_lsn=lsn, max_lag_bytes=0, max_replay_delay=1)
            assert not seen.get("failed"), seen
            assert seen["recovery_state"]["replay"]["lag_bytes"] == 0
        middle.restart()
        seen = state_of(middle, caught_up=True)
        assert not seen.get("failed"), seen
        middle.wait_for("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1")
        served = middle.run_module("replication_info", {})["replication_info"]["standbys"]
        assert [one["lag_bytes"] for one in served] == [0], served


class TestHeldBackAfterARestart:
    """A standby that is late on purpose connects only once it has replayed what it had received before."""

    @pytest.fixture(scope="class")
    @classmethod
    def late(cls, shared_servers, primary, suite):
        primary.psql("SELECT pg_create_physical_replication_slot('late', true)")
        primary.psql("SELECT pg_create_physical_replication_slot('other', true)")
        node = shared_servers.standby(primary, slot="late", name="late")
        node.psql("ALTER SYSTEM SET recovery_min_apply_delay = '1h'")
        node.reload()
        primary.wait_for("SELECT active FROM pg_replication_slots WHERE slot_name = 'late'")
        node.lsn = primary.psql("CREATE TABLE held_back (); SELECT pg_current_wal_flush_lsn()")
        node.wait_for(
            "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'", "RecoveryApplyDelay"
        )
        node.upstream = {"host": primary.address, "port": primary.port}
        return node

    def test_another_slot_is_taken_later(self, late):
        asked = {"slot": "other", "upstream": late.upstream, "received_lsn": late.lsn, "timeout": 1}
        assert "not through the slot 'other'" in state_of(late, **asked, allow_held_back=True)["msg"]
        late.psql("ALTER SYSTEM SET primary_slot_name = 'other'")
        late.reload()
        assert "not through the slot 'other'" in state_of(late, **asked)["msg"]
        assert not state_of(late, **asked, allow_held_back=True).get("failed")
        late.psql("ALTER SYSTEM RESET primary_slot_name")
        late.reload()

    def test_without_a_receiver(self, primary, late):
        late.restart()
        asked = {"slot": "late", "upstream": late.upstream, "received_lsn": late.lsn, "timeout": 1}
        told = state_of(late, **asked)
        assert "no WAL receiver is running" in told["msg"]
        assert "in 3600 s at the latest" in told["msg"]
        allowed = state_of(late, **asked, allow_held_back=True)
        assert not allowed.get("failed"), allowed
        assert allowed["recovery_state"]["replay"]["held_back"]
        assert not allowed["recovery_state"]["upstream"]["streaming"]

        assert not state_of(late, slot="late", caught_up=True, allow_held_back=True).get("failed")

        # Nobody may call this well where its next attempt cannot succeed.
        primary.psql("SELECT pg_drop_replication_slot('late')")
        broken = state_of(late, **asked, allow_held_back=True)
        assert "the slot 'late' does not exist on the upstream" in broken["msg"]
        primary.psql("SELECT pg_create_physical_replication_slot('late', true)")
        assert (
            "not other"
            in state_of(late, **{**asked, "upstream": {"host": "other"}}, allow_held_back=True)["msg"]
        )
        wrong = state_of(late, allow_held_back=True, system_identifier="1")
        assert "another cluster" in wrong["msg"]
