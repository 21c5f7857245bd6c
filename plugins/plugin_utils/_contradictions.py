# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the inventory and the servers contradict each other in a way that could cost data.

Pure. `found` holds, by inventory name, what `cluster_info` discovered; hosts that were not looked at (because of
`--limit`, say) are missing from it and nothing is concluded about them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.walstream.postgresql.plugins.plugin_utils import _hba
from ansible_collections.walstream.postgresql.plugins.plugin_utils._topology import (
    Node,
    Topology,
)

Found = Mapping[str, Mapping[str, Any]]

HOLDS_DATA = ("primary", "standby", "unknown")
"""States of a data directory (see `data_directory_info`) that might be the only copy of something."""


def first(topology: Topology, found: Found) -> str | None:
    """The gravest contradiction as one sentence, or None."""
    return next(_all(topology, found), None)


def _all(topology: Topology, found: Found) -> Iterator[str]:
    yield from _one_directory_for_two(topology, found)
    yield from _swapped_groups(topology, found)
    yield from _live_primaries_among_replicas(topology, found)
    yield from _primary_in_recovery(topology, found)
    yield from _primary_without_data(topology, found)
    for node in topology.replicas:
        if node.name in found:
            yield from _foreign_data(topology, node, found)
            yield from _stopped_former_primary(node, found)
            yield from _newer_timeline(topology, node, found)
        yield from _shut_out(node, found)
    yield from _expired_password(topology, found)
    yield from _different_versions(topology, found)


def _data(found: Found, name: str) -> Mapping[str, Any]:
    return found.get(name, {}).get("data") or {}


def _is_live_primary(found: Found, name: str) -> bool:
    data = _data(found, name)
    return bool(data.get("running")) and data.get("state") == "primary"


def _is_standby(found: Found, name: str) -> bool:
    return _data(found, name).get("state") == "standby"


def _consented(node: Node, found: Found) -> bool:
    """Whether the inventory gives up exactly the stopped cluster that lies on the host."""
    data = _data(found, node.name)
    replace = str(node.variables.get("replication_replace") or "")
    return bool(replace) and replace == data.get("system_identifier") and not data.get("running")


def _one_directory_for_two(topology: Topology, found: Found) -> Iterator[str]:
    """Several clusters on one host need places of their own, not only ports."""
    taken: dict[tuple[str, ...], str] = {}
    for node in topology.nodes.values():
        directory = found.get(node.name, {}).get("data_directory")
        host = node.variables.get("ansible_host") or node.name
        place = (str(host), str(node.variables.get("ansible_port")), str(directory))
        other = taken.setdefault(place, node.name) if directory else node.name
        if other != node.name:
            yield (
                f"'{other}' and '{node.name}' are the same host and would share the data directory {directory}: give "
                "one of them another postgresql_cluster or postgresql_data_directory"
            )


def _swapped_groups(topology: Topology, found: Found) -> Iterator[str]:
    live = [node.name for node in topology.replicas if _is_live_primary(found, node.name)]
    if len(live) == 1 and _is_standby(found, topology.primary.name):
        yield (
            f"the groups contradict the servers: '{live[0]}' is listed as replica but is the live primary, and "
            f"'{topology.primary.name}' is listed as primary but is a standby; put '{live[0]}' into the group "
            f"'primary' and '{topology.primary.name}' into 'replica', or switch the servers over first"
        )


def _live_primaries_among_replicas(topology: Topology, found: Found) -> Iterator[str]:
    for node in topology.replicas:
        if not _is_live_primary(found, node.name):
            continue
        data = _data(found, node.name)
        same = data.get("system_identifier") == _data(found, topology.primary.name).get("system_identifier")
        history = (
            "of the same system, so there are two primaries whose data may have diverged"
            if same
            else f"of another system ({data.get('system_identifier')})"
        )
        yield (
            f"'{node.name}' is listed as replica, but a live primary {history} runs there in "
            f"{data.get('path')}: put it into the group 'primary', or stop that server if it must become a replica"
        )


def _primary_in_recovery(topology: Topology, found: Found) -> Iterator[str]:
    primary = topology.primary
    if _is_standby(found, primary.name):
        yield (
            f"'{primary.name}' is listed as primary, but {_data(found, primary.name).get('path')} holds a standby: "
            "promote it, or put the host that is the primary into the group 'primary'"
        )


def _primary_without_data(topology: Topology, found: Found) -> Iterator[str]:
    """A new, empty primary beside replicas with data means that the primary's disk is gone or not mounted."""
    primary = topology.primary
    data = _data(found, primary.name)
    if primary.name not in found or data.get("state") in ("primary", "standby"):
        return
    if data.get("state") in ("partial", "unknown"):
        yield (
            f"the data directory {data.get('path')} of the primary '{primary.name}' is no complete cluster "
            f"({data.get('reason') or data.get('state')}): restore it, or move it aside if nothing in it is needed"
        )
    for node in topology.replicas:
        held = _data(found, node.name)
        if held.get("state") not in HOLDS_DATA or _consented(node, found):
            continue
        if not held.get("system_identifier"):
            yield (
                f"the primary '{primary.name}' has no data in {data.get('path')}, and {held.get('path')} on "
                f"'{node.name}' {held.get('reason')}: that may be all that is left, and a new primary would start "
                f"empty, so mount or restore the primary's data directory, and move aside what '{node.name}' has only "
                "if nothing in it is needed"
            )
        else:
            yield (
                f"the primary '{primary.name}' has no data in {data.get('path')}, but '{node.name}' holds a cluster of "
                f"system {held.get('system_identifier')}: a new primary would start empty, so mount or restore the "
                f"primary's data directory, or promote '{node.name}' and make it the primary in the inventory"
            )


def _foreign_data(topology: Topology, node: Node, found: Found) -> Iterator[str]:
    data, own = _data(found, node.name), _data(found, topology.primary.name)
    if data.get("state") not in HOLDS_DATA or _consented(node, found):
        return
    if data.get("state") == "unknown":
        yield (
            f"{data.get('path')} on '{node.name}' cannot be replaced by a clone: {data.get('reason')}; "
            "move it aside if nothing in it is needed"
        )
    elif own.get("system_identifier") and data.get("system_identifier") != own.get("system_identifier"):
        yield (
            f"{data.get('path')} on '{node.name}' belongs to another system ({data.get('system_identifier')}) than "
            f"the primary '{topology.primary.name}' ({own.get('system_identifier')}): if it may be moved aside, "
            f"stop its server and set replication_replace: '{data.get('system_identifier')}' for '{node.name}'"
        )


def _stopped_former_primary(node: Node, found: Found) -> Iterator[str]:
    data = _data(found, node.name)
    if data.get("state") == "primary" and not data.get("running") and not _consented(node, found):
        yield (
            f"{data.get('path')} on '{node.name}' is a stopped primary of system {data.get('system_identifier')} and "
            "may hold transactions that no other server has: if they may be moved aside, set "
            f"replication_replace: '{data.get('system_identifier')}' for '{node.name}'"
        )


def _newer_timeline(topology: Topology, node: Node, found: Found) -> Iterator[str]:
    data, own = _data(found, node.name), _data(found, topology.primary.name)
    theirs, ours = data.get("timeline"), own.get("timeline")
    if data.get("state") == "standby" and theirs and ours and theirs > ours and not _consented(node, found):
        yield (
            f"{data.get('path')} on '{node.name}' is on timeline {theirs}, newer than timeline {ours} of the primary "
            f"'{topology.primary.name}': another server was promoted meanwhile, so find out which one is the primary"
        )


def _shut_out(node: Node, found: Found) -> Iterator[str]:
    """pg_hba lines for an address that a replica does not come from, though it streams: the next login would fail."""
    seen = {
        str(row["client_address"])
        for row in found.get(str(node.upstream), {}).get("standbys") or []
        if row.get("application_name") == node.application_name and row.get("client_address")
    }
    for address in sorted(seen):
        if node.addresses and not _hba.may_cover(node.addresses, address):
            yield (
                f"replication_address of '{node.name}' is {', '.join(node.addresses)}, but it streams from {address}, "
                f"which the pg_hba.conf of '{node.upstream}' would no longer let in: correct it, or leave it out"
            )


def _expired_password(topology: Topology, found: Found) -> Iterator[str]:
    """A replica that streams goes on, so nothing else shows that none could connect again."""
    primary = topology.primary
    user = primary["replication_user"]
    until = (found.get(primary.name, {}).get("expired_logins") or {}).get(user)
    if until and topology.replicas and not primary["replication_tls"]["client_certificates"]:
        yield (
            f"the password of '{user}' on '{primary.name}' was valid until {until}, so no replica can connect anew: "
            f"ALTER ROLE \"{user}\" VALID UNTIL 'infinity', or a later time, on '{primary.name}'"
        )


def _different_versions(topology: Topology, found: Found) -> Iterator[str]:
    versions = {
        node.name: str(found[node.name]["version"])
        for node in topology.nodes.values()
        if found.get(node.name, {}).get("version")
    }
    if len(set(versions.values())) > 1:
        listed = ", ".join(f"{version} on '{name}'" for name, version in versions.items())
        yield (
            f"the nodes have different major versions of PostgreSQL ({listed}): physical replication needs the same "
            "one, so set postgresql_version or install the missing packages"
        )
