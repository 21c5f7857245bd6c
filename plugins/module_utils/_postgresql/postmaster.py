# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running server says about itself in postmaster.pid (manual, "Database File Layout")."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ansible_collections.walstream.postgresql.plugins.module_utils._system import (
    configuration_files as _files,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system import processes

READY = ("ready", "standby")
"""Accepts connections, or recovers with hot_standby off and never will."""


@dataclass(frozen=True)
class Postmaster:
    pid: int
    port: int
    socket_directory: str
    status: str

    @property
    def is_ready(self) -> bool:
        return self.status in READY


def running_postmaster(data_directory: str) -> Postmaster | None:
    """The server that runs on this data directory, or None. A stale file does not count: pids are reused."""
    said = parse(_files.read(os.path.join(data_directory, "postmaster.pid")) or "")
    if said is None:
        return None
    process = processes.find(said.pid)
    if process is None or not process.is_alive:
        return None
    # Every postmaster has its data directory as current directory; where that may not be read it is believed.
    if processes.works_in(said.pid, data_directory) is False:
        return None
    return said


def parse(text: str) -> Postmaster | None:
    """Its lines: pid, data directory, start time, port, socket directory, address, shared memory, status."""
    lines = [*(line.strip() for line in text.splitlines()), *[""] * 8]
    if not lines[0].isdigit():  # empty while it is being written, negative in single-user mode
        return None
    return Postmaster(int(lines[0]), int(lines[3]) if lines[3].isdigit() else 0, lines[4], lines[7])
