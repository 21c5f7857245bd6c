# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of a clone: who holds it, what an earlier clone left in it, and in which order it goes away."""

from __future__ import annotations

import fcntl
import os
import pwd
import threading

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._clone import job
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.move_aside import plan_moves
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.plan import Leftover
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import (
    COMPLETE,
    JOB,
    PROGRESS,
    Workspace,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    DataDirectory,
    State,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User

ME = pwd.getpwuid(os.getuid())
OWNER = User(ME.pw_name, ME.pw_uid, ME.pw_gid, ME.pw_dir)


@pytest.fixture
def workspace(tmp_path):
    made = Workspace.of(str(tmp_path / "main"), False, OWNER)
    made.create()
    return made


def put_data(workspace):
    os.makedirs(os.path.join(workspace.data, "global"))


def test_places(tmp_path):
    assert Workspace.of("/pg/main", False, OWNER).path == "/pg/.main.clone"
    assert Workspace.of("/pg/main", True, OWNER).path == "/pg/main/.walstream.clone"
    assert not Workspace.of(str(tmp_path / "x"), False, OWNER).exists()


def test_is_private_from_the_first_moment(workspace):
    assert os.stat(workspace.path).st_mode & 0o777 == 0o700
    workspace.write(JOB, {"token": "t"}, durable=True)
    assert os.stat(os.path.join(workspace.path, JOB)).st_mode & 0o777 == 0o600


def test_two_who_have_waited_tidy_up_at_once(workspace, monkeypatch):
    """The other one has removed it between our look and our lock."""
    monkeypatch.setattr(Workspace, "is_awaited", lambda self: self.remove())
    job.tidy(workspace)
    assert not workspace.exists()


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/tmp"), lambda path: path.write_text("")])
def test_somebody_elses_entry_is_refused(tmp_path, make):
    make(tmp_path / ".main.clone")
    with pytest.raises(Refusal, match="look at it and remove it"):
        Workspace.of(str(tmp_path / "main"), False, OWNER).create()


def test_one_holder_at_a_time(workspace):
    lock = workspace.try_lock()
    assert lock is not None
    assert workspace.is_locked()
    assert workspace.leftover() is Leftover.RUNNING
    assert workspace.try_lock() is None
    os.close(lock)
    assert not workspace.is_locked()
    again = workspace.try_lock()
    workspace.remove()
    os.close(again)
    assert not workspace.exists()


def test_somebody_who_only_looks_does_not_pass_for_a_clone(workspace):
    """Looking takes the lock for a moment, as `is_locked` does."""
    os.close(workspace.try_lock())
    with open(workspace.lock_file) as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        end = threading.Timer(0.02, fcntl.flock, (looker, fcntl.LOCK_UN))
        end.start()
        lock = workspace.try_lock()
        end.join()
    assert lock is not None
    os.close(lock)


def test_the_last_who_waits_tidies_up(workspace):
    first, second = workspace.join(), workspace.join()
    os.close(first)
    job.tidy(workspace)
    assert workspace.exists()
    os.close(second)
    job.tidy(workspace)
    assert not workspace.exists()
    assert workspace.join() is None


def test_leftovers(workspace, tmp_path):
    assert workspace.leftover() is Leftover.ENDED
    put_data(workspace)
    assert workspace.leftover() is Leftover.INTERRUPTED
    workspace.write(COMPLETE, {"system_identifier": "1"})
    assert workspace.leftover() is Leftover.COMPLETE
    os.rename(workspace.data, tmp_path / "main")
    assert workspace.leftover() is Leftover.ENDED


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', "\x00"])
def test_a_broken_file_is_no_file(workspace, text):
    with open(os.path.join(workspace.path, PROGRESS), "w") as file:
        file.write(text)
    assert workspace.read(PROGRESS) is None


def test_a_link_in_the_place_of_a_file_is_not_followed(workspace, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text('{"precious": 1}')
    os.symlink(victim, os.path.join(workspace.path, PROGRESS))
    assert workspace.read(PROGRESS) is None
    workspace.write(PROGRESS, {"a": 1})
    assert victim.read_text() == '{"precious": 1}'
    assert workspace.read(PROGRESS) == {"a": 1}


class TestCleaningUp:
    """What an interrupted clone filled outside goes; what the cluster in its place uses never does."""

    @pytest.fixture
    def wal(self, tmp_path):
        wal = tmp_path / "wal"
        (wal / "archive_status").mkdir(parents=True)
        (wal / "000000010000000000000004").write_text("wal")
        (wal / "letter.txt").write_text("somebody else's")
        return wal

    def record(self, workspace, wal, missing=False):
        workspace.write(
            JOB,
            {
                "token": "t",
                "real_path": str(wal.parent / "main"),
                "external": {str(wal): missing},
                "wal_directory": str(wal),
            },
        )

    def accept(self, workspace, wal):
        """As pg_basebackup does when it has found the directory empty."""
        put_data(workspace)
        os.symlink(wal, os.path.join(workspace.data, "pg_wal"))

    def test_of_an_interrupted_copy(self, workspace, wal):
        self.record(workspace, wal)
        self.accept(workspace, wal)
        job.tidy(workspace)
        assert [path.name for path in wal.iterdir()] == ["letter.txt"]
        assert not workspace.exists()

    def test_of_a_directory_that_it_made(self, workspace, wal):
        (wal / "letter.txt").unlink()
        self.record(workspace, wal, missing=True)
        self.accept(workspace, wal)
        job.tidy(workspace)
        assert not wal.exists()

    @pytest.mark.parametrize("begun", [False, True])
    def test_of_a_copy_that_never_got_that_far_is_not_done(self, workspace, wal, begun):
        """What lies there is somebody else's: another cluster has been given the directory meanwhile."""
        self.record(workspace, wal)
        if begun:
            put_data(workspace)
        job.tidy(workspace)
        assert len(list(wal.iterdir())) == 3
        assert not workspace.exists()

    @pytest.mark.parametrize("filling", [False, True])
    def test_of_tablespaces_once_they_are_being_filled(self, workspace, tmp_path, filling):
        (tmp_path / "ts" / "PG_15_202209061").mkdir(parents=True)
        record = {"token": "t", "external": {str(tmp_path / "ts"): False}, "filling": filling}
        workspace.write(JOB, record)
        put_data(workspace)
        job.tidy(workspace)
        assert (tmp_path / "ts" / "PG_15_202209061").exists() is not filling

    def test_of_a_complete_copy_is_not_done(self, workspace, wal):
        self.record(workspace, wal)
        self.accept(workspace, wal)
        workspace.write(COMPLETE, {"system_identifier": "1"})
        job.tidy(workspace)
        assert workspace.leftover() is Leftover.COMPLETE
        assert len(list(wal.iterdir())) == 3

    def test_of_a_copy_that_is_in_its_place(self, workspace, wal):
        self.record(workspace, wal)
        workspace.write(COMPLETE, {"system_identifier": "1"})
        job.tidy(workspace)
        assert len(list(wal.iterdir())) == 3
        assert not workspace.exists()

    def test_of_a_copy_that_is_in_its_place_even_without_its_stamp(self, workspace, wal):
        self.record(workspace, wal)
        main = wal.parent / "main"
        (main / "global").mkdir(parents=True)
        (main / "global" / "pg_control").write_text("control")
        (main / "pg_wal").symlink_to(wal)
        job.tidy(workspace)
        assert len(list(wal.iterdir())) == 3

    @pytest.mark.parametrize("begun", [False, True])
    def test_completes_moves_that_have_begun_and_begins_none(self, workspace, wal, tmp_path, begun):
        main = tmp_path / "main"
        main.mkdir()
        (main / "pg_wal").symlink_to(wal)
        (tmp_path / ".wal.clone").mkdir()
        (tmp_path / ".wal.clone" / "000000010000000000000009").write_text("wal of the copy")
        self.record(workspace, tmp_path / ".wal.clone", missing=True)
        self.accept(workspace, tmp_path / ".wal.clone")
        disk = DataDirectory(str(main), str(main), State.PRIMARY, "", wal_directory=str(wal))
        moves = plan_moves(disk, [str(wal)], "T", OWNER)
        workspace.write(COMPLETE, {"system_identifier": "1", "moves": moves.as_dict()})
        if begun:
            os.rename(wal, moves.aside[0].target)
        job.discard(workspace)
        assert main.exists() is not begun
        assert (tmp_path / "main.replaced-T").exists() is begun
        assert wal.exists() is not begun
        assert not (tmp_path / ".wal.clone").exists()
        assert not workspace.exists()
        assert len(list((tmp_path / "wal.replaced-T" if begun else wal).iterdir())) == 3


def test_a_detached_worker_is_waited_for(workspace):
    lock = workspace.try_lock()

    def work():
        workspace.write(PROGRESS, {"token": "t", "result": {"bytes": 7}})

    job._detach(lock, work)
    os.close(lock)
    assert job.wait(workspace, 10)
    assert job.Outcome.read(workspace).result == {"bytes": 7}
