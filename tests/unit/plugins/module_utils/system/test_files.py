# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether somebody may do something, asked as root for somebody else, or for oneself."""

from __future__ import annotations

import os
import pwd

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import may_write

IDS = os.getresuid(), os.getresgid(), os.getgroups()


@pytest.mark.parametrize("name", sorted({pwd.getpwuid(os.getuid()).pw_name, "nobody"}))
def test_may_write(tmp_path, name):
    user = User.named(name)
    if user.uid != os.getuid() and os.getuid() != 0:
        pytest.skip("only root can ask for somebody else")
    mine = tmp_path / "mine"
    mine.mkdir(mode=0o755)
    assert may_write(str(mine), user) == (user.uid == os.getuid())
    assert may_write("/tmp", user)
    assert not may_write(str(tmp_path / "missing"), user)
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == IDS
