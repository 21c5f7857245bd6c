# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory declares: one primary, its replicas, and who streams from whom.

Pure: from variables to nodes, and the first contradiction as one sentence. Nothing here knows what any
server says; that is `_contradictions`' part.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.guc_file import normalized
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _hba, _tls

PRIMARY = "primary"
REPLICA = "replica"

DEFAULTS: Mapping[str, Any] = {
    "postgresql_port": 5432,
    "postgresql_settings": {},
    "postgresql_hba": [],
    "postgresql_admin_password": None,
    "replication_user": "replicator",
    "replication_password": None,
    "replication_host": None,
    "replication_address": None,
    "replication_slot": None,
    "replication_upstream": None,
    "replication_synchronous": False,
    "replication_synchronous_num": 1,
    "replication_synchronous_method": "ANY",
    "replication_apply_delay": 0,
    "replication_max_wal_keep": "10GB",
    "replication_sslmode": "prefer",
    "replication_tls": {},
}
"""Every variable of a node that other nodes depend on, with its default."""

SHARED = (
    *("postgresql_port", "postgresql_admin_password", "replication_user", "replication_password"),
    *("replication_synchronous_num", "replication_synchronous_method", "replication_max_wal_keep"),
    *("replication_sslmode", "replication_tls"),
)
"""Variables that describe the whole topology: set on a play, they hold for the nodes outside that play too."""

PLACE: Mapping[str, str] = {
    "version": "postgresql_version",
    "layout": "postgresql_layout",
    "cluster": "postgresql_cluster",
    "data_directory": "postgresql_data_directory",
    "config_directory": "postgresql_config_directory",
    "bin_directory": "postgresql_bin_directory",
    "service_unit": "postgresql_service",
    "owner": "postgresql_owner",
}
"""Where a node's cluster is: options of `cluster_info` with the variable of each, for those who look from elsewhere."""

OWN_VARIABLE = {
    "primary_conninfo": "replication_upstream and replication_host",
    "primary_slot_name": "replication_slot",
    "recovery_min_apply_delay": "replication_apply_delay",
    "synchronous_standby_names": "replication_synchronous",
    "max_slot_wal_keep_size": "replication_max_wal_keep",
    "port": "postgresql_port",
    "data_directory": "postgresql_data_directory",
}
"""Server parameters that a variable of ours stands for: a second way to set them could only contradict it."""

NAME_BYTES = 63
"""What the server keeps of a name (NAMEDATALEN - 1)."""
MAX_PORT = 65535

_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")
_HOST = re.compile(
    r"""[^\s,/@\\'"\x00-\x1f]+"""
)  # libpq takes a list, a path or a socket for more than one host name
_DELAY = re.compile(r"\d+(\.\d+)?\s*(us|ms|s|min|h|d)?")
_SIZE = re.compile(r"\d+\s*(kB|MB|GB|TB)?")


class TopologyError(WalstreamError):
    """The inventory contradicts itself; no host was touched."""


@dataclass(frozen=True)
class Node:
    """One declared server. `level` counts the steps from the primary, which is 0."""

    name: str
    role: str
    host: str
    port: int
    level: int
    upstream: str | None
    slot: str | None
    application_name: str
    addresses: tuple[str, ...]
    synchronous: bool
    variables: Mapping[str, Any]

    def __getitem__(self, variable: str) -> Any:
        return self.variables[variable]


@dataclass(frozen=True)
class Topology:
    """The declared nodes by inventory name, the primary first, then by level."""

    nodes: Mapping[str, Node]

    @property
    def primary(self) -> Node:
        return next(iter(self.nodes.values()))

    @property
    def replicas(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.role == REPLICA]

    def depends_on(self, name: str) -> list[str]:
        """The nodes that must be known in order to plan for `name`.

        A primary without data is new only where no replica holds data. A replica takes its settings from the primary,
        and its WAL from its upstream. Both let in those that stream from them, at the addresses where they are.
        """
        node = self.nodes[name]
        if node is self.primary:
            return [other.name for other in self.replicas]
        names = [self.primary.name, str(node.upstream), *(other.name for other in self.downstreams(name))]
        return list(dict.fromkeys(names))

    def downstreams(self, name: str) -> list[Node]:
        """The nodes that stream from `name` directly."""
        return [node for node in self.nodes.values() if node.upstream == name]

    @property
    def synchronous_standby_names(self) -> str:
        """The parameter's value once every declared synchronous replica streams; empty without any."""
        return synchronous_names(self, [node.name for node in self.replicas if node.synchronous])


def build(groups: Mapping[str, Sequence[str]], variables: Mapping[str, Mapping[str, Any]]) -> Topology:
    """The topology that the groups `primary` and `replica` declare.

    `variables` holds, for each of their hosts, what the inventory sets; unset ones get their default.
    """
    primary = _the_primary(groups)
    replicas = list(groups.get(REPLICA, ()))
    if primary in replicas:
        raise TopologyError(
            f"'{primary}' is in both groups 'primary' and 'replica': take it out of one of them in the inventory"
        )
    settled = {
        name: {
            **DEFAULTS,
            **{key: value for key, value in variables[name].items() if value is not None},
        }
        for name in (primary, *replicas)
    }
    for name, values in settled.items():
        values["replication_tls"] = _settled_tls(name, values)
        _check_values(name, values)
    for name in replicas:
        _check_same_password(name, settled[name], primary, settled[primary])
        _check_same_encryption(name, settled[name], primary, settled[primary])
    upstreams = {name: _upstream(name, settled[name], primary, replicas) for name in replicas}
    levels = {name: _level(name, upstreams, primary) for name in replicas}
    applications = _application_names([primary, *replicas])
    slots = _slots({name: settled[name]["replication_slot"] for name in replicas}, upstreams)
    nodes = [
        Node(
            name=name,
            role=PRIMARY if name == primary else REPLICA,
            host=str(values["replication_host"] or name),
            port=int(values["postgresql_port"]),
            level=levels.get(name, 0),
            upstream=upstreams.get(name),
            slot=slots.get(name),
            application_name=applications[name],
            addresses=_addresses(values),
            synchronous=bool(values["replication_synchronous"]) and name != primary,
            variables=values,
        )
        for name, values in settled.items()
    ]
    topology = Topology({node.name: node for node in sorted(nodes, key=lambda node: node.level)})
    _check_places(nodes)
    _check_synchronous(topology)
    return topology


def slot_name(name: str) -> str:
    """A legal slot name for an inventory name: lower case, anything else but letters and digits as `_`.

    Slot names are `[a-z0-9_]`, at most 63 long (PostgreSQL's manual, "Replication Slots").
    """
    plain = re.sub(r"[^a-z0-9_]", "_", name.lower())
    return plain if len(plain) <= NAME_BYTES else plain[:54] + "_" + _digest(name)


def application_name(name: str) -> str:
    """What a node calls itself towards its upstream.

    The server keeps 63 bytes of printable ASCII and compares without regard to case.
    """
    return name if re.fullmatch(r"[ !#-~]{1,63}", name) else slot_name(name)[:54] + "_" + _digest(name)


def _application_names(names: Sequence[str]) -> dict[str, str]:
    """Each node's, unique: two that differ in case only would be one in `synchronous_standby_names`."""
    plain = {name: application_name(name) for name in names}
    known = [one.lower() for one in plain.values()]
    return {
        name: one if known.count(one.lower()) == 1 else f"{slot_name(name)[:54]}_{_digest(name)}"
        for name, one in plain.items()
    }


def synchronous_names(topology: Topology, names: Iterable[str]) -> str:
    """`synchronous_standby_names` for these replicas; asks for no more of them than there are."""
    quoted = [f'"{topology.nodes[name].application_name}"' for name in names]
    if not quoted:
        return ""
    primary = topology.primary
    wanted = min(int(primary["replication_synchronous_num"]), len(quoted))
    return f"{primary['replication_synchronous_method']} {wanted} ({', '.join(quoted)})"


def _the_primary(groups: Mapping[str, Sequence[str]]) -> str:
    found = list(groups.get(PRIMARY, ()))
    if not found:
        raise TopologyError("the inventory has no primary: put exactly one host into the group 'primary'")
    if len(found) > 1:
        raise TopologyError(
            f"the inventory has {len(found)} primaries ({', '.join(found)}): leave one in the group 'primary' "
            "and move the others to 'replica'"
        )
    return found[0]


def _check_values(name: str, values: Mapping[str, Any]) -> None:
    """Rules about one node's own variables."""
    _check_passwords(name, values)
    _check_forms(name, values)
    arguments = (values["replication_sslmode"], values["replication_tls"], values["postgresql_settings"])
    for objection in _tls.objections(*arguments):
        raise TopologyError(f"replication_tls of '{name}' cannot be used: {objection}")
    for parameter in values["postgresql_settings"]:
        if str(parameter).lower() in OWN_VARIABLE:
            raise TopologyError(
                f"postgresql_settings of '{name}' sets {parameter}: "
                f"use {OWN_VARIABLE[str(parameter).lower()]} instead, which also tells the other nodes"
            )
    try:
        normalized(values["postgresql_settings"])
    except WalstreamError as error:
        raise TopologyError(f"postgresql_settings of '{name}' cannot be used: {error}") from None
    for rule in values["postgresql_hba"]:
        _hba.line(rule)


def _check_passwords(name: str, values: Mapping[str, Any]) -> None:
    password = values["replication_password"]
    if not password and not values["replication_tls"].get("client_certificates"):
        raise TopologyError(
            f"replication_password is {'empty' if password == '' else 'not set'} for '{name}': "
            "set it, best with Ansible Vault, for all hosts of the groups 'primary' and 'replica'"
        )
    for key in ("replication_password", "postgresql_admin_password"):
        if re.search(r"[\r\n\0]", str(values[key] or "")):
            raise TopologyError(
                f"{key} of '{name}' contains a line break or a null byte, which libpq cannot send"
            )


def _check_same_password(
    name: str, values: Mapping[str, Any], primary: str, on_primary: Mapping[str, Any]
) -> None:
    """A role has one password. A replica given another one would look fine until its next connection."""
    user = str(values["replication_user"])
    own, other = values["replication_password"], on_primary["replication_password"]
    if user == str(on_primary["replication_user"]) and own and other and str(own) != str(other):
        raise TopologyError(
            f"replication_password of '{name}' is not that of the primary '{primary}', though both mean the role "
            f"'{user}': set the same one for both, best once for the groups 'primary' and 'replica'"
        )


def _settled_tls(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return _tls.settled(values["replication_tls"])
    except WalstreamError as error:
        raise TopologyError(f"replication_tls of '{name}' cannot be used: {error}") from None


def _check_same_encryption(
    name: str, values: Mapping[str, Any], primary: str, on_primary: Mapping[str, Any]
) -> None:
    """What one end demands, the other one must be able to give."""
    own, other = values["replication_sslmode"], on_primary["replication_sslmode"]
    if (own in _tls.ENCRYPTED) != (other in _tls.ENCRYPTED):
        raise TopologyError(
            f"replication_sslmode of '{name}' is '{own}' and that of '{primary}' is '{other}': either all nodes "
            "demand encryption or none, so set it once for the groups 'primary' and 'replica'"
        )
    with_certificate = [bool(one["replication_tls"]["client_certificates"]) for one in (values, on_primary)]
    if with_certificate[0] != with_certificate[1]:
        raise TopologyError(
            f"client_certificates of replication_tls differs between '{name}' and '{primary}': set it once for the "
            "groups 'primary' and 'replica'"
        )


def _check_forms(name: str, values: Mapping[str, Any]) -> None:
    """Variables whose value has a form of its own."""
    forms: Mapping[str, tuple[Callable[[str], object], str]] = {
        "postgresql_port": (lambda value: _whole(value, 1, MAX_PORT), "a port from 1 to 65535"),
        "replication_user": (
            # community.postgresql cannot write the two into its statements.
            lambda value: 0 < len(value.strip().encode()) <= NAME_BYTES and not set(value) & {'"', "%"},
            "a role name of 1 to 63 bytes, without double quotes and percent signs",
        ),
        "replication_synchronous_method": (lambda value: value in ("ANY", "FIRST"), "ANY or FIRST"),
        "replication_synchronous_num": (lambda value: _whole(value, 1), "a whole number from 1"),
        "replication_apply_delay": (_DELAY.fullmatch, "a time such as 30min (without a unit: milliseconds)"),
        "replication_max_wal_keep": (
            _SIZE.fullmatch,
            "a size such as 10GB (an unlimited slot can fill the disk)",
        ),
        "replication_sslmode": (lambda value: value in _tls.MODES, f"one of {', '.join(_tls.MODES)}"),
    }
    for variable, (fits, wanted) in forms.items():
        if not fits(str(values[variable])):
            raise _bad_value(name, values, variable, wanted)
    host = str(values["replication_host"] or name)
    if not _HOST.fullmatch(host):
        raise _bad_value(
            name,
            {"replication_host": host},
            "replication_host",
            "one host name or address, without spaces, commas, slashes and quotes",
        )
    slot = values["replication_slot"]
    if slot is not None and not _SLOT_NAME.fullmatch(str(slot)):
        raise _bad_value(
            name, values, "replication_slot", "1 to 63 lower-case letters, digits and underscores"
        )


def _whole(value: str, least: int, most: int | None = None) -> bool:
    return value.isdigit() and int(value) >= least and (most is None or int(value) <= most)


def _bad_value(name: str, values: Mapping[str, Any], variable: str, wanted: str) -> TopologyError:
    return TopologyError(f"{variable} of '{name}' is {values[variable]!r}: it must be {wanted}")


def _upstream(name: str, values: Mapping[str, Any], primary: str, replicas: Sequence[str]) -> str:
    upstream = values["replication_upstream"] or primary
    if upstream not in (primary, *replicas):
        raise TopologyError(
            f"replication_upstream of '{name}' is '{upstream}', which is in neither of the groups 'primary' and "
            "'replica': name one of their hosts"
        )
    return str(upstream)


def _level(name: str, upstreams: Mapping[str, str], primary: str) -> int:
    path = [name]
    while path[-1] != primary:
        following = upstreams[path[-1]]
        if following in path:
            raise TopologyError(
                f"the replicas stream in a circle ({' -> '.join([*path, following])}): "
                "point replication_upstream of one of them at the primary"
            )
        path.append(following)
    return len(path) - 1


def _slots(declared: Mapping[str, str | None], upstreams: Mapping[str, str]) -> dict[str, str]:
    """Each replica's slot, unique on its upstream: two names that look alike as slots get a digest."""
    derived = {name: str(slot or slot_name(name)) for name, slot in declared.items()}
    slots = {}
    for name, slot in derived.items():
        rivals = [
            other
            for other, its_slot in derived.items()
            if other != name and its_slot == slot and upstreams[other] == upstreams[name]
        ]
        if not rivals or slot == name or declared[name]:
            slots[name] = slot
        else:
            slots[name] = slot[:54] + "_" + _digest(name)
    users: dict[tuple[str, str], str] = {}
    for name, slot in slots.items():
        other = users.setdefault((upstreams[name], slot), name)
        if other != name:
            raise TopologyError(
                f"'{other}' and '{name}' share the slot '{slot}' on '{upstreams[name]}': "
                "a slot serves one replica, so give one of them another replication_slot"
            )
    return slots


def _addresses(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a node's connections come from, if the inventory says so."""
    declared = values["replication_address"]
    if not declared:
        return ()
    return tuple(_hba.network(str(item)) for item in ([declared] if isinstance(declared, str) else declared))


def _check_places(nodes: Sequence[Node]) -> None:
    """Two clusters cannot listen in one place."""
    taken: dict[tuple[str, int], str] = {}
    for node in nodes:
        other = taken.setdefault((node.host, node.port), node.name)
        if other != node.name:
            raise TopologyError(
                f"'{other}' and '{node.name}' both listen on {node.host}, port {node.port}: "
                "give one of them another postgresql_port or replication_host"
            )


def _check_synchronous(topology: Topology) -> None:
    synchronous = [node for node in topology.replicas if node.synchronous]
    for node in synchronous:
        if node.level > 1:
            raise TopologyError(
                f"'{node.name}' is synchronous and streams from '{node.upstream}': a primary only waits for replicas "
                "that stream from itself, so remove replication_synchronous or replication_upstream"
            )
    wanted = int(topology.primary["replication_synchronous_num"])
    if synchronous and wanted > len(synchronous):
        raise TopologyError(
            f"replication_synchronous_num is {wanted}, but only {len(synchronous)} replicas are synchronous: "
            "every commit would wait for ever, so lower it or make more replicas synchronous"
        )


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]
