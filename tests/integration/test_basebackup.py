# SPDX-License-Identifier: GPL-3.0-or-later
"""Clones of real servers: what succeeds, what is refused with every byte in its place, and every kind of violent end.

WALSTREAM_TEST_KILLS=n repeats each violent end at n moments of the copy, on every release (default: once, on one).
"""

from __future__ import annotations

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


LIKE_A_CLUSTER = "mkdir -p data/global; echo MAJOR > data/PG_VERSION"
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
FAULT = """\
import os, re, signal
_call = os.{call}
def _with_fault(path, *more, **options):
    if re.search({source!r}, os.fspath(path) if not isinstance(path, int) else ""):
        {blow}
    return _call(path, *more, **options)
os.{call} = _with_fault
"""


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

    def clone(self, check=False, diff=False, interpreter="", **options):
        arguments = {"data_directory": self.target, "upstream": self.upstream, "slot": SLOT, **options}
        return self.replica.run_module(
            "basebackup", arguments, check=check, diff=diff, interpreter=interpreter
        )

    def fail_at(self, call, source, blow=KILL):
        """A Python for `clone` that gets the blow right before it calls `os.<call>` on a matching path."""
        folder = "/srv/faults"
        self.replica.run("install", "-d", folder)
        self.replica.write(
            f"{folder}/sitecustomize.py", FAULT.format(call=call, source=source, blow=blow), mode="0644"
        )
        interpreter = f"{folder}/python3"
        script = f'#!/bin/sh\nPYTHONPATH={folder} exec /usr/bin/python3 "$@"\n'
        self.replica.write(interpreter, script, mode="0755")
        return interpreter

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


@VIOLENT_SUITES
class TestKilledBetween:
    """Killed exactly between two steps: before the call named, with everything before it done."""

    def kill_at(self, site, call, source, **options):
        result = site.clone(interpreter=site.fail_at(call, source), **options)
        assert result["failed"]
        assert "killed before its end" in result["msg"]

    def test_the_stamp_and_the_rename(self, site):
        self.kill_at(site, "rename", r"\.data\.clone/data$")
        assert site.look()["state"] == "absent"
        assert site.look()["clone"]["state"] == "complete"
        assert site.clone(check=True)["basebackup"]["action"] == "finished"
        assert site.succeed()["action"] == "finished"

    def test_the_copy_and_its_stamp(self, site):
        """There is no copy before it is said to be complete."""
        self.kill_at(site, "rename", r"complete\.json\.new$")
        assert site.look()["clone"] is None
        assert site.succeed()["action"] == "cloned"

    def test_the_rename_and_the_end(self, site):
        """By the module, which tidies up: the copy is in its place."""
        assert site.clone(interpreter=site.fail_at("rmdir", r"\.data\.clone$"))["failed"]
        assert site.succeed()["action"] == "unchanged"

    def test_two_pieces_of_rubbish(self, site):
        """In the phase that removes an interrupted copy, which is seen as one all along."""
        conninfo = " ".join(f"{key}={value}" for key, value in site.upstream.items())
        command = f"{site.replica.bin_directory}/pg_basebackup -D {site.target} -d '{conninfo}' -c fast"
        site.replica.run("bash", "-c", f"{command}; rm {site.target}/global/pg_control", user="postgres")
        for place in (r"/data/pg_wal$", r"/data/backup_label$"):
            assert site.look()["state"] == "partial"
            # Others only look at these.
            interpreter = site.fail_at("lstat", place, f"os.getppid() == 1 and {KILL}")
            assert "killed before its end" in site.clone(interpreter=interpreter)["msg"]
        assert "interrupted base backup" in site.succeed()["reason"]

    @pytest.mark.parametrize(
        ("call", "source"),
        [
            ("rename", r"complete\.json\.new$"),
            ("rename", r"^/walstream-wal/wal$"),
            ("symlink", r"\.replaced-"),
            ("rename", r"walstream/data$"),
            ("rename", r"\.wal\.clone$"),
            ("symlink", r"^/walstream-wal/wal$"),
            ("rename", r"\.data\.clone/data$"),
        ],
    )
    def test_two_moves_of_a_replacement(self, site, call, source):
        """Until the copy is complete, all of the old cluster is in its place; in the end, all of it is aside.

        The WAL directory lies where only root may rename.
        """
        site.replica.run("bash", "-c", "rm -rf /walstream-wal; mkdir /walstream-wal")
        site.replica.run("install", "-d", "-o", "postgres", "-m", "700", "/walstream-wal/wal")
        wal = {"wal_directory": "/walstream-wal/wal"}
        site.replica.initdb("--waldir=/walstream-wal/wal")
        identifier = site.look()["system_identifier"]
        self.refuse_without_consent(site, **wal)
        before = site.checksums(site.target, "/walstream-wal")
        self.kill_at(site, call, source, replace=identifier, **wal)
        if "complete" in source:
            assert self.of_old(site.checksums(site.target, "/walstream-wal")) == self.of_old(before)
        done = site.clone(replace=identifier, **wal)
        assert not done.get("failed"), done["msg"]
        aside = done["basebackup"]["moved_aside_to"]
        assert done["basebackup"]["action"] == ("cloned" if "complete" in source else "finished")
        kept = site.replica.run_module("data_directory_info", {"data_directory": aside})[
            "data_directory_info"
        ]
        assert kept["system_identifier"] == identifier
        assert kept["wal_directory"].startswith("/walstream-wal/wal.replaced-")
        assert site.look()["wal_directory"] == "/walstream-wal/wal"
        assert len(site.replica.run("ls", "-A", "/walstream-wal").split()) == 2
        self.runs(site, aside, identifier)
        site.nothing_left()
        site.prove()

    def refuse_without_consent(self, site, **options):
        refused = site.clone(**options)
        assert refused["failed"]
        assert "another cluster" in refused["msg"]

    @staticmethod
    def of_old(checksums):
        return [line for line in checksums.splitlines() if ".clone" not in line and " d " not in line]

    @staticmethod
    def runs(site, aside, identifier):
        """What was moved aside is a whole cluster still."""
        script = f"cd /; {site.replica.bin_directory}/postgres --single -D {aside} postgres"
        sql = "SELECT system_identifier FROM pg_control_system()"
        assert identifier in site.replica.run("bash", "-c", script, user="postgres", text_input=sql)


@VIOLENT_SUITES
class TestReplacement:
    """What fails before the copy is complete leaves what it would have replaced where it is."""

    @pytest.mark.parametrize("wal_elsewhere", [False, True])
    def test_that_fails_moves_nothing(self, site, wal_elsewhere):
        root = site.replica.root
        options = {"wal_directory": f"{root}/wal"} if wal_elsewhere else {}
        site.replica.initdb(*([f"--waldir={root}/wal"] if wal_elsewhere else []))
        identifier = site.look()["system_identifier"]
        before = site.checksums(root)
        run = site.clone_in_background(replace=identifier, **options)
        site.until_copying(0.5)
        site.kill(site.processes("pg_basebackup")[0])
        result = run.result()
        assert result["failed"]
        assert "killed by signal 9" in result["msg"]
        assert TestKilledBetween.of_old(site.checksums(root)) == TestKilledBetween.of_old(before)
        site.nothing_left()
        aside = site.succeed(replace=identifier, **options)["moved_aside_to"]
        assert site.replica.run("ls", f"{aside}/global/pg_control")

    def test_of_a_server_that_was_started_meanwhile_is_refused(self, site):
        site.replica.initdb()
        identifier = site.look()["system_identifier"]
        run = site.clone_in_background(replace=identifier)
        site.until_copying(0.5)
        site.replica.start()
        result = run.result()
        assert result["failed"]
        assert "which is to be moved aside: stop it first" in result["msg"]
        assert site.look()["running"]
        site.replica.stop()
        assert site.succeed(replace=identifier)["action"] == "finished"


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
            (
                f"{LIKE_A_CLUSTER}; head -c 100 /dev/urandom > data/global/pg_control",
                "damaged",
            ),
            (
                f"{LIKE_A_CLUSTER}; head -c 8192 /dev/urandom > data/global/pg_control",
                "damaged",
            ),
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
        self.fail(site, "reserves no WAL", slot="lazy")

    def test_walsenders(self, site, servers):
        """Two are needed, and one is there."""
        primary = servers(site.primary.suite, {"max_wal_senders": "1"})
        other = Site(primary, site.replica)
        other.passfile = site.passfile
        primary.psql(f"SELECT pg_create_physical_replication_slot('{SLOT}', true)")
        self.fail(other, "walsenders of the upstream are taken", "max_wal_senders")

    def test_places(self, site):
        """Root acts only where nobody else can interfere, and the server's user must be able to come there."""
        root = site.replica.root
        prepare = (
            f"cd {root}; install -d -o nobody theirs; install -d theirs/ours; "
            "install -d -m 700 shut; install -d -m 777 open; install -d open/ours; "
            "install -d -o nobody notours; install -d linked; ln -sn ../theirs/ours linked/away"
        )
        try:
            site.replica.run("bash", "-c", prepare)
            self.fail(
                site, "root does not act there", "belongs to 'nobody'", data_directory=f"{root}/theirs/ours/d"
            )
            self.fail(site, "'nobody'", data_directory=f"{root}/linked/away/d")
            self.fail(site, "root does not act there", "by everybody", data_directory=f"{root}/open/ours/d")
            self.fail(site, "'nobody'", wal_directory=f"{root}/theirs/ours/wal")
            self.fail(site, "may not enter", f"{root}/shut", data_directory=f"{root}/shut/d")
            self.fail(site, "may not write in", wal_directory=f"{root}/notours")
            self.fail(
                site, "two things at once", wal_directory=f"{root}/x", tablespace_mapping={"/old": f"{root}/x"},
                source_tablespaces=["/old"], source_bytes=1,
            )  # fmt: skip
            for where in ("theirs/ours", "open/ours"):
                refused = site.clone(data_directory=f"{root}/{where}/d")
                assert "root does not act there" in refused["msg"]
                assert not site.replica.run("ls", "-A", f"{root}/{where}")
        finally:
            site.replica.run("bash", "-c", f"cd {root}; rm -rf theirs shut open notours linked")

    def test_places_that_only_root_can_prepare(self, site):
        """A folder of root's for the data directory, and a new file system's for the WAL."""
        try:
            site.replica.run("bash", "-c", "install -d /walstream-root/wal")
            site.clone(data_directory="/walstream-root/pg/d", wal_directory="/walstream-root/wal")
            found = site.replica.run_module("data_directory_info", {"data_directory": "/walstream-root/pg/d"})
            assert found["data_directory_info"]["state"] == "standby"
            assert found["data_directory_info"]["wal_directory"] == "/walstream-root/wal"
            modes = site.replica.run("stat", "-c", "%U %a", "/walstream-root/wal", "/walstream-root/pg/d")
            assert modes.splitlines() == ["postgres 700"] * 2
            assert site.replica.run("ls", "-A", "/walstream-root", "/walstream-root/pg").count("clone") == 0
        finally:
            site.replica.run("rm", "-rf", "/walstream-root")


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

    def test_leftovers_of_a_plain_pg_basebackup(self, mounted):
        conninfo = " ".join(f"{key}={value}" for key, value in mounted.upstream.items())
        mounted.replica.run("chown", "postgres:", mounted.target)
        command = f"{mounted.replica.bin_directory}/pg_basebackup -D {mounted.target} -d '{conninfo}' -c fast"
        script = f"{command}; cd {mounted.target}; rm -r global"
        mounted.replica.run("bash", "-c", script, user="postgres")
        assert mounted.look()["state"] == "partial"
        assert mounted.clone(check=True)["basebackup"]["action"] == "cloned"
        # Killed while it removes them, they are still recognised.
        interpreter = mounted.fail_at("lstat", r"/data/pg_xact$", f"os.getppid() == 1 and {KILL}")
        assert "killed before its end" in mounted.clone(interpreter=interpreter)["msg"]
        assert mounted.look()["state"] == "partial"
        mounted.succeed()

    @pytest.mark.parametrize("source", ["data/PG_VERSION$", "data/base$", "data/global$"])
    def test_killed_while_the_copy_takes_its_place(self, mounted, source):
        result = mounted.clone(interpreter=mounted.fail_at("rename", source))
        assert "killed before its end" in result["msg"]
        assert mounted.look()["state"] == "partial"
        assert mounted.succeed()["action"] == "finished"

    def test_killed_when_the_copy_has_taken_its_place(self, mounted):
        result = mounted.clone(interpreter=mounted.fail_at("rmdir", "walstream.clone/data$"))
        assert "killed before its end" in result["msg"]
        assert mounted.look()["state"] == "standby"
        assert mounted.succeed()["action"] == "unchanged"
        assert ".walstream.clone" not in mounted.replica.run("ls", "-A", mounted.target)

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
            upstream={
                **far.upstream,
                "keepalives_idle": 2,
                "keepalives_interval": 1,
                "keepalives_count": 3,
                "tcp_user_timeout": 5000,
            },
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
