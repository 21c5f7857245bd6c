# SPDX-License-Identifier: GPL-3.0-or-later
"""A clone of a real server ends violently, or meets trouble: the same run again ends in a proved replica."""

from __future__ import annotations

import time

import pytest
from ansible_collections.walstream.postgresql.tests.integration.cloning import (
    MOMENTS,
    VIOLENT_SUITES,
    Background,
)


@VIOLENT_SUITES
@pytest.mark.parametrize("moment", MOMENTS)
class TestViolentEnd:
    def test_of_pg_basebackup(self, site, moment):
        run = site.clone_in_background()
        site.until_copying(moment)
        site.kill(site.processes("pg_basebackup")[0])
        result = run.result()
        assert result["failed"]
        assert "killed by signal 9" in result["msg"]
        site.nothing_left()
        assert site.look()["state"] == "absent"
        site.succeed()

    def test_of_the_wal_receiver(self, site, moment):
        run = site.clone_in_background()
        site.until_copying(moment)
        site.kill(site.processes("pg_basebackup")[-1])
        result = run.result()
        assert result["failed"]
        assert "run again" in result["msg"]
        site.nothing_left()
        site.succeed()

    def test_of_the_worker_alone(self, site, moment):
        """Its children live on and hold the slot; the next run ends them."""
        run = site.clone_in_background()
        site.until_copying(moment)
        site.kill(*site.worker())
        result = run.result()
        assert result["failed"]
        assert "killed before its end" in result["msg"]
        site.succeed()

    def test_of_everything_at_once(self, site, moment):
        run = site.clone_in_background()
        site.until_copying(moment)
        site.kill(*site.module(), *site.worker(), *site.processes("pg_basebackup"))
        run.result(may_break=True)
        assert site.look()["clone"]["state"] == "interrupted"
        site.succeed()

    def test_of_module_and_worker_with_an_orphaned_receiver(self, site, moment):
        run = site.clone_in_background()
        site.until_copying(moment)
        parent, receiver = site.processes("pg_basebackup")
        site.kill(*site.module(), *site.worker(), parent)
        run.result(may_break=True)
        assert receiver in site.processes("pg_basebackup")
        site.succeed()

    def test_of_the_module_leaves_the_clone_running(self, site, moment):
        run = site.clone_in_background()
        site.until_copying(moment)
        site.kill(*site.module())
        run.result(may_break=True)
        running = site.look()["clone"]
        assert running["state"] == "running"
        attached = site.clone()
        assert attached["basebackup"]["action"] in {"cloned", "unchanged"}
        site.nothing_left()
        site.prove()

    def test_of_the_walsender(self, site, moment):
        run = site.clone_in_background()
        site.until_copying(moment)
        site.primary.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE state = 'backup'")
        result = run.result()
        assert result["failed"]
        assert "connection to the upstream ended" in result["msg"] or "see the upstream" in result["msg"]
        assert site.look()["state"] == "absent"
        site.nothing_left()
        site.succeed()

    def test_of_the_primary(self, site, moment):
        run = site.clone_in_background()
        site.until_copying(moment)
        site.primary.stop("immediate")
        site.primary.start()
        result = run.result()
        assert result["failed"]
        site.nothing_left()
        site.succeed()


@VIOLENT_SUITES
@pytest.mark.faults
class TestTrouble:
    def test_a_second_run_waits_for_the_first(self, site):
        first = site.clone_in_background(max_rate="6M")
        site.until_copying(0.1)
        second = site.clone(check=True)["basebackup"]
        assert second["action"] == "cloning"
        assert second["progress"]["phase"] == "copying"
        second = site.clone()
        assert second["basebackup"]["action"] == "cloned"
        assert first.result()["basebackup"]["start_lsn"] == second["basebackup"]["start_lsn"]
        site.nothing_left()
        site.prove()

    def test_another_copy_into_the_same_place_is_refused(self, site):
        first = site.clone_in_background(max_rate="6M")
        site.until_copying(0.1)
        second = site.clone(slot="another")
        assert second["failed"]
        assert "another clone" in second["msg"]
        assert first.result()["changed"]

    def test_leftovers_of_a_plain_pg_basebackup(self, site):
        """As other tools leave them: PG_VERSION and backup_label, no control file."""
        conninfo = " ".join(f"{key}={value}" for key, value in site.upstream.items())
        script = (
            f"{site.replica.bin_directory}/pg_basebackup -D {site.target} -d '{conninfo}' -r 8M -c fast & "
            f"p=$!; until [ -e {site.target}/base/1 ]; do sleep 0.1; done; echo started; sleep 1; "
        )
        site.replica.run(
            "bash", "-c", script + "kill -9 $p; pkill -9 -x pg_basebackup; true", user="postgres"
        )
        assert site.look()["state"] == "partial"
        site.primary.wait_for("SELECT count(*) = 0 FROM pg_stat_replication")
        assert "interrupted base backup" in site.succeed()["reason"]

    def test_a_plain_pg_basebackup_at_work_is_left_alone(self, site):
        conninfo = " ".join(f"{key}={value}" for key, value in site.upstream.items())
        command = f"{site.replica.bin_directory}/pg_basebackup -D {site.target} -d '{conninfo}' -r 8M -c fast"
        other = Background(lambda: site.replica.run("bash", "-c", command, user="postgres"))
        deadline = time.monotonic() + 10
        while site.look()["state"] != "partial":
            assert time.monotonic() < deadline
        refused = site.clone()
        assert refused["failed"]
        assert "pg_basebackup (pid" in refused["msg"]
        other.result()

    def test_slot_invalidated_during_the_copy(self, site):
        run = site.clone_in_background(max_rate="4M")
        site.until_copying(0.5)
        site.kill(*site.processes("pg_basebackup")[-1:], number="STOP")
        for _attempt in range(8):
            site.primary.psql(
                "SELECT pg_logical_emit_message(false, 'x', repeat('x', 15000000)); SELECT pg_switch_wal()"
            )
        # It waits for the walsender, which cannot end as long as nobody takes in its last words.
        checkpoint = Background(lambda: site.primary.psql("CHECKPOINT"))
        site.primary.wait_for("SELECT wal_status IN ('unreserved', 'lost') FROM pg_replication_slots")
        time.sleep(1)
        site.kill(*site.processes("pg_basebackup")[-1:], number="CONT")
        checkpoint.result()
        site.primary.wait_for("SELECT wal_status = 'lost' FROM pg_replication_slots", seconds=20)
        result = run.result()
        assert result["failed"]
        assert site.look()["state"] == "absent"
        site.nothing_left()
        refused = site.clone()
        assert refused["failed"]
        assert "slot" in refused["msg"]
        site.begin()
        site.succeed()

    @pytest.mark.parametrize("damage", ["echo x >>", "truncate -s 100", "rm"])
    def test_copy_altered_before_verification(self, site, damage):
        run = site.clone_in_background()
        site.until_copying(1.5)
        site.replica.run("bash", "-c", f"{damage} {site.workspace}/data/base/1/PG_VERSION")
        result = run.result()
        assert result["failed"]
        assert "base/1/PG_VERSION" in result["msg"]
        assert site.look()["state"] == "absent"
        site.nothing_left()
        site.succeed()

    @pytest.mark.parametrize(
        "damage",
        [
            "echo >> backup_manifest",
            "truncate -s 1000 pg_wal/0*",
            "rm pg_wal/0*",
            "printf x | dd of=base/1/1259 bs=1 seek=5000 conv=notrunc",
            "rm backup_label",
            "touch base/1/stray",
        ],
    )
    def test_copy_altered_exactly_before_verification(self, site, damage):
        """The manifest gets its name at the very end of the copy; what is noted next is that verification begins."""
        script = f"cd {site.workspace}/data && [ -e backup_manifest ] && [ ! -e ../done ] && touch ../done && {damage}"
        blow = f"os.system({script!r} + ' 2> /dev/null')"
        result = site.clone(interpreter=site.fail_at("rename", r"progress\.json", blow))
        assert result["failed"]
        assert "the copy is not what the upstream sent" in result["msg"]
        assert site.look()["state"] == "absent"
        site.nothing_left()
        site.succeed()

    def test_timeout(self, site):
        result = site.clone(timeout=2, max_rate="4M")
        assert result["failed"]
        assert "within 2 seconds" in result["msg"]
        site.nothing_left()
        assert site.look()["state"] == "absent"
