# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of the topology that a run is not for, though hosts of the run depend on them.

That is what `--limit` and plays for some of the hosts leave behind. Such hosts are looked at and not changed. What
could not even be looked at is not taken for absent. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.walstream.postgresql.plugins.plugin_utils._desired import (
    is_outside,
    outgrown,
)
from ansible_collections.walstream.postgresql.plugins.plugin_utils._topology import Topology

Found = Mapping[str, Mapping[str, Any]]
Unseen = Mapping[str, str]
"""Hosts outside the run that could not be looked at, by name, each with the reason."""

WITHOUT_DATA = ("absent", "empty")


def first(topology: Topology, found: Found, unseen: Unseen, is_whole: bool) -> str | None:
    """Why the hosts of the run cannot be planned for, as one sentence, or None.

    `is_whole`: nothing is done in this run to a host that is outside now.
    """
    return next(_all(topology, found, unseen, is_whole), None)


def _all(topology: Topology, found: Found, unseen: Unseen, is_whole: bool) -> Iterator[str]:
    yield from _unknown_upstream(topology, found, unseen)
    yield from _maybe_lost_primary(topology, found, unseen)
    if is_whole:
        yield from _outgrown_standbys(topology, found)


def _unknown_upstream(topology: Topology, found: Found, unseen: Unseen) -> Iterator[str]:
    for node in topology.replicas:
        if node.name not in found or is_outside(found, node.name):
            continue
        for name in dict.fromkeys((str(node.upstream), topology.primary.name)):
            if name in unseen:
                role = "upstream" if name == node.upstream else "primary"
                yield (
                    f"'{node.name}' depends on its {role} '{name}', which is not part of this run and cannot be looked "
                    f"at ({unseen[name]}): make it reachable, or correct the inventory"
                )


def _maybe_lost_primary(topology: Topology, found: Found, unseen: Unseen) -> Iterator[str]:
    name = topology.primary.name
    data = found.get(name, {}).get("data") or {}
    if is_outside(found, name) or data.get("state") not in WITHOUT_DATA:
        return
    for node in topology.replicas:
        if node.name in unseen:
            yield (
                f"the primary '{name}' has no data in {data.get('path')}, and whether '{node.name}' holds a cluster "
                f"cannot be looked at ({unseen[node.name]}), so the primary may be new or may have lost its disk: make "
                f"'{node.name}' reachable, or take it out of the group 'replica' until it is there"
            )


def _outgrown_standbys(topology: Topology, found: Found) -> Iterator[str]:
    """A running standby with less than its primary has pauses replay, and cannot start again."""
    primary = topology.primary.name
    if primary not in found or is_outside(found, primary):
        return
    for node in topology.replicas:
        low = outgrown(topology, node, found) if is_outside(found, node.name) else []
        if low:
            yield (
                f"{', '.join(low)} of '{primary}' would become higher than that of its standby '{node.name}', whose "
                f"replay would pause, and '{node.name}' is not part of this run: add it to --limit"
            )
