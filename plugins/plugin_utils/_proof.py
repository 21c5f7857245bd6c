# SPDX-License-Identifier: GPL-3.0-or-later
"""What discovery has proved already: that a replica streams and has replayed what its primary had written.

Pure. One look at both hosts is proof enough where it meets everything that the module `recovery_state` would ask for,
by the same predicates. Where it does not, or where a run changes anything, that module asks again, and waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import Lsn
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.expectations import (
    Expected,
    unmet,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.observation import Observation
from ansible_collections.walstream.postgresql.plugins.plugin_utils._topology import Node, Topology

STEP = "proof"
"""What stands among the steps of a replica that has yet to prove itself."""

Found = Mapping[str, Mapping[str, Any]]


def added(
    topology: Topology, nodes: Mapping[str, Mapping[str, Any]], found: Found
) -> dict[str, dict[str, Any]]:
    """The nodes as `_desired.node` describes them, each replica with what is proved or a last step."""
    busy = [name for name, node in nodes.items() if node["due"]]
    result = {name: {**node, "proved": ""} for name, node in nodes.items()}
    for replica in topology.replicas:
        node = result[replica.name]
        reason = f"after what is due on '{busy[0]}'" if busy else lacking(topology, replica, node, found)
        if reason:
            node["due"] = {**node["due"], STEP: reason}
        else:
            node["proved"] = proved(node, found)
    return result


def lacking(topology: Topology, replica: Node, desired: Mapping[str, Any], found: Found) -> str:
    """Why what was found proves nothing about a replica; empty where it proves everything.

    `desired` is what `_desired.node` says of it.
    """
    primary, here = found.get(topology.primary.name, {}), found.get(replica.name, {})
    if not primary.get("reachable") or not here.get("reachable") or primary["in_recovery"]:
        return "there is no primary and standby to compare"
    if desired["encrypted"]:
        return "only its upstream knows whether others can listen"
    seen = observed(here)
    # One that is held back on purpose may not have connected to where it belongs: the module then tries to.
    sentences = unmet(replace(expected(primary, desired), allow_held_back=False), seen)
    return sentences[0] if sentences else ""


def proved(desired: Mapping[str, Any], found: Found) -> str:
    """What was proved about a replica of which nothing is lacking, for people."""
    seen = observed(found[desired["name"]])
    has = f"received {seen.reached}" if desired["apply_delayed"] else f"replayed {seen.lsn}"
    return (
        f"streams from {seen.upstream_host}:{seen.upstream_port} through the slot {seen.slot} and has {has}, "
        f"timeline {seen.timeline}, which is all that the primary had written"
    )


def expected(primary: Mapping[str, Any], desired: Mapping[str, Any]) -> Expected:
    """What roles/replica/tasks/prove.yml asks of a replica, given what was found on its primary."""
    position = Lsn.parse(primary["lsn"])
    delayed = desired["apply_delayed"]
    return Expected(
        standby=True,
        streaming=True,
        host=desired["upstream"]["host"],
        port=desired["upstream"]["port"],
        slot=desired["slot"],
        system_identifier=primary["system_identifier"],
        timeline=primary["timeline"],
        replayed_lsn=None if delayed else position,
        received_lsn=position if delayed else None,
        allow_held_back=delayed,
    )


def observed(here: Mapping[str, Any]) -> Observation:
    """The moment that `cluster_info` has seen of a standby."""
    return Observation(
        version=here["server_version"],
        major=here["version"],
        role=here["owner"],
        in_recovery=here["in_recovery"],
        system_identifier=here["system_identifier"],
        timeline=here["timeline"],
        lsn=Lsn.parse(here["lsn"]),
        received=Lsn.parse(here["received_lsn"]) if here["received_lsn"] else None,
        wal_block_size=here["wal_block_size"],
        wal_segment_size=here["wal_segment_size"],
        **(here["replay"] or {}),
        receiver=here["receiver"],
        settings=here["settings"],
        conninfo=here["upstream"],
    )
