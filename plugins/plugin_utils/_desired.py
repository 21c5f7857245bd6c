# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node of the topology should look like: its settings, its pg_hba lines, its way to the upstream.

Pure. Parameters, defaults and limits are from PostgreSQL's manual, "Replication" and "Streaming Replication".
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _due, _hba, _tls
from ansible_collections.walstream.postgresql.plugins.plugin_utils._topology import (
    REPLICA,
    Node,
    Topology,
    synchronous_names,
)

Found = Mapping[str, Mapping[str, Any]]

AT_LEAST_AS_ON_PRIMARY: Mapping[str, int] = {
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_wal_senders": 10,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}
"""Parameters that a standby must not have lower than its primary, with the server's own defaults."""

SENDERS = tuple(10 * 2**step for step in range(8))
"""How many WAL senders and slots we ask for, from the server's default on: each step restarts every node once."""


def node(topology: Topology, name: str, found: Found) -> dict[str, Any]:
    """Everything that the roles need to know about the node `name`, without any password."""
    this = topology.nodes[name]
    desired = _state(topology, this, found)
    return {**desired, "due": _due.steps(topology, this, desired, found)}


def _state(topology: Topology, this: Node, found: Found) -> dict[str, Any]:
    wanted = settings(topology, this, found)
    return {
        "name": this.name,
        "role": this.role,
        "level": this.level,
        "port": this.port,
        "user": this["replication_user"],
        "slot": this.slot,
        "upstream": upstream_conninfo(topology, this, found),
        "encrypted": this["replication_sslmode"] in _tls.ENCRYPTED,
        "client_certificates": bool(this["replication_tls"]["client_certificates"]),
        "tls": tls(this, found),
        "upstream_name": this.upstream,
        "application_name": this.application_name,
        "apply_delayed": str(this["replication_apply_delay"]) not in ("0", "0s"),
        "downstreams": [
            {"name": other.name, "slot": other.slot, "application_name": other.application_name}
            for other in topology.downstreams(this.name)
        ],
        "stale_slots": stale_slots(topology, this, found),
        "settings": wanted,
        "raises": raises(this, wanted, found),
        "lowers": lowers(this, wanted, found),
        "defaults": {"listen_addresses": "*"},
        "hba": hba_lines(topology, this, found),
    }


def upstream_conninfo(topology: Topology, this: Node, found: Found) -> dict[str, Any] | None:
    """libpq keywords that lead from a replica to its upstream; the password file is added on the host."""
    if this.upstream is None:
        return None
    upstream = topology.nodes[this.upstream]
    return {
        "host": upstream.host,
        "port": upstream.port,
        "user": this["replication_user"],
        "application_name": this.application_name,
        "sslmode": this["replication_sslmode"],
        **_proofs(this, found),
    }


def tls(this: Node, found: Found) -> dict[str, Any]:
    """Where certificates and keys come from and go to; empty where they are not our business."""
    data_directory = found.get(this.name, {}).get("data_directory")
    declared = this["replication_tls"]
    if not data_directory or not _tls.is_managed(this["replication_sslmode"], this["postgresql_settings"]):
        return {}
    return {
        **declared,
        "own_authority": not declared["ca_file"],
        "directory_on_host": f"{data_directory}.tls",
        "files": _tls.files(f"{data_directory}.tls"),
        "names": _tls.names(this.host, this.name),
        "host": this.host if this["replication_sslmode"] == "verify-full" else None,
        "stem": _tls.stem(this.name),
    }


def _proofs(this: Node, found: Found) -> dict[str, str]:
    """The libpq keywords by which a replica knows its upstream, and proves itself."""
    managed = tls(this, found)
    keywords = {}
    if managed and this["replication_sslmode"] in _tls.VERIFIED:
        keywords["sslrootcert"] = managed["files"]["ca"]
    if managed and managed["client_certificates"]:
        keywords.update(sslcert=managed["files"]["client"], sslkey=managed["files"]["client"])
    return keywords


def settings(topology: Topology, this: Node, found: Found) -> dict[str, Any]:
    """Server parameters by name; the user's win over ours."""
    wanted: dict[str, Any] = {
        "hot_standby": "on",
        "password_encryption": "scram-sha-256",
        "max_slot_wal_keep_size": str(this["replication_max_wal_keep"]),
        "wal_level": "logical" if _server_setting(found, this.name, "wal_level") == "logical" else "replica",
    }
    if this.role == REPLICA and str(this["replication_apply_delay"]) != "0":
        wanted["recovery_min_apply_delay"] = str(this["replication_apply_delay"])
    for parameter in ("max_wal_senders", "max_replication_slots"):
        room = _room(2 * len(topology.nodes), parameter, found.get(this.name, {}))
        if room:
            wanted[parameter] = room
    wanted.update(_tls_settings(this, found))
    wanted.update({str(key).lower(): value for key, value in this["postgresql_settings"].items()})
    if this.role == REPLICA:
        wanted.update(_standby_minimums(topology, wanted, found))
    else:
        names = _attached_synchronous_names(topology, found)
        if names:
            wanted["synchronous_standby_names"] = names
    return wanted


def _room(needed: int, parameter: str, here: Mapping[str, Any]) -> int | None:
    """WAL senders for all replicas being cloned at once, which takes two each; None where the server has them anyway.

    Replicas that have gone leave their room behind: taking it away would restart everybody once more.
    """
    managed = str((here.get("managed_settings") or {}).get(parameter, ""))
    present = int((here.get("settings") or {}).get(parameter) or SENDERS[0])
    if not managed and present >= needed:
        return None
    enough = next((number for number in SENDERS if number >= needed), needed)
    if managed.isdigit() and int(managed) in SENDERS:
        enough = max(enough, int(managed))
    return enough if enough > SENDERS[0] else None


def _tls_settings(this: Node, found: Found) -> dict[str, str]:
    managed = tls(this, found)
    if not managed:
        return {}
    files = managed["files"]
    wanted = {"ssl": "on", "ssl_cert_file": files["server"], "ssl_key_file": files["server"]}
    if managed["client_certificates"]:
        # Not without need: clients that happen to have a certificate of another authority would be refused.
        wanted["ssl_ca_file"] = files["ca"]
    return wanted


def _standby_minimums(topology: Topology, wanted: Mapping[str, Any], found: Found) -> dict[str, int]:
    """What a replica must raise so that it can start and keep replaying its primary's WAL."""
    primary = topology.primary
    on_primary = settings(topology, primary, found)
    minimums = {}
    for parameter, default in AT_LEAST_AS_ON_PRIMARY.items():
        least = _becomes(primary, parameter, on_primary, found)
        if least is None:
            least = _number(primary, parameter, _server_setting(found, primary.name, parameter), default)
        if least > _number(primary, parameter, wanted.get(parameter), default):
            minimums[parameter] = least
    return minimums


def _becomes(node: Node, parameter: str, wanted: Mapping[str, Any], found: Found) -> int | None:
    """The value that a node will have because of us; None where it keeps the one it has.

    A parameter that we managed and do not any more falls back to what other files say, or else to the server's default.
    """
    here, default = found.get(node.name, {}), AT_LEAST_AS_ON_PRIMARY[parameter]
    if parameter in wanted:
        return _number(node, parameter, wanted[parameter], default)
    if parameter in (here.get("managed_settings") or {}):
        return _number(node, parameter, (here.get("settings_beneath") or {}).get(parameter), default)
    return None


def _number(node: Node, parameter: str, value: Any, default: int) -> int:
    if value is None:
        return default
    if not str(value).isdigit():
        raise WalstreamError(f"{parameter} of '{node.name}' is {value!r}: it must be a whole number")
    return int(value)


def raises(this: Node, wanted: Mapping[str, Any], found: Found) -> dict[str, int]:
    """What a running standby must raise before its primary does, or replay pauses on it."""
    return {key: new for key, (old, new) in _changes(this, wanted, found).items() if new > old}


def lowers(this: Node, wanted: Mapping[str, Any], found: Found) -> dict[str, int]:
    """What a running standby keeps until it has replayed that its primary lowered it: its values of today."""
    return {key: old for key, (old, new) in _changes(this, wanted, found).items() if new < old}


def _changes(this: Node, wanted: Mapping[str, Any], found: Found) -> dict[str, tuple[int, int]]:
    """Old and new value of each parameter that a running standby must not have lower than its primary."""
    if this.role != REPLICA or not found.get(this.name, {}).get("running"):
        return {}
    changes = {}
    for parameter in AT_LEAST_AS_ON_PRIMARY:
        old, new = _server_setting(found, this.name, parameter), _becomes(this, parameter, wanted, found)
        if old is not None and new is not None:
            changes[parameter] = (int(old), new)
    return changes


def stale_slots(topology: Topology, this: Node, found: Found) -> list[str]:
    """Slots that we once made on this node and that no node of the inventory streams through any more."""
    here = found.get(this.name, {})
    existing = {str(row.get("slot_name")) for row in here.get("slots") or []}
    used = {other.slot for other in topology.downstreams(this.name)}
    return [name for name in here.get("own_slots") or [] if name in existing and name not in used]


def _attached_synchronous_names(topology: Topology, found: Found) -> str:
    """Only replicas that stream already: a name without its standby makes every commit wait."""
    attached = {
        str(row.get("application_name"))
        for row in found.get(topology.primary.name, {}).get("standbys") or []
        if row.get("state") == "streaming"
    }
    return synchronous_names(
        topology,
        [one.name for one in topology.replicas if one.synchronous and one.application_name in attached],
    )


def _server_setting(found: Found, name: str, parameter: str) -> Any:
    return (found.get(name, {}).get("settings") or {}).get(parameter)


def hba_lines(topology: Topology, this: Node, found: Found) -> list[str]:
    """The lines for the nodes that stream from this one, then the user's own."""
    contype = "hostssl" if this["replication_sslmode"] in _tls.ENCRYPTED else "host"
    declared = this["replication_tls"]
    method = "cert" if declared["client_certificates"] else "scram-sha-256"
    options = {"options": f"map={declared['client_map']}"} if declared["client_map"] else {}
    lines = [
        _hba.line(
            {
                "contype": contype,
                "databases": "replication",
                "users": _hba.quoted(str(this["replication_user"])),
                "address": address,
                "method": method,
                **options,
            }
        )
        for other in topology.downstreams(this.name)
        for address in addresses(other, found)
    ]
    return list(dict.fromkeys([*lines, *(_hba.line(rule) for rule in this["postgresql_hba"])]))


def addresses(node: Node, found: Found) -> list[str]:
    """Where a node's connections come from: as declared, else as it sees itself, else its name."""
    if node.addresses:
        return list(node.addresses)
    try:
        return [_hba.network(str(ipaddress.ip_address(node.host)))]
    except ValueError:
        seen = found.get(node.name, {}).get("source_address")
        return [_hba.network(seen)] if seen else [node.host]
