# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host says about itself."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._layout import host


@pytest.mark.parametrize(("towards", "address"), [("127.0.0.1", "127.0.0.1"), ("no.such.host.invalid", None)])
def test_source_address(towards, address):
    assert host.source_address(towards) == address
