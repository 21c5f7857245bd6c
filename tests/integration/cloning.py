# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of clones share: a primary with some data, a host for its replica, and violence.

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
