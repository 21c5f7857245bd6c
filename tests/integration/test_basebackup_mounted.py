# SPDX-License-Identifier: GPL-3.0-or-later
"""A data directory that is a mount point cannot be renamed: it is cloned in place, under a marker."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.tests.integration.cloning import KILL


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
