# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps are due: none where everything is as declared, and the right one for each thing that is not."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _desired, _due, _topology

GROUPS = {"primary": ["p"], "replica": ["r"]}
SHARED = {"replication_password": "secret", "replication_address": "samenet"}


def topology(**replica):
    return _topology.build(GROUPS, {"p": dict(SHARED), "r": {**SHARED, **replica}})


def as_declared(declared):
    """What `cluster_info` finds on both hosts after a run."""
    found = {}
    for name, node in declared.nodes.items():
        desired = _desired.node(declared, name, {})
        data_directory = f"/data/{name}"
        managed = {key: str(value) for key, value in desired["settings"].items()}
        managed |= {"listen_addresses": "*", "port": str(node.port)}
        upstream = {key: str(value) for key, value in (desired["upstream"] or {}).items()}
        if upstream:
            upstream["passfile"] = f"{data_directory}.pgpass"
            managed |= {"primary_conninfo": "as text", "primary_slot_name": node.slot}
        found[name] = {
            "data_directory": data_directory,
            "missing_packages": [],
            "running": True,
            "reachable": True,
            "managed_settings": managed,
            "settings_beneath": {"max_connections": "100"},
            "overridden_settings": [],
            "configuration_problems": [],
            "unloaded_files": [],
            "pending_restart": [],
            "managed_hba": desired["hba"],
            "settings": {"primary_slot_name": node.slot or "", "wal_level": "replica"},
            "system_identifier": "1",
            "upstream": upstream,
            "slots": [
                {
                    "slot_name": one["slot"],
                    "slot_type": "physical",
                    "wal_status": "reserved",
                    "restart_lsn": "0/1",
                }
                for one in desired["downstreams"]
            ],
            "standbys": [],
            "stale_logins": [],
            "passfile_current": True if upstream else None,
            "clone_leftovers": [],
            "receiver": {"status": "streaming"} if upstream else None,
            "data": {"state": "standby" if upstream else "primary", "system_identifier": "1"},
        }
    return found


def due(declared, name, found):
    return _desired.node(declared, name, found)["due"]


def changed(found, name, path, value):
    """A copy of what was found on one host, with one thing different."""
    found = copy.deepcopy(found)
    *parents, last = path.split(".")
    place = found[name]
    for parent in parents:
        place = place[int(parent) if isinstance(place, list) else parent]
    place[last] = value
    return found


def test_nothing_is_due_where_everything_is_as_declared():
    declared = topology()
    found = as_declared(declared)
    assert [due(declared, name, found) for name in ("p", "r")] == [{}, {}]


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("p", ["packages", "certificates", "server", "logins"]),
        ("r", ["packages", "certificates", "passfile", "slot", "clone", "server"]),
    ],
)
def test_everything_is_due_where_nobody_looked(name, steps):
    assert list(due(topology(), name, {})) == steps


@pytest.mark.parametrize(
    ("host", "path", "value", "on", "steps"),
    [
        pytest.param("p", "missing_packages", ["postgresql-15"], "p", ["packages"], id="a package"),
        pytest.param("p", "managed_settings.wal_level", "minimal", "p", ["server"], id="a setting"),
        pytest.param("p", "managed_settings.work_mem", "8MB", "p", ["server"], id="one too many"),
        pytest.param("p", "managed_settings", {}, "p", ["server"], id="none"),
        pytest.param(
            "p", "settings_beneath", {"listen_addresses": "x"}, "p", ["server"], id="no default needed"
        ),
        pytest.param("p", "managed_settings.port", "5433", "p", ["server"], id="port"),
        pytest.param("p", "managed_hba", [], "p", ["server"], id="rules"),
        pytest.param("p", "overridden_settings", ["wal_level"], "p", ["server"], id="ALTER SYSTEM"),
        pytest.param("p", "unloaded_files", ["/etc/pg_hba.conf"], "p", ["server"], id="not loaded"),
        pytest.param("p", "pending_restart", ["wal_level"], "p", ["server"], id="a restart"),
        pytest.param("p", "configuration_problems", ["no file"], "p", ["server"], id="a broken include"),
        pytest.param("p", "stale_logins", ["replicator"], "p", ["logins"], id="a password"),
        pytest.param("p", "reachable", False, "p", ["server", "logins"], id="a primary that is down"),
        pytest.param("p", "reachable", False, "r", ["slot"], id="an upstream that is down"),
        pytest.param("p", "slots", [], "r", ["slot"], id="no slot"),
        pytest.param("p", "slots.0.wal_status", "lost", "r", ["slot"], id="a lost slot"),
        pytest.param("p", "slots.0.restart_lsn", None, "r", ["slot"], id="an empty slot"),
        pytest.param("p", "slots.0.slot_type", "logical", "r", ["slot"], id="a logical slot"),
        pytest.param("p", "system_identifier", "2", "r", ["clone"], id="another system"),
        pytest.param("r", "data.state", "partial", "r", ["clone"], id="a torn clone"),
        pytest.param("r", "clone_leftovers", ["/x"], "r", ["clone"], id="a workspace"),
        pytest.param("r", "receiver", None, "r", ["clone"], id="no receiver"),
        pytest.param("r", "receiver.status", "waiting", "r", ["clone"], id="no stream"),
        pytest.param("r", "passfile_current", False, "r", ["passfile"], id="another password"),
        pytest.param("r", "upstream.host", "elsewhere", "r", ["server"], id="another upstream"),
        pytest.param("r", "upstream.passfile", "/p", "r", ["server"], id="another password file"),
        pytest.param("r", "settings.primary_slot_name", "", "r", ["server"], id="another slot"),
        pytest.param("p", "upstream", {"host": "x"}, "p", ["server"], id="a primary told to follow"),
        pytest.param("p", "settings.primary_slot_name", "x", "p", ["server"], id="a primary with a slot"),
    ],
)
def test_what_is_due(host, path, value, on, steps):
    declared = topology()
    reasons = due(declared, on, changed(as_declared(declared), host, path, value))
    assert list(reasons) == steps
    assert all(reasons.values())


def test_a_setting_that_is_shown_masked_counts_as_different():
    declared = topology(postgresql_settings={"archive_command": "push password=x"})
    found = changed(as_declared(declared), "r", "managed_settings.archive_command", "push password=********")
    assert list(due(declared, "r", found)) == ["server"]


@pytest.mark.parametrize("named", ["", 'ANY 1 ("r")', 'ANY 1 ("x")'])
@pytest.mark.parametrize(("streams", "expected"), [(True, False), (False, True)])
def test_synchronous_names_are_due_after_the_replicas_for_those_that_did_not_stream(named, streams, expected):
    """Whatever the file says: the primary's own turn names those that stream."""
    declared = topology(replication_synchronous=True)
    standbys = [{"application_name": "r", "state": "streaming"}] if streams else []
    found = {"p": {"managed_settings": {"synchronous_standby_names": named}, "standbys": standbys}}
    desired = _desired.node(
        declared, "p", {**as_declared(declared), "p": {**as_declared(declared)["p"], **found["p"]}}
    )
    assert _due.is_synchronous_due(declared, desired) is expected


def test_no_synchronous_names_are_due_without_any():
    declared = topology()
    assert not _due.is_synchronous_due(declared, _desired.node(declared, "p", as_declared(declared)))


LATE = {"replication_apply_delay": "1h"}


def declaring(p=(), r=()):
    return _topology.build(GROUPS, {"p": {**SHARED, **dict(p)}, "r": {**SHARED, **dict(r)}})


@pytest.mark.parametrize(
    ("before", "now", "on"),
    [
        pytest.param({}, {"r": LATE}, ["r"], id="a delay"),
        pytest.param({"r": LATE}, {}, ["r"], id="a delay no more"),
        pytest.param(
            {}, {"p": {"replication_host": "elsewhere"}}, ["r"], id="another address of the upstream"
        ),
        pytest.param({}, {"p": {"postgresql_port": 5433}}, ["p", "r"], id="another port of the upstream"),
        pytest.param({}, {"r": {"replication_slot": "other"}}, ["r"], id="another slot"),
        pytest.param({}, {"r": {"replication_address": "10.0.0.1"}}, ["p"], id="another way in"),
        pytest.param(
            {},
            {name: {"replication_sslmode": "require"} for name in ("p", "r")},
            ["p", "r"],
            id="encryption",
        ),
        pytest.param(
            {}, {name: {"replication_user": "other"} for name in ("p", "r")}, ["p", "r"], id="another role"
        ),
        pytest.param(
            {"p": {"postgresql_settings": {"work_mem": "1GB"}}},
            {"p": {"postgresql_settings": {"work_mem": "1024MB"}}},
            ["p"],
            id="the same in another unit, to be on the safe side",
        ),
        pytest.param({"p": {"postgresql_settings": {"work_mem": "8MB"}}}, {}, ["p"], id="a setting no more"),
        pytest.param(
            {}, {"p": {"postgresql_settings": {"max_connections": 200}}}, ["p", "r"], id="a standby's minimum"
        ),
    ],
)
def test_what_is_declared_anew_is_due(before, now, on):
    found = as_declared(declaring(**before))
    declared = declaring(**now)
    assert [name for name in ("p", "r") if "server" in due(declared, name, found)] == on
