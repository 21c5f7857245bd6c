# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a clone that move files: into place, aside, and away."""

from __future__ import annotations

import contextlib
import os
import pwd

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._clone import copy, move_aside
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.copy import (
    Job,
    _check_tablespaces,
    _set_signals,
    put_into_place,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import Rights, Workspace
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
        moves = move_aside.plan_moves(disk, [str(tmp_path / "elsewhere")], "T")
        assert [move.source for move in moves] == [disk.real_path]

    @pytest.mark.parametrize("interrupted_after", range(8))
    def test_links_follow_also_after_an_interruption(self, disk, tmp_path, monkeypatch, interrupted_after):
        moves = move_aside.plan_moves(disk, [disk.wal_directory, *disk.tablespaces.values()], "T")
        assert moves[-1].source == disk.real_path
        steps, rename = [interrupted_after], os.rename

        def limited(source, destination):
            if not steps[0]:
                raise KeyboardInterrupt
            steps[0] -= 1
            rename(source, destination)

        rights = Rights(OWNER, beside_as_root=False)
        with monkeypatch.context() as patched:
            patched.setattr(os, "rename", limited)
            with contextlib.suppress(KeyboardInterrupt):
                move_aside.carry_out(moves, rights)
        move_aside.carry_out([move_aside.Move.from_dict(move.as_dict()) for move in moves], rights)
        aside = tmp_path / "main.replaced-T"
        assert os.readlink(aside / "pg_wal") == str(tmp_path / "wal.replaced-T")
        assert os.readlink(aside / "pg_tblspc" / "16385") == str(tmp_path / "ts.replaced-T")
        assert not os.path.lexists(disk.real_path)
        assert not (tmp_path / "wal").exists()


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
    workspace, _target = stage(tmp_path)
    path = tmp_path / "wal" / "of" / "replica"
    copy.make_external(str(path), workspace.rights)
    assert path.stat().st_mode & 0o777 == 0o700
    assert path.parent.stat().st_mode & 0o777 == 0o755
