# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node of the topology should look like: its settings, its pg_hba lines, its way to the upstream.

Pure. Parameters, defaults and limits are from PostgreSQL's manual, "Replication" and "Streaming Replication".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _due, _hba, _tls
from ansible_collections.walstream.postgresql.plugins.plugin_utils._topology import (
    PLACE,
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

WITHOUT_CLUSTER = ("absent", "empty", "partial")
"""States of a data directory that no server can run on."""

CHOSEN_BY_INITDB = (
    *("timezone", "log_timezone", "datestyle", "default_text_search_config"),
    *("lc_messages", "lc_monetary", "lc_numeric", "lc_time"),
)
"""Parameters that answers depend on and that initdb sets for the host where it runs: a copy's host may differ."""

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
        "depends_on": topology.depends_on(this.name),
        "place": {option: this.variables.get(variable) for option, variable in PLACE.items()},
        "application_name": this.application_name,
        "apply_delayed": is_delayed(this),
        "downstreams": [
            {
                "name": other.name,
                "slot": other.slot,
                "application_name": other.application_name,
                "apply_delayed": is_delayed(other),
            }
            for other in topology.downstreams(this.name)
        ],
        "vacant": _has_no_cluster(this, found),
        "at_own_pace": this.upstream == topology.primary.name and _is_cloned_next(this, found),
        "first_slots": first_slots(topology, this, found),
        "stale_slots": stale_slots(topology, this, found),
        "unused_slots": unused_slots(topology, this, found),
        "settings": wanted,
        "raises": raises(this, wanted, found),
        "lowers": lowers(this, wanted, found),
        "defaults": {"listen_addresses": "*"},
        "initial_settings": initial_settings(topology, this, found),
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
    if this.role == REPLICA and is_delayed(this):
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


def initial_settings(topology: Topology, this: Node, found: Found) -> dict[str, str]:
    """What a replica takes over from its primary where its main configuration file has to be made."""
    if this.role != REPLICA:
        return {}
    on_primary = found.get(topology.primary.name, {}).get("settings") or {}
    return {name: on_primary[name] for name in CHOSEN_BY_INITDB if on_primary.get(name)}


def is_delayed(this: Node) -> bool:
    """Whether replay is late on purpose: `0min` is no delay either."""
    return re.search(r"[1-9]", str(this["replication_apply_delay"])) is not None


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
    """What a replica must raise so that it can start and keep replaying its primary's WAL.

    A primary outside this run keeps what it has, whatever is declared for it.
    """
    primary = topology.primary
    on_primary = settings(topology, primary, found)
    minimums = {}
    for parameter, default in AT_LEAST_AS_ON_PRIMARY.items():
        least = None if is_outside(found, primary.name) else _becomes(primary, parameter, on_primary, found)
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


def outgrown(topology: Topology, standby: Node, found: Found) -> list[str]:
    """Parameters of which the primary will have more than this running standby has now."""
    if not found.get(standby.name, {}).get("running"):
        return []
    primary = topology.primary
    on_primary = settings(topology, primary, found)
    low = []
    for name, default in AT_LEAST_AS_ON_PRIMARY.items():
        comes = _becomes(primary, name, on_primary, found)
        if comes is not None and comes > _number(
            standby, name, _server_setting(found, standby.name, name), default
        ):
            low.append(name)
    return low


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


def is_outside(found: Found, name: str) -> bool:
    """Whether a host was looked at only because others depend on it: this run does nothing to it."""
    return bool(found.get(name, {}).get("outside"))


def first_slots(topology: Topology, this: Node, found: Found) -> list[str]:
    """Slots that a server which has yet to be made is made with: of those who are cloned from it next, in the same run.

    Not of those who need something else before, which may fail and leave a slot without a clone.
    """
    if this.role == REPLICA or not _has_no_cluster(this, found):
        return []
    return [str(other.slot) for other in topology.downstreams(this.name) if _is_cloned_next(other, found)]


def _is_cloned_next(replica: Node, found: Found) -> bool:
    here = found.get(replica.name, {})
    needs_more = here.get("missing_packages") or here.get("clone_leftovers") or tls(replica, found)
    return _has_no_cluster(replica, found) and not is_outside(found, replica.name) and not needs_more


def _has_no_cluster(node: Node, found: Found) -> bool:
    """False where nobody looked."""
    return (found.get(node.name, {}).get("data") or {}).get("state") in WITHOUT_CLUSTER


def stale_slots(topology: Topology, this: Node, found: Found) -> list[str]:
    """Slots that we once made on this node and that no replica should stream through any more."""
    here = found.get(this.name, {})
    existing = {str(row.get("slot_name")) for row in here.get("slots") or []}
    wanted = {other.slot for other in topology.downstreams(this.name)}
    return [name for name in here.get("own_slots") or [] if name in existing and name not in wanted]


def unused_slots(topology: Topology, this: Node, found: Found) -> list[str]:
    """Those of them that are proved unused: nobody streams through them, and no replica is still set up to."""
    slots = found.get(this.name, {}).get("slots") or []
    active = {row.get("slot_name") for row in slots if row.get("active")}
    others = {(node.host, str(node.port)) for node in topology.nodes.values() if node.name != this.name}
    held = [_may_hold(node, others, found) for node in topology.replicas if node.name != this.name]
    return [
        name
        for name in stale_slots(topology, this, found)
        if name not in active and not any(names is None or name in names for names in held)
    ]


def _may_hold(replica: Node, others: set[tuple[str, str]], found: Found) -> set[str] | None:
    """Slots of a node that a replica might stream through as it is set up now; None where that is not known.

    It does not where it follows one of the `others`.

    A replica that is down, or that a run did not get to, still needs the slot that it had before the inventory changed.
    """
    here = found.get(replica.name)
    if here is None:
        return None
    if _has_no_cluster(replica, found):
        return set()
    configured = (here.get("settings") or {}).get("primary_slot_name")
    follows = here.get("upstream") or {}
    elsewhere = (follows.get("host"), str(follows.get("port"))) in others
    return set() if elsewhere or not configured else {str(configured)}


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
    own = [_hba.line(rule) for rule in this["postgresql_hba"]]
    kept = [line for line in _kept_hba_lines(topology, this, found) if line not in own]
    return list(dict.fromkeys([*kept, *lines, *own]))


def _kept_hba_lines(topology: Topology, this: Node, found: Found) -> list[str]:
    """Lines for replication that are there, while it is not known from where each node connects that needs one."""
    if all(addresses(other, found) for other in topology.downstreams(this.name)):
        return []
    present = found.get(this.name, {}).get("managed_hba") or []
    return [line for line in present if line.split()[1:2] == ["replication"]]


def addresses(node: Node, found: Found) -> list[str]:
    """Where a node's connections come from: as declared, else as it sees itself, else its name.

    Nowhere, for now, where nobody could look at it and its upstream does not see it either.
    """
    if node.addresses:
        return list(node.addresses)
    try:
        return [_hba.network(str(ipaddress.ip_address(node.host)))]
    except ValueError:
        seen = found.get(node.name, {}).get("source_address") or _client_address(node, found)
        if seen:
            return [_hba.network(seen)]
        is_missed = node.name not in found and node.upstream in found
        return [] if is_missed else [node.host]


def _client_address(node: Node, found: Found) -> str | None:
    """Where its upstream sees it come from."""
    for row in found.get(str(node.upstream), {}).get("standbys") or []:
        if row.get("application_name") == node.application_name and row.get("client_address"):
            return str(row["client_address"])
    return None
