# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node should look like."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _desired, _topology

GIVEN = {"replication_password": "secret"}


def build(replica=("r",), **of_host):
    groups = {"primary": ["p"], "replica": list(replica)}
    return _topology.build(groups, {name: {**GIVEN, **of_host.get(name, {})} for name in ("p", *replica)})


def test_a_replica_knows_its_way_to_the_upstream_and_no_password():
    node = _desired.node(build(p={"replication_host": "db.example.org"}), "r", {})
    assert node["upstream"] == {
        "host": "db.example.org",
        "port": 5432,
        "user": "replicator",
        "application_name": "r",
        "sslmode": "prefer",
    }
    assert "secret" not in repr(node)


def test_the_primary_offers_a_slot_to_each_replica_that_streams_from_it():
    topology = build(replica=("r", "s"), s={"replication_upstream": "r"})
    assert [one["slot"] for one in _desired.node(topology, "p", {})["downstreams"]] == ["r"]
    assert [one["slot"] for one in _desired.node(topology, "r", {})["downstreams"]] == ["s"]


@pytest.mark.parametrize(
    ("replica", "found", "addresses"),
    [
        ({"replication_host": "10.0.0.2"}, {}, ["10.0.0.2/32"]),
        ({"replication_host": "2001:db8::2"}, {}, ["2001:db8::2/128"]),
        ({"replication_address": "samenet"}, {}, ["samenet"]),
        ({"replication_address": ["10.0.0.0/24", "10.1.0.1"]}, {}, ["10.0.0.0/24", "10.1.0.1/32"]),
        ({"replication_host": "db2"}, {"r": {"source_address": "10.0.0.9"}}, ["10.0.0.9/32"]),
        ({"replication_host": "db2"}, {}, ["db2"]),
    ],
)
def test_where_a_nodes_connections_come_from(replica, found, addresses):
    assert _desired.addresses(build(r=replica).nodes["r"], found) == addresses


def test_replication_needs_its_own_line_because_all_does_not_cover_it():
    topology = build(
        r={"replication_host": "10.0.0.2"},
        p={"postgresql_hba": [{"contype": "local", "method": "peer"}]},
    )
    assert _desired.hba_lines(topology, topology.primary, {}) == [
        'host  replication  "replicator"  10.0.0.2/32  scram-sha-256',
        "local  all  all  peer",
    ]
    assert _desired.hba_lines(topology, topology.nodes["r"], {}) == []


def tls_topology(sslmode="verify-full", settings=None, **tls):
    both = {"replication_sslmode": sslmode, "replication_tls": tls, "postgresql_settings": settings or {}}
    return build(p={**both, "replication_host": "10.0.0.1"}, r={**both, "replication_host": "10.0.0.2"})


FOUND = {name: {"data_directory": "/data"} for name in "pr"}


def test_encryption_that_is_asked_for_is_demanded():
    topology = tls_topology("require")
    assert _desired.hba_lines(topology, topology.primary, {})[0].startswith("hostssl ")


def test_tls_is_one_variable_away():
    topology = tls_topology()
    node = _desired.node(topology, "r", FOUND)
    assert node["upstream"]["sslmode"] == "verify-full"
    assert node["upstream"]["sslrootcert"] == "/data.tls/ca.pem"
    assert "sslcert" not in node["upstream"]
    assert node["tls"]["own_authority"]
    assert node["tls"]["host"] == "10.0.0.2"
    assert node["tls"]["names"] == ["IP:10.0.0.2", "DNS:10.0.0.2", "DNS:r"]
    settings = _desired.settings(topology, topology.primary, FOUND)
    assert {name: value for name, value in settings.items() if name.startswith("ssl")} == {
        "ssl": "on",
        "ssl_cert_file": "/data.tls/server.pem",
        "ssl_key_file": "/data.tls/server.pem",
    }


def test_certificates_instead_of_passwords():
    topology = tls_topology(client_certificates=True)
    node = _desired.node(topology, "r", FOUND)
    assert node["upstream"]["sslcert"] == node["upstream"]["sslkey"] == "/data.tls/client.pem"
    assert _desired.settings(topology, topology.primary, FOUND)["ssl_ca_file"] == "/data.tls/ca.pem"
    assert _desired.hba_lines(topology, topology.primary, FOUND) == [
        'hostssl  replication  "replicator"  10.0.0.2/32  cert'
    ]


def test_a_map_leads_from_certificates_to_the_role():
    files = dict.fromkeys(
        ("ca_file", "certificate_file", "key_file", "client_certificate_file", "client_key_file"), "/pki/x"
    )
    topology = tls_topology(client_certificates=True, client_map="nodes", **files)
    assert _desired.hba_lines(topology, topology.primary, FOUND)[0].endswith("cert  map=nodes")
    assert not _desired.node(topology, "r", FOUND)["tls"]["own_authority"]


@pytest.mark.parametrize(
    "topology",
    [
        tls_topology("prefer"),
        tls_topology("require", {"ssl_cert_file": "/etc/mine.crt"}),
        tls_topology("disable"),
    ],
)
def test_certificates_that_are_not_our_business_cost_nothing(topology):
    node = _desired.node(topology, "p", FOUND)
    assert node["tls"] == {}
    assert "ssl" not in node["settings"]


def test_where_nothing_is_discovered_yet_there_is_no_place_for_certificates():
    assert _desired.node(tls_topology(), "r", {})["tls"] == {}


def test_an_adopted_logical_wal_level_stays():
    topology = build()
    assert _desired.settings(topology, topology.primary, {})["wal_level"] == "replica"
    found = {"p": {"settings": {"wal_level": "logical"}}}
    assert _desired.settings(topology, topology.primary, found)["wal_level"] == "logical"


def test_the_users_settings_win():
    topology = build(p={"postgresql_settings": {"Hot_Standby": "off", "work_mem": "8MB"}})
    settings = _desired.settings(topology, topology.primary, {})
    assert settings["hot_standby"] == "off"
    assert settings["work_mem"] == "8MB"


@pytest.mark.parametrize(
    ("declared", "found", "minimums"),
    [
        ({}, {}, {}),
        ({}, {"p": {"settings": {"max_connections": "300"}}}, {"max_connections": 300}),
        (
            {"max_connections": 500},
            {"p": {"settings": {"max_connections": "300"}}},
            {"max_connections": 500},
        ),
        ({"max_worker_processes": 4}, {}, {}),
    ],
)
def test_a_replica_has_at_least_what_replay_needs(declared, found, minimums):
    topology = build(p={"postgresql_settings": declared})
    settings = _desired.settings(topology, topology.nodes["r"], found)
    assert {key: settings[key] for key in _desired.AT_LEAST_AS_ON_PRIMARY if key in settings} == minimums


@pytest.mark.parametrize(
    ("replicas", "managed", "theirs", "senders"),
    [
        (4, None, "10", None),
        (5, None, "10", 20),
        (5, None, None, 20),
        (5, None, "50", None),
        (9, "20", "20", 20),
        (10, "20", "20", 40),
        (1, "20", "20", 20),
        # Not a number of ours, so the user has taken it out of postgresql_settings.
        (1, "50", "50", None),
    ],
)
def test_a_replica_more_or_less_restarts_nobody(replicas, managed, theirs, senders):
    topology = build(replica=[f"r{number}" for number in range(replicas)])
    found = {
        "managed_settings": {"max_wal_senders": managed} if managed else {},
        "settings": {"max_wal_senders": theirs} if theirs else {},
    }
    wanted = _desired.settings(topology, topology.primary, {"p": found})
    assert wanted.get("max_wal_senders") == senders


def test_a_synchronous_name_waits_for_its_standby():
    topology = build(r={"replication_synchronous": True})
    assert "synchronous_standby_names" not in _desired.settings(topology, topology.primary, {})
    found = {"p": {"standbys": [{"application_name": "r", "state": "streaming"}]}}
    assert _desired.settings(topology, topology.primary, found)["synchronous_standby_names"] == 'ANY 1 ("r")'


@pytest.mark.parametrize(
    ("now", "declared", "raised", "kept"),
    [
        ("100", 200, {"max_connections": 200}, {}),
        ("300", 200, {}, {"max_connections": 300}),
        ("200", 200, {}, {}),
    ],
)
def test_the_direction_of_a_change_decides_who_goes_first(now, declared, raised, kept):
    both = {"postgresql_settings": {"max_connections": declared}}
    found = {"r": {"running": True, "settings": {"max_connections": now}}}
    node = _desired.node(build(p=both, r=both), "r", found)
    assert (node["raises"], node["lowers"]) == (raised, kept)
    stopped = {"r": {**found["r"], "running": False}}
    node = _desired.node(build(p=both, r=both), "r", stopped)
    assert (node["raises"], node["lowers"]) == ({}, {})


@pytest.mark.parametrize(
    ("beneath", "wanted", "raised", "kept"),
    [
        # Nothing else speaks of it: 100, the server's own default.
        ({}, None, {}, {"max_connections": 150}),
        ({"max_connections": "120"}, 120, {}, {"max_connections": 150}),
        ({"max_connections": "300"}, 300, {"max_connections": 300}, {}),
    ],
)
def test_a_parameter_that_is_declared_no_more_falls_back_on_all_nodes_in_one_run(
    beneath, wanted, raised, kept
):
    here = {
        "running": True,
        "settings": {"max_connections": "150"},
        "managed_settings": {"max_connections": "150"},
        "settings_beneath": beneath,
    }
    node = _desired.node(build(), "r", {"p": here, "r": here})
    assert (node["settings"].get("max_connections"), node["raises"], node["lowers"]) == (wanted, raised, kept)


def test_what_standbys_depend_on_is_a_number():
    topology = build(p={"postgresql_settings": {"max_connections": "many"}})
    with pytest.raises(WalstreamError, match="max_connections of 'p' is 'many'"):
        _desired.node(topology, "r", {})


ABSENT, STANDBY = {"data": {"state": "absent"}}, {"data": {"state": "standby"}}


@pytest.mark.parametrize(
    ("found", "slots"),
    [
        ({"p": ABSENT, "r": ABSENT, "s": ABSENT, "below": ABSENT}, ["r", "s"]),
        ({"p": ABSENT, "r": {"data": {"state": "empty"}}, "s": STANDBY}, ["r"]),
        ({"p": ABSENT, "r": {**ABSENT, "outside": True}}, []),
        ({"p": ABSENT, "r": {**ABSENT, "missing_packages": ["postgresql-15"]}, "s": ABSENT}, ["s"]),
        ({"p": ABSENT, "r": {**ABSENT, "clone_leftovers": ["a partial copy"]}, "s": ABSENT}, ["s"]),
        ({"p": ABSENT}, []),
        ({"p": {"data": {"state": "primary"}}, "r": ABSENT, "s": ABSENT}, []),
        ({}, []),
    ],
)
def test_a_new_primary_is_made_with_the_slots_of_those_who_are_cloned_from_it_in_the_same_run(found, slots):
    topology = build(replica=("r", "s", "below"), below={"replication_upstream": "r"})
    assert _desired.node(topology, "p", found)["first_slots"] == slots
    assert _desired.node(topology, "r", found)["first_slots"] == []


@pytest.mark.parametrize(
    ("found", "names"),
    [
        ({"p": STANDBY, "r": ABSENT, "s": ABSENT, "below": ABSENT}, ["r", "s"]),
        ({"p": ABSENT, "r": ABSENT, "s": STANDBY, "below": ABSENT}, ["r"]),
        ({"p": STANDBY, "r": STANDBY, "s": {**ABSENT, "outside": True}, "below": ABSENT}, []),
        ({"p": STANDBY, "r": {**ABSENT, "missing_packages": ["postgresql-15"]}}, []),
        ({}, []),
    ],
)
def test_only_a_new_replica_of_the_primary_is_built_at_its_own_pace(found, names):
    topology = build(replica=("r", "s", "below"), below={"replication_upstream": "r"})
    assert [name for name in topology.nodes if _desired.node(topology, name, found)["at_own_pace"]] == names


def test_a_stale_slot_is_ours_and_nobodys_any_more():
    found = {
        "p": {
            "own_slots": ["r", "gone", "dropped"],
            "slots": [{"slot_name": n} for n in ("r", "gone", "foreign")],
        }
    }
    assert _desired.node(build(), "p", found)["stale_slots"] == ["gone"]


def replica_that(state="standby", slot="r", host="p"):
    return {
        "data": {"state": state},
        "settings": {"primary_slot_name": slot} if slot else {},
        "upstream": {"host": host, "port": "5432"} if host else {},
    }


@pytest.mark.parametrize(
    ("active", "r", "s", "unused"),
    [
        pytest.param(False, replica_that(), replica_that(slot="s"), ["old"], id="all follow as declared"),
        pytest.param(True, replica_that(), replica_that(slot="s"), [], id="somebody streams through it"),
        pytest.param(False, replica_that(slot="old"), replica_that(slot="s"), [], id="not switched yet"),
        pytest.param(
            False, replica_that(slot="old", host=""), replica_that(), [], id="stopped, not switched"
        ),
        pytest.param(False, None, replica_that(slot="s"), [], id="a replica that was not looked at"),
        pytest.param(False, replica_that("absent", ""), replica_that(), ["old"], id="no data"),
        pytest.param(
            False, replica_that(), replica_that(slot="old", host="r"), ["old"], id="of that name elsewhere"
        ),
        pytest.param(False, replica_that(), replica_that(slot="old", host="x"), [], id="a former name of it"),
    ],
)
def test_a_slot_is_unused_only_where_every_replica_is_known_to_follow_another(active, r, s, unused):
    """`old` was made for one of the two before the inventory gave it another slot or upstream."""
    found = {"p": {"own_slots": ["old"], "slots": [{"slot_name": "old", "active": active}]}, "r": r, "s": s}
    topology = build(replica=("r", "s"), s={"replication_upstream": "r"})
    node = _desired.node(topology, "p", {name: one for name, one in found.items() if one})
    assert node["stale_slots"] == ["old"]
    assert node["unused_slots"] == unused


LINE = 'host  replication  "replicator"  10.0.0.9/32  scram-sha-256'
RULE = "host  replication  all  all  reject"


@pytest.mark.parametrize(
    ("seen", "streams_from", "lines"),
    [
        ({"source_address": "10.0.0.8"}, None, [LINE.replace("9/", "8/"), RULE]),
        (None, "10.0.0.7", [LINE.replace("9/", "7/"), RULE]),
        # Neither looked at nor attached: whoever was let in stays let in.
        (None, None, [LINE, RULE]),
    ],
)
def test_a_replica_that_is_away_stays_let_in(seen, streams_from, lines):
    rule = {"contype": "host", "databases": "replication", "address": "all", "method": "reject"}
    topology = build(p={"postgresql_hba": [rule]})
    standbys = [{"application_name": "r", "client_address": streams_from}] if streams_from else []
    found = {"p": {"managed_hba": [LINE, RULE], "standbys": standbys}, **({"r": seen} if seen else {})}
    assert _desired.hba_lines(topology, topology.primary, found) == lines


@pytest.mark.parametrize(
    ("delay", "late"),
    [("0", False), (0, False), ("0min", False), ("00 s", False), ("1h", True), ("0.5s", True)],
)
def test_no_delay_is_no_delay_in_any_unit(delay, late):
    """A replica that is not late on purpose has to prove that it has replayed."""
    topology = build(r={"replication_apply_delay": delay})
    node = _desired.node(topology, "r", {})
    assert node["apply_delayed"] is late
    assert ("recovery_min_apply_delay" in node["settings"]) is late


def test_a_copy_answers_as_its_primary_does():
    found = {"p": {"settings": {"timezone": "Asia/Kolkata", "lc_messages": "", "wal_level": "replica"}}}
    assert _desired.node(build(), "r", found)["initial_settings"] == {"timezone": "Asia/Kolkata"}
    assert _desired.node(build(), "p", found)["initial_settings"] == {}
