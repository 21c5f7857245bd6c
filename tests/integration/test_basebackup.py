# SPDX-License-Identifier: GPL-3.0-or-later
"""Clones of real servers: what succeeds, what is refused with every byte in its place, and every kind of violent end.

WALSTREAM_TEST_KILLS=n repeats each violent end at n moments of the copy, on every release (default: once, on one).
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time

import pytest

KILLS = int(os.environ.get("WALSTREAM_TEST_KILLS", "1"))
MOMENTS = [round(0.3 + 2.0 * i / max(1, KILLS - 1), 2) if KILLS > 1 else 1.0 for i in range(KILLS)]
"""Seconds of copying before the blow falls; a throttled copy takes about four."""

MAJORS = ("bullseye", "bookworm", "trixie", "sid")
SLOT = "replica"
THROTTLED = {"max_rate": "16M"}
VIOLENT_SUITES = pytest.mark.suites(*(MAJORS if KILLS > 1 else ["bookworm"]))


class Site:
    """A primary with some data, and a host for its replica."""

    def __init__(self, primary, replica):
        self.primary = primary
        self.replica = replica
        self.target = replica.data_directory
        self.workspace = f"{replica.root}/.data.clone"
        self.passfile = ""

    def prepare(self):
        self.primary.psql(
            "CREATE TABLE filler AS SELECT g, repeat(md5(g::text), 12) AS words FROM generate_series(1, 90000) g"
        )
        self.passfile = self.replica.write_passfile()

    def begin(self):
        """A slot, and nothing on the replica."""
        self.remove()
        self.primary.wait_for("SELECT count(*) = 0 FROM pg_replication_slots WHERE active")
        self.primary.psql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        self.primary.psql(f"SELECT pg_create_physical_replication_slot('{SLOT}', true)")

    def remove(self):
        kill = "pkill -9 -x postgres; pkill -9 -x pg_basebackup; pkill -9 -u postgres python3"
        script = f"cd {self.replica.root} && {kill}; rm -rf data .data.clone data.replaced-* wal* ts*"
        self.replica.run("bash", "-c", script, check=False)

    @property
    def upstream(self):
        return {
            "host": self.primary.address,
            "port": self.primary.port,
            "user": "replicator",
            "passfile": self.passfile,
        }

    def clone(self, check=False, diff=False, **options):
        arguments = {"data_directory": self.target, "upstream": self.upstream, "slot": SLOT, **options}
        return self.replica.run_module("basebackup", arguments, check=check, diff=diff)

    def clone_in_background(self, **options):
        return Background(lambda: self.clone(**{**THROTTLED, **options}))

    def look(self):
        return self.replica.run_module("data_directory_info", {"data_directory": self.target})[
            "data_directory_info"
        ]

    def until_copying(self, seconds=1.0):
        """Wait until the copy has begun, and then as long."""
        deadline = time.monotonic() + 20
        while "backup_label" not in self.replica.run("ls", f"{self.workspace}/data", check=False):
            assert time.monotonic() < deadline, "no copy began"
            time.sleep(0.05)
        time.sleep(seconds)

    def processes(self, name):
        """Process numbers on the replica, oldest first."""
        return self.replica.run("pgrep", "-x", name, check=False).split()

    def kill(self, *pids, number="9"):
        assert pids
        self.replica.run("kill", f"-{number}", *pids, check=False)

    def worker(self):
        """The detached process, which acts as the server's user."""
        return self.replica.run("pgrep", "-u", "postgres", "python3", check=False).split()

    def module(self):
        """The module's process, which waits for the worker."""
        return self.replica.run("pgrep", "-u", "root", "python3", check=False).split()

    def checksums(self, *paths):
        script = (
            "find " + " ".join(paths) + " -printf '%p %y %m %u %l %T@\\n' -type f -exec sha256sum {} + | sort"
        )
        return self.replica.run("bash", "-c", script)

    def nothing_left(self):
        """No copy, no process and no active slot remain."""
        listing = self.replica.run("ls", "-A", self.replica.root)
        assert ".data.clone" not in listing
        assert not self.processes("pg_basebackup")
        self.primary.wait_for("SELECT count(*) = 0 FROM pg_replication_slots WHERE active")

    def prove(self):
        """The clone starts as a standby and replays what the primary writes now."""
        conninfo = " ".join(f"{key}={value}" for key, value in self.upstream.items())
        self.replica.configure({"primary_conninfo": f"'{conninfo}'", "primary_slot_name": f"'{SLOT}'"})
        self.replica.start()
        self.primary.psql(
            "CREATE TABLE IF NOT EXISTS proof (t timestamptz); INSERT INTO proof VALUES (now())"
        )
        end = self.primary.psql("SELECT pg_current_wal_lsn()")
        self.replica.wait_for(f"SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= '{end}'")
        assert self.replica.psql("SELECT count(*) FROM filler") == "90000"
        self.replica.stop()

    def succeed(self, **options):
        """The same run again ends in a proved replica."""
        result = self.clone(**options)
        assert not result.get("failed"), result["msg"]
        self.nothing_left()
        self.prove()
        return result["basebackup"]


def change_network(action, network, site):
    subprocess.run(["docker", "network", action, network, site.replica.name], check=True)


class Background:
    """A call in a thread; `result()` waits for it."""

    def __init__(self, call):
        self._outcome = None
        self._error = None
        self._call = call
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            self._outcome = self._call()
        except BaseException as error:
            self._error = error

    def result(self, may_break=False):
        self._thread.join(120)
        if self._error and not may_break:
            raise self._error
        return self._outcome


@pytest.fixture(scope="module")
def made_site(shared_servers, suite):
    primary = shared_servers(
        suite, {"wal_sender_timeout": "'5s'", "max_slot_wal_keep_size": "'64MB'", "wal_keep_size": "0"}
    )
    site = Site(primary, shared_servers.empty(suite))
    site.prepare()
    return site


@pytest.fixture
def site(made_site):
    made_site.begin()
    yield made_site
    made_site.remove()


class TestClone:
    def test_check_then_real_then_again(self, site):
        checked = site.clone(check=True, diff=True)
        assert checked["changed"]
        forecast = checked["basebackup"]
        assert forecast["action"] == "cloned"
        assert forecast["bytes"] > 50_000_000
        assert forecast["free_bytes"] > forecast["bytes"]
        assert "absent" in checked["diff"]["before"]
        assert site.look()["state"] == "absent"

        made = site.clone()
        assert made["changed"]
        assert made["basebackup"]["action"] == "cloned"
        assert made["basebackup"]["start_lsn"]
        assert made["basebackup"]["bytes"] > 50_000_000
        site.nothing_left()
        found = site.look()
        assert found["state"] == "standby"
        assert found["backup_label"]
        assert found["system_identifier"] == made["basebackup"]["system_identifier"]
        assert site.replica.run("stat", "-c", "%U %a", site.target) == "postgres 700"
        assert "passw" not in site.replica.run("cat", f"{site.target}/postgresql.auto.conf")

        again = site.clone()
        assert not again["changed"]
        assert again["basebackup"]["action"] == "unchanged"
        site.prove()
        assert not site.clone()["changed"]

    def test_onto_an_empty_directory_with_group_access(self, site):
        site.replica.run("install", "-d", "-o", "postgres", "-m", "750", site.target)
        site.succeed()
        assert not site.clone()["changed"]
        assert site.replica.run("stat", "-c", "%a", site.target) == "750"


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
        site.primary.psql("CHECKPOINT")
        site.primary.wait_for("SELECT wal_status = 'lost' FROM pg_replication_slots", seconds=20)
        site.kill(*site.processes("pg_basebackup")[-1:], number="CONT")
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

    def test_complete_copy_that_had_not_got_its_place(self, site):
        """As a worker leaves it that is killed right before the rename."""
        made = site.clone()["basebackup"]
        stamp = {name: made[name] for name in ("system_identifier", "timeline", "start_lsn", "bytes")}
        site.replica.run("install", "-d", "-o", "postgres", "-m", "700", site.workspace)
        site.replica.run("mv", site.target, f"{site.workspace}/data")
        stamp = json.dumps({**stamp, "standby": True, "verified": True})
        site.replica.write(f"{site.workspace}/complete.json", stamp)
        assert site.look()["clone"]["state"] == "complete"
        assert site.clone(check=True)["basebackup"]["action"] == "finished"
        assert site.succeed()["action"] == "finished"

    def test_timeout(self, site):
        result = site.clone(timeout=2, max_rate="4M")
        assert result["failed"]
        assert "within 2 seconds" in result["msg"]
        site.nothing_left()
        assert site.look()["state"] == "absent"


@VIOLENT_SUITES
class TestRefusal:
    """Nothing is changed: every byte, owner, mode and time stays."""

    def refuse(self, site, *words, **options):
        before = site.checksums(site.replica.root)
        for check in (True, False):
            result = site.clone(check=check, **options)
            assert result["failed"]
            for word in words:
                assert word in result["msg"]
        assert site.checksums(site.replica.root) == before
        return result

    def test_foreign_cluster_until_consent_names_it(self, site):
        site.replica.initdb()
        found = site.look()
        assert found["state"] == "primary"
        identifier = found["system_identifier"]
        self.refuse(site, "another cluster", identifier, "'replace'")
        self.refuse(site, "stale or wrong", replace="1234567890")
        before = site.checksums(site.target)
        done = site.succeed(replace=identifier)
        aside = done["moved_aside_to"]
        assert aside.startswith(f"{site.target}.replaced-")
        assert site.checksums(aside).replace(aside, site.target) == before
        again = site.clone(replace=identifier)
        assert not again["changed"]

    def test_live_and_stopped_former_primary(self, site):
        site.succeed()
        site.replica.start()
        site.replica.psql("SELECT pg_promote()")
        site.replica.wait_for("SELECT NOT pg_is_in_recovery()")
        identifier = site.look()["system_identifier"]
        site.replica.psql("CHECKPOINT")
        result = site.clone(check=True, replace=identifier)
        assert result["failed"]
        assert "newer than the upstream" in result["msg"]
        site.replica.stop()
        self.refuse(site, "timeline 2, newer than the upstream's 1", replace=identifier)

    def test_stopped_former_primary_of_the_same_timeline(self, site):
        site.clone(standby=False)
        assert not site.clone(standby=False)["changed"]
        self.refuse(site, "base backup that has not been started")
        site.replica.run("mv", f"{site.target}/backup_label", f"{site.target}/backup_label.old")
        result = self.refuse(site, "stopped former primary", "'replace'")
        assert result["data_directory_info"]["state"] == "primary"

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            ("mkdir data; echo precious > data/letter.txt", "letter.txt"),
            ("touch data", "a file"),
            ("ln -s nowhere data", "does not exist"),
            (
                "mkdir -p data/global data/base; echo 15 > data/PG_VERSION; touch data/base/16384",
                "without its control file",
            ),
            ("mkdir -p data/global; echo MAJOR > data/PG_VERSION; head -c 100 /dev/urandom > data/global/pg_control", "damaged"),
            ("mkdir -p data/global; echo MAJOR > data/PG_VERSION; head -c 8192 /dev/urandom > data/global/pg_control", "damaged"),
        ],
    )
    def test_what_is_not_a_cluster(self, site, script, words):
        script = script.replace("MAJOR", str(site.replica.major))
        site.replica.run("bash", "-c", f"cd {site.replica.root}; {script}", user="postgres")
        self.refuse(site, words)


class TestPreflight:
    def fail(self, site, *words, check=True, **options):
        result = site.clone(check=check, **options)
        assert result["failed"]
        for word in words:
            assert word in result["msg"], result["msg"]
        assert site.replica.run("ls", "-A", site.replica.root, check=False).find(".data.clone") < 0

    def test_each_failure_is_a_sentence(self, site):
        upstream = site.upstream
        self.fail(site, "does not exist", "slot", slot="nobody")
        self.fail(site, "no name for a slot", slot="Bad-Name")
        self.fail(site, "cannot be resolved", upstream={**upstream, "host": "nowhere.invalid"})
        self.fail(site, "nobody listens", upstream={**upstream, "port": 5999})
        self.fail(site, "passfile", upstream={**upstream, "password": "secret"})
        self.fail(site, "password file", upstream={**upstream, "passfile": "/nowhere"})
        self.fail(site, "free", source_bytes=10**15)
        self.fail(site, "tablespace at '/old'", source_bytes=1, source_tablespaces=["/old"])
        self.fail(site, "not empty", wal_directory="/etc")
        self.fail(site, "bin_directory", bin_directory="/nowhere")
        site.primary.psql("SELECT pg_drop_replication_slot('replica')")
        site.primary.psql(
            "SELECT pg_create_logical_replication_slot('replica', 'test_decoding')", check=False
        )
        site.primary.psql("SELECT pg_create_physical_replication_slot('lazy')")
        if site.primary.major >= 15:
            self.fail(site, "reserves no WAL", slot="lazy")


@VIOLENT_SUITES
class TestPlaces:
    def test_wal_directory_and_tablespaces(self, site):
        root = site.replica.root
        site.primary.run("install", "-d", "-o", "postgres", "/srv/ts1")
        site.primary.psql("CREATE TABLESPACE ts1 LOCATION '/srv/ts1'")
        site.primary.psql("CREATE TABLE there TABLESPACE ts1 AS SELECT g FROM generate_series(1, 100000) g")
        try:
            unmapped = site.clone(check=True)
            assert unmapped["failed"]
            assert "tablespace at '/srv/ts1'" in unmapped["msg"]
            places = {"wal_directory": f"{root}/wal", "tablespace_mapping": {"/srv/ts1": f"{root}/ts1"}}
            run = site.clone_in_background(**places)
            site.until_copying(1)
            site.kill(*site.module(), *site.worker(), *site.processes("pg_basebackup"))
            run.result(may_break=True)
            assert site.replica.run("ls", f"{root}/wal")
            site.succeed(**places)
            found = site.look()
            assert found["wal_directory"] == f"{root}/wal"
            assert list(found["tablespaces"].values()) == [f"{root}/ts1"]
            # A full replacement: what the new copy needs the place of moves aside with its cluster.
            site.replica.run("rm", f"{site.target}/standby.signal")
            done = site.succeed(replace=found["system_identifier"], **places)
            aside = done["moved_aside_to"]
            kept = site.replica.run_module("data_directory_info", {"data_directory": aside})
            kept = kept["data_directory_info"]
            assert kept["wal_directory"].startswith(f"{root}/wal.replaced-")
            assert next(iter(kept["tablespaces"].values())).startswith(f"{root}/ts1.replaced-")
        finally:
            site.remove()
            site.primary.psql("DROP TABLE there")
            site.primary.psql("DROP TABLESPACE ts1")


@pytest.fixture(scope="module")
def made_mounted(shared_servers, made_site):
    """The same primary, and a host whose data directory is a small file system of its own."""
    host = shared_servers.empty(made_site.primary.suite, "--tmpfs", "/srv/walstream/data:size=250m,mode=755")
    mounted = Site(made_site.primary, host)
    mounted.workspace = f"{mounted.target}/.walstream.clone"
    mounted.passfile = host.write_passfile()
    return mounted


@pytest.fixture
def mounted(made_mounted):
    made_mounted.begin()
    made_mounted.replica.run("bash", "-c", f"rm -rf {made_mounted.target}/* {made_mounted.workspace}")
    yield made_mounted
    made_mounted.replica.run("bash", "-c", f"rm -rf {made_mounted.target}/* {made_mounted.workspace}")


@pytest.mark.suites("bookworm")
class TestMountPoint:
    """It cannot be renamed: cloned in place, under a marker."""

    def test_with_lost_and_found(self, mounted):
        mounted.replica.run("mkdir", f"{mounted.target}/lost+found")
        assert mounted.look()["is_mount_point"]
        mounted.succeed()
        listing = mounted.replica.run("ls", "-A", mounted.target)
        assert "lost+found" in listing
        assert ".walstream.clone" not in listing
        assert mounted.replica.run("stat", "-c", "%U %a", mounted.target) == "postgres 700"
        assert not mounted.clone()["changed"]

    def test_killed_and_repeated(self, mounted):
        run = mounted.clone_in_background()
        mounted.until_copying(0.5)
        mounted.kill(*mounted.module(), *mounted.worker(), *mounted.processes("pg_basebackup"))
        run.result(may_break=True)
        assert mounted.look()["state"] == "partial"
        mounted.succeed()

    def test_full_disk(self, mounted):
        run = mounted.clone_in_background()
        mounted.until_copying(0.2)
        mounted.replica.run("bash", "-c", f"head -c 400M /dev/zero > {mounted.target}/filler", check=False)
        result = run.result()
        assert result["failed"]
        assert "No space left on device: free space" in result["msg"]
        assert mounted.replica.run("ls", "-A", mounted.target) == "filler"
        mounted.replica.run("rm", f"{mounted.target}/filler")
        mounted.nothing_left()
        mounted.succeed()

    def test_too_small_is_known_beforehand(self, mounted):
        mounted.replica.run("bash", "-c", f"head -c 200M /dev/zero > {mounted.target}/lost+found")
        result = mounted.clone(check=True)
        assert result["failed"]
        assert "and only" in result["msg"]

    def test_foreign_cluster_cannot_be_moved_aside(self, mounted):
        mounted.replica.initdb()
        identifier = mounted.look()["system_identifier"]
        result = mounted.clone(replace=identifier)
        assert result["failed"]
        assert "mount point" in result["msg"]
        assert mounted.look()["state"] == "primary"


@pytest.mark.suites("bookworm")
class TestUpstream:
    def test_damaged_page(self, servers):
        """With checksums, a copy of a damaged page is no copy."""
        primary = servers.empty("bookworm")
        primary.initdb("--data-checksums")
        primary.configure({"listen_addresses": "'*'", "fsync": "off"})
        primary.start()
        primary.allow_replication()
        damaged = Site(primary, servers.empty("bookworm"))
        damaged.prepare()
        damaged.begin()
        primary.psql("CHECKPOINT")
        file = primary.psql("SELECT pg_relation_filepath('filler')")
        path = f"{primary.data_directory}/{file}"
        write = f"cp {path} /tmp/saved && printf XXXX | dd of={path} bs=1 seek=20000 conv=notrunc"
        primary.run("bash", "-c", write)
        result = damaged.clone()
        assert result["failed"]
        assert f"'./{file}', block 2: this page of the upstream is damaged" in result["msg"]
        damaged.nothing_left()
        primary.run("bash", "-c", f"cat /tmp/saved > {path}")
        damaged.succeed()

    def test_cut_network(self, made_site, servers, network):
        far = Site(made_site.primary, servers.empty("bookworm"))
        far.passfile = far.replica.write_passfile()
        far.begin()
        run = far.clone_in_background(
            max_rate="4M",
            upstream={**far.upstream, "keepalives_idle": 2, "keepalives_interval": 1, "keepalives_count": 3},
        )
        far.until_copying(0.5)
        change_network("disconnect", network, far)
        try:
            result = run.result()
        finally:
            change_network("connect", network, far)
        assert result["failed"]
        assert "the connection to the upstream ended" in result["msg"]
        assert far.look()["state"] == "absent"
        far.succeed()

    def test_role_that_may_only_replicate(self, site):
        """Without an ordinary login nothing is known of the size beforehand, and all else works."""
        hba = f"{site.primary.data_directory}/pg_hba.conf"
        site.primary.run("sed", "-i", "s/^host all,replication/host replication/", hba)
        site.primary.reload()
        try:
            checked = site.clone(check=True)["basebackup"]
            assert (checked["action"], checked["bytes"]) == ("cloned", None)
            measured = site.clone(check=True, source_bytes=123456789, source_tablespaces=[])["basebackup"]
            assert measured["bytes"] == 123456789
            site.succeed()
        finally:
            site.primary.run("sed", "-i", "s/^host replication/host all,replication/", hba)
            site.primary.reload()

    def test_standby_as_upstream(self, site, servers):
        site.succeed()
        site.replica.start()
        far = Site(site.replica, servers.empty(site.replica.suite))
        far.passfile = far.replica.write_passfile()
        site.replica.psql(f"SELECT pg_create_physical_replication_slot('{SLOT}', true)")
        assert far.clone()["basebackup"]["action"] == "cloned"
        assert far.look()["state"] == "standby"
