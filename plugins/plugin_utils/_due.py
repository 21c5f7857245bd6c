# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left to do on a node: from what it should be and what was discovered to steps, each with its reason.

Pure. A step is left out only where everything that it would look at is known to be as declared; whatever is not known
for sure is due, and the module that carries it out looks again for itself. Where any step is due, each replica proves
itself when the steps are done; where none is, `_proof` says what was proved already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.guc_file import normalized
from ansible_collections.walstream.postgresql.plugins.plugin_utils._topology import (
    PRIMARY,
    Node,
    Topology,
)

Found = Mapping[str, Mapping[str, Any]]

CERTIFICATES = "certificates"
NOT_LOOKED_AT = "nobody looked at this host yet"


@dataclass(frozen=True)
class View:
    """One node, as it should be and as it was found."""

    topology: Topology
    node: Node
    desired: Mapping[str, Any]
    found: Found

    @property
    def here(self) -> Mapping[str, Any]:
        return self.found[self.node.name]

    def of(self, name: str | None) -> Mapping[str, Any]:
        """What was found on another node; empty where nobody looked."""
        return self.found.get(str(name), {})


Reasons = Callable[[View], Iterator[str]]


def steps(topology: Topology, node: Node, desired: Mapping[str, Any], found: Found) -> dict[str, str]:
    """The steps that are due on a node, in their order, each with the first reason for it.

    `desired` is what `_desired.node` says of it, `found` what `cluster_info` discovered, by inventory name.
    """
    every = _PRIMARY_STEPS if node.role == PRIMARY else _REPLICA_STEPS
    if node.name not in found:
        return dict.fromkeys(every, NOT_LOOKED_AT)
    view = View(topology, node, desired, found)
    firsts = {step: next(reasons(view), "") for step, reasons in every.items()}
    return {step: reason for step, reason in firsts.items() if reason}


def is_synchronous_due(topology: Topology, desired: Mapping[str, Any]) -> bool:
    """Whether the primary's own turn leaves out synchronous replicas, because they did not stream before it.

    `desired` is what `_desired.node` says of the primary. What its settings file says now does not matter: a replica
    that was down is taken out of it in that turn, and streams again when the replicas have had theirs.
    """
    return desired["settings"].get("synchronous_standby_names", "") != topology.synchronous_standby_names


def _packages(view: View) -> Iterator[str]:
    missing = view.here.get("missing_packages")
    if missing:
        yield f"packages are missing: {', '.join(missing)}"


def _certificates(view: View) -> Iterator[str]:
    if view.desired["tls"]:
        yield "certificates are held against their files in every run"


def _passfile(view: View) -> Iterator[str]:
    if not view.here.get("passfile_current"):
        yield "the password file is not as declared"


def _slot(view: View) -> Iterator[str]:
    upstream, slot = view.node.upstream, view.node.slot
    if not view.of(upstream).get("reachable"):
        yield f"the slots of '{upstream}' are not known"
        return
    rows = [row for row in view.of(upstream)["slots"] if row["slot_name"] == slot]
    if not rows:
        yield f"'{upstream}' has no slot '{slot}'"
    elif rows[0]["slot_type"] != "physical" or rows[0]["wal_status"] == "lost" or not rows[0]["restart_lsn"]:
        yield f"the slot '{slot}' of '{upstream}' keeps no WAL for this replica"


def _clone(view: View) -> Iterator[str]:
    data, primary = view.here.get("data") or {}, view.topology.primary.name
    if data.get("state") != "standby":
        yield f"the data directory is {data.get('state')}"
    if view.here.get("clone_leftovers"):
        yield f"there is {view.here['clone_leftovers'][0]} of a base backup"
    if data.get("system_identifier") != view.of(primary).get("system_identifier"):
        yield f"its system is not known to be that of '{primary}'"
    if (view.here.get("receiver") or {}).get("status") != "streaming":
        yield "it does not stream"


def _server(view: View) -> Iterator[str]:
    here = view.here
    if not here.get("reachable"):
        yield f"the server could not be asked: {here.get('unreachable_because', 'it does not run')}"
        return
    yield from _settings(view)
    yield from _way_to_upstream(view)
    if here["managed_hba"] != view.desired["hba"]:
        yield "the rules in pg_hba.conf are not as declared"
    for key, trouble in (
        ("overridden_settings", "other files overrule"),
        ("configuration_problems", "its configuration cannot be read:"),
        ("unloaded_files", "the server has not loaded"),
        ("pending_restart", "a restart is due for"),
    ):
        if here[key]:
            yield f"{trouble} {', '.join(here[key])}"


def _settings(view: View) -> Iterator[str]:
    """Where our settings file differs. It is shown with passwords masked, so one that holds any counts as different."""
    managed, beneath = view.here["managed_settings"], view.here["settings_beneath"]
    wanted = {
        name: value for name, value in normalized(view.desired["settings"]).items() if value is not None
    }
    for name, value in normalized(view.desired["defaults"]).items():
        if name not in beneath and value is not None:
            wanted.setdefault(name, value)
    wanted["port"] = str(view.node.port)
    # How a standby reaches its upstream is compared as the server has it.
    wanted.update(
        {name: managed[name] for name in ("primary_conninfo", "primary_slot_name") if name in managed}
    )
    differing = sorted(name for name in {*managed, *wanted} if managed.get(name) != wanted.get(name))
    if differing:
        yield f"settings are not as declared: {', '.join(differing)}"


def _way_to_upstream(view: View) -> Iterator[str]:
    desired, here = view.desired["upstream"] or {}, view.here
    wanted = {key: str(value) for key, value in desired.items() if value not in (None, "")}
    if wanted and not view.desired["client_certificates"]:
        wanted["passfile"] = f"{here['data_directory']}.pgpass"
    if here["upstream"] != wanted:
        yield "primary_conninfo is not as declared"
    if (here["settings"].get("primary_slot_name") or "") != (view.node.slot or ""):
        yield "primary_slot_name is not as declared"
    if bool(wanted) != ("primary_conninfo" in here["managed_settings"]):
        yield "primary_conninfo is set elsewhere"


def _logins(view: View) -> Iterator[str]:
    if not view.here.get("reachable"):
        yield "the server could not be asked about its roles"
    elif view.here["stale_logins"]:
        yield f"roles are not as declared: {', '.join(view.here['stale_logins'])}"


_PRIMARY_STEPS: Mapping[str, Reasons] = {
    "packages": _packages,
    CERTIFICATES: _certificates,
    "server": _server,
    "logins": _logins,
}
_REPLICA_STEPS: Mapping[str, Reasons] = {
    "packages": _packages,
    CERTIFICATES: _certificates,
    "passfile": _passfile,
    "slot": _slot,
    "clone": _clone,
    "server": _server,
}
