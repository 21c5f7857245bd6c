# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-core does otherwise than it reads, kept out of our playbooks and roles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("playbooks", "roles", "molecule")
    for path in (ROOT / folder).rglob("*.yml")
    if path.parts[-2] not in ("meta", "vars", "defaults")
)
FROM = ("tasks_from", "vars_from", "defaults_from", "handlers_from")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_all_hosts_include_the_same_file_of_a_role(path: Path) -> None:
    """Hosts that include one role in one task are taken together, and get what the first one's `tasks_from` says."""
    differing = [
        include
        for include in _includes(yaml.safe_load(path.read_text()))
        if any("{{" in str(include.get(key, "")) for key in FROM)
    ]
    assert not differing


def _includes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for entry in node:
            yield from _includes(entry)
    elif isinstance(node, dict):
        for key, value in node.items():
            if str(key).endswith("include_role"):
                yield value
            yield from _includes(value)
