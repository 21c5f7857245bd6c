# SPDX-License-Identifier: GPL-3.0-or-later
"""The Jinja test, against real sockets of the loopback address."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.walstream.postgresql.plugins.test.listening import listening


def test_a_port_is_taken_and_free_again():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listening(port)
        assert listening(str(port), "127.0.0.1")
    assert not listening(port)


@pytest.mark.parametrize("port", ["abc", "", None, 0, 70000, -1])
def test_what_is_no_port_has_no_listener(port):
    assert not listening(port)
