# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of the plan: only it sees every host's variables. No host is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.plugin_utils import (
    _contradictions,
    _desired,
    _due,
    _outside,
    _proof,
    _report,
    _topology,
)

READ = (*_topology.DEFAULTS, *_topology.PLACE.values(), "replication_replace", "ansible_host", "ansible_port")

TRACES = (
    *("_booted", "_installed", "_tls_files", "_served", "_given_passwords"),
    *("_stored_password", "_slot", "_basebackup"),
)
"""What tasks of ours register that may have changed a host or made its container."""


class ActionModule(ActionBase):
    """Reads the declared topology and, where `found` names it, holds it against what was discovered."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec({"found": {"type": "str"}})
        task_vars = task_vars or {}
        try:
            topology = self._declared(task_vars)
            found, unseen = self._found(topology, arguments["found"], task_vars)
            contradiction = _contradictions.first(topology, found) or _outside.first(
                topology, found, unseen, is_whole=self._is_whole(task_vars)
            )
            if contradiction:
                raise WalstreamError(contradiction + self._what_was_changed(task_vars))
            planned = {name: _desired.node(topology, name, found) for name in topology.nodes}
            nodes = _proof.added(topology, planned, found)
            result["topology"] = {
                "primary": topology.primary.name,
                "levels": self._levels(topology),
                "synchronous_standby_names": topology.synchronous_standby_names,
                "synchronous_is_due": _due.is_synchronous_due(topology, nodes[topology.primary.name]),
                "is_as_declared": not any({*node["due"]} - {_due.CERTIFICATES} for node in planned.values()),
                "nodes": nodes,
                "report": self._said(nodes, found, task_vars) if found else {},
            }
        except WalstreamError as error:
            raise AnsibleActionFail(str(error)) from None
        result["changed"] = False
        return result

    def _declared(self, task_vars: Mapping[str, Any]) -> _topology.Topology:
        members = self._members(task_vars)
        here = task_vars.get("inventory_hostname")
        hostvars = task_vars["hostvars"]
        of_the_play = self._of_the_play(task_vars, hostvars[here], _topology.SHARED)
        places = self._of_the_play(task_vars, hostvars[here], tuple(_topology.PLACE.values()))
        variables: dict[str, dict[str, Any]] = {}
        for name in members:
            of_host = hostvars[name]  # each look-up gathers all its variables anew
            values = {key: of_host[key] for key in READ if key in of_host}
            values.update(of_the_play)
            if name == here:
                values.update({key: self._template(task_vars[key]) for key in READ if key in task_vars})
            values.setdefault("replication_host", of_host.get("ansible_host", name))
            for key, value in places.items():
                values.setdefault(key, value)
            variables[name] = values
        if here not in members and here != "localhost":
            raise WalstreamError(
                f"'{here}' is in neither of the groups 'primary' and 'replica': add it to one of them"
            )
        return _topology.build(task_vars.get("groups", {}), variables)

    @staticmethod
    def _members(task_vars: Mapping[str, Any]) -> list[str]:
        groups = task_vars.get("groups", {})
        return [*groups.get(_topology.PRIMARY, ()), *groups.get(_topology.REPLICA, ())]

    def _of_the_play(
        self, task_vars: Mapping[str, Any], own: Mapping[str, Any], keys: Sequence[str]
    ) -> dict[str, Any]:
        """Those of the variables that a play or a role call sets: the inventory of the other hosts lacks them."""
        return {
            key: self._template(task_vars[key])
            for key in keys
            if key in task_vars and (key not in own or own[key] != self._template(task_vars[key]))
        }

    def _what_was_changed(self, task_vars: Mapping[str, Any]) -> str:
        """A later look of the same run finds hosts on which it may have been at work."""
        hosts = [task_vars["hostvars"][name] for name in self._members(task_vars)]
        was_at_work = any(trace in host for host in hosts for trace in TRACES)
        is_later = bool(self._template(task_vars.get("cluster_is_discovered")))
        return "" if is_later or was_at_work else "; nothing was changed"

    def _said(
        self, nodes: Mapping[str, Any], found: Mapping[str, Any], task_vars: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What there is to say of the hosts for which this task speaks, by name."""
        spoken_for = (
            task_vars["ansible_play_hosts"]
            if self._is_whole(task_vars)
            else [task_vars["inventory_hostname"]]
        )
        said = {name: _report.of(nodes[name], found.get(name, {})) for name in spoken_for if name in nodes}
        return {name: one for name, one in said.items() if one}

    def _is_whole(self, task_vars: Mapping[str, Any]) -> bool:
        return bool(self._template(task_vars.get("cluster_play_is_whole")))

    def _template(self, value: Any) -> Any:
        return self._templar.template(value)

    @staticmethod
    def _found(
        topology: _topology.Topology, variable: str | None, task_vars: Mapping[str, Any]
    ) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
        """What earlier tasks registered under `variable`, by host, and why others outside this run were not seen."""
        found: dict[str, Mapping[str, Any]] = {}
        unseen: dict[str, str] = {}
        for name in topology.nodes if variable else ():
            one = task_vars["hostvars"][name].get(variable, {})
            outside = bool(one.get("outside"))
            if "cluster_info" in one:
                found[name] = {**one["cluster_info"], "outside": outside}
            elif outside:
                unseen[name] = " ".join(str(one.get("msg", "no answer")).split())
        return found, unseen

    @staticmethod
    def _levels(topology: _topology.Topology) -> list[list[str]]:
        """Replicas in the order in which they can be built: each level streams from the one before."""
        deepest = max(node.level for node in topology.nodes.values())
        return [
            [node.name for node in topology.replicas if node.level == level]
            for level in range(1, deepest + 1)
        ]
