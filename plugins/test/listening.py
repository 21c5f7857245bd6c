# SPDX-License-Identifier: GPL-3.0-or-later
"""Jinja test: whether somebody listens on a TCP port, as seen from the controller."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

PATIENCE = 1.0
"""Seconds. An address of this machine answers at once."""


def listening(port: int | str, address: str = "127.0.0.1") -> bool:
    with (
        contextlib.suppress(OSError, ValueError, TypeError, OverflowError),
        socket.create_connection((address, int(port)), timeout=PATIENCE),
    ):
        return True
    return False


class TestModule:
    """What Ansible loads."""

    def tests(self) -> dict[str, Callable[..., bool]]:
        return {"listening": listening}
