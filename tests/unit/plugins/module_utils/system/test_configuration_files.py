# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of the server's is whole, old or new, and a failed attempt leaves nothing beside it."""

from __future__ import annotations

import os

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import current_user


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "walstream.conf"
    files.write(str(path), "port = 5432\n", current_user(), 0o600)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WalstreamError, match=r"cannot write .*walstream\.conf: No space left on device"):
        files.write(str(path), "port = 5433\n", current_user(), 0o600)
    assert path.read_text() == "port = 5432\n"
    assert os.listdir(tmp_path) == ["walstream.conf"]
