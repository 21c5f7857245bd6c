# SPDX-License-Identifier: GPL-3.0-or-later
"""A clone killed exactly between two of its steps, and the moves of a replacement."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.tests.integration.cloning import KILL, VIOLENT_SUITES


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
            pytest.param("rename", r"complete\.json\.new$", marks=pytest.mark.faults),
            ("rename", r"^/walstream-wal/wal$"),
            pytest.param("symlink", r"\.replaced-", marks=pytest.mark.faults),
            ("rename", r"walstream/data$"),
            pytest.param("rename", r"\.wal\.clone$", marks=pytest.mark.faults),
            pytest.param("symlink", r"^/walstream-wal/wal$", marks=pytest.mark.faults),
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
