# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.certificate import address_of


@pytest.mark.parametrize(
    ("listen_addresses", "address"),
    [
        ("*", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "::1"),
        ("10.0.0.1, localhost", "10.0.0.1"),
        ("localhost", "localhost"),
        ("", None),
    ],
)
def test_how_a_host_reaches_its_own_server(listen_addresses, address):
    assert address_of(listen_addresses) == address
