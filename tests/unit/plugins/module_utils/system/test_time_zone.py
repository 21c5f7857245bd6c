# SPDX-License-Identifier: GPL-3.0-or-later
"""Which time zone a host's link names."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._system import time_zone


@pytest.mark.parametrize(
    ("target", "zone"),
    [
        ("usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
        ("usr/share/zoneinfo/UTC", "UTC"),
        ("elsewhere/Berlin", None),
        (None, None),
    ],
)
def test_the_link_tells(tmp_path, target, zone):
    link = tmp_path / "localtime"
    if target:
        link.symlink_to(tmp_path / target)
    assert time_zone.of_this_host(str(link)) == zone


def test_a_copy_of_a_zone_does_not_tell(tmp_path):
    (tmp_path / "localtime").write_bytes(b"TZif2")
    assert time_zone.of_this_host(str(tmp_path / "localtime")) is None
