# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that end, that are ended, and what they leave behind."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._system import processes
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.supervised import (
    OutOfTime,
    Supervisor,
)

ME = pwd.getpwuid(os.getuid())
OWNER = User(ME.pw_name, ME.pw_uid, ME.pw_gid, ME.pw_dir)


@pytest.fixture
def token(request):
    return f"test-{os.getpid()}-{time.monotonic_ns()}"


def supervise(token, script, timeout=None):
    said = []
    rc = Supervisor(OWNER, token, timeout).run(["/bin/sh", "-c", script], said.append)
    return rc, said


def test_lines_and_status(token):
    assert supervise(token, "echo one; printf 'two\\rthree\\n' >&2; printf four; exit 3") == (
        3,
        ["one", "two", "three", "four"],
    )


def test_killed(token):
    assert supervise(token, "kill -9 $$")[0] == -signal.SIGKILL


def test_a_child_that_stays_is_ended_and_does_not_block(token):
    started = time.monotonic()
    rc, said = supervise(token, "sleep 60 & echo child; kill -9 $$")
    assert (rc, said) == (-signal.SIGKILL, ["child"])
    assert time.monotonic() - started < 10
    assert not processes.marked_with(token)


def test_out_of_time(token):
    with pytest.raises(OutOfTime, match=r"within 0\.3 seconds"):
        supervise(token, "sleep 60 & sleep 60", timeout=0.3)
    assert not processes.marked_with(token)


def test_a_listener_that_objects_ends_it(token):
    def object_to(line):
        raise ValueError(line)

    with pytest.raises(ValueError, match="first"):
        Supervisor(OWNER, token).run(["/bin/sh", "-c", "echo first; sleep 60"], object_to)
    assert not processes.marked_with(token)


def test_who_has_files_open(tmp_path):
    (tmp_path / "file").touch()
    assert processes.user_of(str(tmp_path), OWNER) is None
    script = f"f = open({str(tmp_path / 'file')!r}); print(1, flush=True); import time; time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    other.stdout.readline()
    try:
        assert processes.user_of(str(tmp_path), OWNER).pid == other.pid
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_zombies_are_dead():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    time.sleep(0.1)
    assert processes.find(pid).state == "Z"
    assert not processes.find(pid).is_alive
    os.waitpid(pid, 0)
    assert processes.find(pid) is None
