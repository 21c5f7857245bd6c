# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks on files that their holders replace or remove."""

from __future__ import annotations

import fcntl
import os

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._system import locks


def test_one_at_a_time(tmp_path):
    path = str(tmp_path / "lock")
    held = locks.take(path)
    with pytest.raises(BlockingIOError):
        locks.take(path)
    os.close(held)
    os.close(locks.take(path))


@pytest.mark.parametrize("happens", [os.unlink, lambda path: os.rename(f"{path}.new", path)])
def test_a_file_that_has_left_its_place_protects_nothing(tmp_path, monkeypatch, happens):
    path = str(tmp_path / "lock")
    (tmp_path / "lock.new").touch()
    monkeypatch.setattr(fcntl, "flock", lambda *_arguments: happens(path))
    assert locks.take(path) is None


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="lock"):
        locks.take(str(tmp_path / "lock"))
    assert not (tmp_path / "elsewhere").exists()
