# SPDX-License-Identifier: GPL-3.0-or-later
"""A password file on disk: right from its first moment, and never a way for somebody else's link."""

from __future__ import annotations

import os
import stat

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials import passfile
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User

ME = User("me", os.geteuid(), os.getegid(), "/")
TEXT = "h:5432:*:u:secret\n"


@pytest.fixture
def file(tmp_path):
    return passfile.Passfile(str(tmp_path / "below" / "main.pgpass"), ME)


def mode(path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_it_is_made_once(file):
    assert file.change_to(TEXT).needed
    file.apply(TEXT)
    assert mode(file.path) == 0o600
    assert not file.change_to(TEXT).needed
    assert os.listdir(os.path.dirname(file.path)) == ["main.pgpass"]


def test_what_an_interrupted_run_left_goes(file):
    file.apply(TEXT)
    left = os.path.join(os.path.dirname(file.path), ".main.pgpass.new")
    os.symlink("/etc/hostname", left)
    file.apply(TEXT + TEXT)
    assert os.listdir(os.path.dirname(file.path)) == ["main.pgpass"]
    assert os.path.isfile(file.path)


def test_others_may_not_read_it(file):
    file.apply(TEXT)
    os.chmod(file.path, 0o644)
    change = file.change_to(TEXT)
    assert change.needed
    assert "mode is 0644" in change.diff()["before"]
    file.apply(TEXT)
    assert mode(file.path) == 0o600


def test_a_planted_link_is_replaced_and_not_followed(file, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.mkdir(os.path.dirname(file.path))
    os.symlink(victim, file.path)
    assert file.change_to(TEXT).needed
    file.apply(TEXT)
    assert victim.read_text() == "precious"
    assert not os.path.islink(file.path)


def test_a_directory_in_its_place(file):
    os.makedirs(file.path)
    with pytest.raises(WalstreamError, match="is a directory"):
        file.change_to(TEXT)


def test_absent(file):
    assert not file.change_to(None).needed
    file.apply(TEXT)
    assert file.change_to(None).needed
    file.apply(None)
    assert not os.path.exists(file.path)


def test_a_difference_shows_no_password(file):
    file.apply(TEXT)
    diff = file.change_to(TEXT.replace("secret", "other")).diff()
    assert "secret" not in str(diff)
    assert "other" not in str(diff)
    assert diff["before"] != diff["after"]
