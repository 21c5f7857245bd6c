# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever changes a host leaves a trace, so that a later refusal does not claim that nothing was changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.walstream.postgresql.plugins.action.topology import TRACES

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "roles").glob("*/tasks/*.yml"))
CHANGING = {
    *(f"walstream.postgresql.{name}" for name in ("basebackup", "cluster", "passfile", "tls_files")),
    *(
        "walstream.postgresql.replication_slot",
        "community.postgresql.postgresql_user",
        "ansible.builtin.package",
    ),
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_changes_a_host_registers_a_trace(path: Path) -> None:
    untraced = [task["name"] for task in _changing(yaml.safe_load(path.read_text())) if not _is_traced(task)]
    assert not untraced


def test_every_trace_is_left_by_somebody() -> None:
    left = {task.get("register") for path in FILES for task in _changing(yaml.safe_load(path.read_text()))}
    assert set(TRACES) - left == {"_booted"}, "that one is of playbooks/tasks/container.yml"


def _is_traced(task: dict[str, Any]) -> bool:
    """A slot is dropped at the end of a host's turn, after which nobody refuses."""
    drops = (task.get("walstream.postgresql.replication_slot") or {}).get("state") == "absent"
    return drops or task.get("register") in TRACES


def _changing(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for entry in node:
            yield from _changing(entry)
    elif isinstance(node, dict):
        if CHANGING & set(node):
            yield node
        for part in ("block", "rescue", "always"):
            yield from _changing(node.get(part))
