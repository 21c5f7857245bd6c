# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a clone that move files: into place, aside, and away."""

from __future__ import annotations

import contextlib
import os
import pwd

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._clone import move_aside, rights
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.copy import (
    Job,
    _check_tablespaces,
    _set_signals,
    put_into_place,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import COMPLETE, Workspace
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    DataDirectory,
    State,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.programs import Copy, Programs
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.login_errors import UpstreamNames

ME = pwd.getpwuid(os.getuid())
OWNER = User(ME.pw_name, ME.pw_uid, ME.pw_gid, ME.pw_dir)
PEER = UpstreamNames("p", "5432", "u", "/p", None)


def stage(tmp_path, in_place=False):
    target = tmp_path / "main"
    if in_place:
        target.mkdir()
    workspace = Workspace.of(str(target), in_place, OWNER)
    workspace.create()
    for name in ("base", "global", "pg_wal"):
        os.makedirs(os.path.join(workspace.data, name))
    for name in ("PG_VERSION", "backup_label", "global/pg_control"):
        with open(os.path.join(workspace.data, name), "w") as file:
            file.write(name)
    return workspace, target


class TestIntoPlace:
    def test_onto_nothing(self, tmp_path):
        workspace, target = stage(tmp_path)
        put_into_place(str(target), workspace)
        assert (target / "global" / "pg_control").exists()
        put_into_place(str(target), workspace)  # nothing is left to do

    def test_onto_an_empty_directory(self, tmp_path):
        workspace, target = stage(tmp_path)
        target.mkdir()
        put_into_place(str(target), workspace)
        assert (target / "global" / "pg_control").exists()

    def test_never_onto_something(self, tmp_path):
        workspace, target = stage(tmp_path)
        target.mkdir()
        (target / "letter.txt").write_text("precious")
        with pytest.raises(WalstreamError, match="cannot take the place"):
            put_into_place(str(target), workspace)
        assert (target / "letter.txt").read_text() == "precious"

    def test_upwards_with_the_control_file_last(self, tmp_path, monkeypatch):
        """Interrupted after any number of moves it goes on, and there is a control file only at the end."""
        for allowed in range(6):
            place = tmp_path / str(allowed)
            place.mkdir()
            workspace, target = stage(place, in_place=True)
            renames, rename = iter(range(allowed)), os.rename

            def limited(source, destination, renames=renames, rename=rename):
                if next(renames, None) is None:
                    raise KeyboardInterrupt
                rename(source, destination)

            with monkeypatch.context() as patched:
                patched.setattr(os, "rename", limited)
                try:
                    put_into_place(str(target), workspace)
                except KeyboardInterrupt:
                    assert (target / "global").exists() == (allowed == 5)
            put_into_place(str(target), workspace)
            assert (target / "global" / "pg_control").exists()
            assert not os.path.exists(workspace.data)


class TestAside:
    @pytest.fixture
    def disk(self, tmp_path):
        main, wal, space = tmp_path / "main", tmp_path / "wal", tmp_path / "ts"
        for path in (main / "pg_tblspc", wal, space):
            path.mkdir(parents=True)
        (main / "pg_wal").symlink_to(wal)
        (main / "pg_tblspc" / "16385").symlink_to(space)
        return DataDirectory(
            str(main), str(main), State.PRIMARY, "", wal_directory=str(wal), tablespaces={"16385": str(space)}
        )

    def test_only_what_is_needed(self, disk, tmp_path):
        moves = move_aside.plan_moves(disk, [str(tmp_path / "elsewhere")], "T", OWNER)
        assert [move.source for move in moves.aside] == [disk.real_path]
        assert not moves.into

    @pytest.fixture
    def copied(self, tmp_path):
        """A complete copy beside all the places that are taken."""
        workspace, _target = stage(tmp_path)
        os.rmdir(os.path.join(workspace.data, "pg_wal"))
        for link, place in (("pg_wal", ".wal.clone"), ("pg_tblspc/16385", ".ts.clone")):
            (tmp_path / place).mkdir()
            (tmp_path / place / "new").touch()
            path = os.path.join(workspace.data, link)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.symlink(tmp_path / place, path)
        return workspace

    def stamp(self, workspace, disk):
        moves = move_aside.plan_moves(disk, [disk.wal_directory, *disk.tablespaces.values()], "T", OWNER)
        workspace.write(COMPLETE, {"moves": moves.as_dict()})
        return moves

    @pytest.mark.parametrize("interrupted_after", range(11))
    def test_both_clusters_stay_whole_after_an_interruption(
        self, disk, copied, tmp_path, monkeypatch, interrupted_after
    ):
        assert self.stamp(copied, disk).aside[-1].source == disk.real_path
        steps, rename = [interrupted_after], os.rename

        def limited(source, destination):
            if not steps[0]:
                raise KeyboardInterrupt
            steps[0] -= 1
            rename(source, destination)

        with monkeypatch.context() as patched:
            patched.setattr(os, "rename", limited)
            with contextlib.suppress(KeyboardInterrupt):
                put_into_place(disk.real_path, copied)
        assert steps[0] == 0 or interrupted_after == 10, "as many renames as there are"
        put_into_place(disk.real_path, copied)
        aside, main = tmp_path / "main.replaced-T", tmp_path / "main"
        assert os.readlink(aside / "pg_wal") == str(tmp_path / "wal.replaced-T")
        assert os.readlink(aside / "pg_tblspc" / "16385") == str(tmp_path / "ts.replaced-T")
        assert os.readlink(main / "pg_wal") == str(tmp_path / "wal")
        assert os.readlink(main / "pg_tblspc" / "16385") == str(tmp_path / "ts")
        assert os.listdir(tmp_path / "wal") == os.listdir(tmp_path / "ts") == ["new"]
        assert (main / "global" / "pg_control").exists()
        assert not list(tmp_path.glob(".*.clone/data")) + list(tmp_path.glob(".wal*"))

    def test_only_what_was_looked_at(self, disk, copied, tmp_path):
        """Consent was given to that directory, not to one that appeared in its place meanwhile."""
        moves = self.stamp(copied, disk)
        assert moves.fit
        os.rename(disk.real_path, tmp_path / "elsewhere")
        (tmp_path / "main").mkdir()
        (tmp_path / "main" / "letter.txt").write_text("precious")
        assert not moves.fit
        with pytest.raises(WalstreamError, match="cannot take the place"):
            put_into_place(disk.real_path, copied)
        assert (tmp_path / "main" / "letter.txt").read_text() == "precious"


class TestSignals:
    def test_standby(self, tmp_path):
        (tmp_path / "recovery.signal").touch()
        _set_signals(str(tmp_path), standby=True)
        assert [path.name for path in tmp_path.iterdir()] == ["standby.signal"]
        assert os.stat(tmp_path / "standby.signal").st_mode & 0o777 == 0o600

    def test_copy_of_a_standby_that_is_to_be_none(self, tmp_path):
        (tmp_path / "standby.signal").touch()
        _set_signals(str(tmp_path), standby=False)
        assert not list(tmp_path.iterdir())


def test_unmapped_tablespace(tmp_path):
    (tmp_path / "pg_tblspc").mkdir()
    (tmp_path / "pg_tblspc" / "16385").symlink_to("/there")
    job = Job("/d", "/d", Copy("", "", tablespace_mapping={"/old": "/there"}), "1", "p", PEER)
    _check_tablespaces(job, str(tmp_path))
    (tmp_path / "pg_tblspc" / "16386").symlink_to("/elsewhere")
    with pytest.raises(WalstreamError, match="'/elsewhere' that 'tablespace_mapping' does not name"):
        _check_tablespaces(job, str(tmp_path))


def test_argument_list():
    def run(argv, **_options):
        raise AssertionError(argv)

    copy = Copy(
        "host=p passfile=/x", "/w/data", slot="s", wal_directory="/wal", max_rate="10M", compression="lz4",
        tablespace_mapping={"/a=b": "/c d"},
    )  # fmt: skip
    argv = Programs("/bin", run).basebackup(copy)
    assert argv[:3] == ["/bin/pg_basebackup", "--dbname=host=p passfile=/x", "--pgdata=/w/data"]
    for option in (
        "--slot=s", "--waldir=/wal", "--max-rate=10M", "--compress=server-lz4",
        "--tablespace-mapping=/a\\=b=/c d", "--no-password", "--wal-method=stream", "--checkpoint=fast",
    ):  # fmt: skip
        assert option in argv
    assert not {"-R", "--write-recovery-conf", "--no-slot", "--no-verify-checksums", "--no-manifest"} & set(
        argv
    )


def test_a_wal_directory_gets_the_folders_above_it(tmp_path):
    path = tmp_path / "wal" / "of" / "replica"
    rights.make_folder(str(path), OWNER)
    assert path.stat().st_mode & 0o777 == 0o700
    assert path.parent.stat().st_mode & 0o777 == 0o755
    rights.make_folder(str(path), OWNER)
