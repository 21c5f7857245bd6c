# SPDX-License-Identifier: GPL-3.0-or-later
"""Where inventory and servers contradict each other, and where they do not."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _contradictions, _topology

SYSTEM = "7300000000000000001"


def topology(**replica):
    given = {"replication_password": "secret"}
    return _topology.build({"primary": ["p"], "replica": ["r"]}, {"p": given, "r": {**given, **replica}})


def host(state, running=True, system=SYSTEM, timeline=1, version="15"):
    data = {"path": "/data", "state": state, "running": running, "reason": "it holds other files"}
    if state in ("primary", "standby"):
        data.update(system_identifier=system, timeline=timeline)
    return {"data": data, "version": version}


PRIMARY, STANDBY = host("primary"), host("standby")
ABSENT, EMPTY, PARTIAL = host("absent", False), host("empty", False), host("partial", False)

HARMLESS = {
    "a fresh topology": (ABSENT, ABSENT),
    "a fresh replica": (PRIMARY, EMPTY),
    "an interrupted clone": (PRIMARY, PARTIAL),
    "all is well": (PRIMARY, STANDBY),
    "everything is stopped": (host("primary", False), host("standby", False)),
}


@pytest.mark.parametrize(("primary", "replica"), HARMLESS.values(), ids=HARMLESS.keys())
def test_nothing_to_object_to(primary, replica):
    assert _contradictions.first(topology(), {"p": primary, "r": replica}) is None


REFUSED = {
    "live primary as replica": (
        PRIMARY,
        host("primary"),
        "'r' is listed as replica, but a live primary of the same",
    ),
    "live foreign primary": (PRIMARY, host("primary", system="9"), "of another system"),
    "groups swapped": (STANDBY, PRIMARY, "put 'r' into the group 'primary' and 'p' into 'replica'"),
    "standby as primary": (STANDBY, STANDBY, "'p' is listed as primary, but /data holds a standby"),
    "primary lost": (ABSENT, STANDBY, "a new primary would start empty"),
    "primary lost, replica stopped": (
        EMPTY,
        host("standby", False),
        "a new primary would start empty",
    ),
    "primary lost, replica holds something else": (
        ABSENT,
        host("unknown", False),
        "/data on 'r' it holds other files: that may be all that is left, and a new primary would start empty",
    ),
    "primary partial": (PARTIAL, ABSENT, "no complete cluster"),
    "primary unknown": (
        host("unknown", False),
        ABSENT,
        "no complete cluster .it holds other files",
    ),
    "foreign standby": (PRIMARY, host("standby", system="9"), "replication_replace: '9'"),
    "foreign files": (PRIMARY, host("unknown", False), "it holds other files"),
    "former primary": (
        PRIMARY,
        host("primary", False),
        "may hold transactions that no other server has",
    ),
    "newer timeline": (PRIMARY, host("standby", timeline=2), "timeline 2, newer than timeline 1"),
    "password expired": (
        {**PRIMARY, "expired_logins": {"replicator": "2026-01-01 00:00:00+00"}},
        STANDBY,
        'ALTER ROLE "replicator" VALID UNTIL',
    ),
    "versions": (PRIMARY, {**ABSENT, "version": "17"}, "15 on 'p', 17 on 'r'"),
}


@pytest.mark.parametrize(("primary", "replica", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_a_contradiction_is_refused_in_one_sentence(primary, replica, sentence):
    found = _contradictions.first(topology(), {"p": primary, "r": replica})
    assert found is not None
    assert sentence.replace(".", "") in found.replace("(", "").replace(".", "")
    assert "\n" not in found


@pytest.mark.parametrize(
    "replica", [host("primary", False), host("standby", False, system=SYSTEM, timeline=2)]
)
def test_consent_names_exactly_what_is_given_up(replica):
    found = {"p": PRIMARY, "r": replica}
    assert _contradictions.first(topology(replication_replace=SYSTEM), found) is None
    assert _contradictions.first(topology(replication_replace="1"), found) is not None


def test_what_has_expired_does_not_matter_to_others():
    """Another role's password, and one that is not used because certificates are."""
    expired = {"replicator": "2026-01-01 00:00:00+00"}
    certificates = {"replication_sslmode": "verify-full", "replication_tls": {"client_certificates": True}}
    given = {"replication_password": "secret", **certificates}
    declared = _topology.build({"primary": ["p"], "replica": ["r"]}, {"p": given, "r": given})
    found = {"p": {**PRIMARY, "expired_logins": expired}, "r": STANDBY}
    assert _contradictions.first(declared, found) is None
    other = {**PRIMARY, "expired_logins": {"postgres": "2026-01-01 00:00:00+00"}}
    assert _contradictions.first(topology(), {"p": other, "r": STANDBY}) is None


def test_no_consent_covers_a_running_server():
    found = {"p": PRIMARY, "r": host("primary")}
    assert _contradictions.first(topology(replication_replace=SYSTEM), found) is not None


def test_nothing_is_concluded_about_hosts_that_were_not_looked_at():
    assert _contradictions.first(topology(), {"r": STANDBY}) is None
    assert _contradictions.first(topology(), {"p": PRIMARY}) is None


@pytest.mark.parametrize(
    ("address", "comes_from", "fits"),
    [
        ("10.0.0.2", "10.0.0.2", True),
        (["10.1.0.0/16", "10.0.0.0/24"], "10.0.0.2", True),
        ("samenet", "10.0.0.2", True),
        (".example.org", "10.0.0.2", True),
        ("2001:db8::/64", "2001:db8::9", True),
        ("192.0.2.7", None, True),
        ("192.0.2.7", "10.0.0.2", False),
        ("10.0.0.0/24", "2001:db8::9", False),
    ],
)
def test_a_replica_that_streams_is_not_shut_out(address, comes_from, fits):
    standbys = [{"application_name": "r", "client_address": comes_from}, {"application_name": "x"}]
    found = {"p": {**PRIMARY, "standbys": standbys}, "r": STANDBY}
    sentence = _contradictions.first(topology(replication_address=address), found)
    assert sentence is None if fits else f"streams from {comes_from}" in sentence


@pytest.mark.parametrize(
    ("p", "r", "is_one"),
    [
        ({}, {}, False),
        ({"ansible_host": "db1"}, {"ansible_host": "db1"}, True),
        ({}, {"ansible_host": "p"}, True),
        ({"ansible_port": 2201, "ansible_host": "lab"}, {"ansible_port": 2202, "ansible_host": "lab"}, False),
    ],
)
def test_two_clusters_of_one_host_need_two_data_directories(p, r, is_one):
    given = {"replication_password": "secret", "replication_host": "x"}
    declared = _topology.build(
        {"primary": ["p"], "replica": ["r"]},
        {"p": {**given, **p}, "r": {**given, **r, "postgresql_port": 5433}},
    )
    found = {"p": {**ABSENT, "data_directory": "/data"}, "r": {**ABSENT, "data_directory": "/data"}}
    sentence = _contradictions.first(declared, found)
    assert ("share the data directory /data" in str(sentence)) is is_one
    found["r"]["data_directory"] = "/elsewhere"
    assert _contradictions.first(declared, found) is None
