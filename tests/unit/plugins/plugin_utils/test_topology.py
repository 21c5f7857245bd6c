# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory may declare, and the sentence for each way to get it wrong."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _topology

GIVEN = {"replication_password": "secret"}


def build(primary=("p",), replica=("a", "b"), **of_host):
    """A topology from two groups, with variables for some hosts."""
    groups = {"primary": list(primary), "replica": list(replica)}
    variables = {name: {**GIVEN, **of_host.get(name.replace("-", "_"), {})} for name in (*primary, *replica)}
    return _topology.build(groups, variables)


def test_replicas_stream_from_the_primary_through_a_slot_of_their_own():
    topology = build()
    assert topology.primary.name == "p"
    assert [(node.name, node.upstream, node.slot, node.level) for node in topology.replicas] == [
        ("a", "p", "a", 1),
        ("b", "p", "b", 1),
    ]


def test_a_cascade_is_ordered_by_its_distance_from_the_primary():
    topology = build(
        replica=("c", "b", "a"), c={"replication_upstream": "b"}, b={"replication_upstream": "a"}
    )
    assert [(node.name, node.level) for node in topology.nodes.values()] == [
        ("p", 0),
        ("a", 1),
        ("b", 2),
        ("c", 3),
    ]
    assert [node.name for node in topology.downstreams("a")] == ["b"]


@pytest.mark.parametrize(
    ("name", "slot"),
    [
        ("replica", "replica"),
        ("db-2.example.org", "db_2_example_org"),
        ("DB2", "db2"),
        ("é", "_"),
        ("x" * 70, "x" * 54 + "_" + _topology._digest("x" * 70)),
    ],
)
def test_slot_names_are_legal(name, slot):
    assert _topology.slot_name(name) == slot
    assert len(slot) <= 63


def test_names_that_look_alike_as_slots_get_slots_of_their_own():
    slots = [node.slot for node in build(replica=("db-2", "db_2", "db.2")).replicas]
    assert "db_2" in slots
    assert len(set(slots)) == 3


def test_a_slot_named_by_a_number_is_a_name():
    topology = _topology.build(
        {"primary": ["p"], "replica": ["r"]}, {"p": GIVEN, "r": {**GIVEN, "replication_slot": 7}}
    )
    assert topology.nodes["r"].slot == "7"


def test_one_slot_name_on_two_upstreams_is_no_collision():
    slot = {"replication_slot": "s"}
    topology = build(a=slot, b={**slot, "replication_upstream": "a"})
    assert [node.slot for node in topology.replicas] == ["s", "s"]


@pytest.mark.parametrize("name", ["replica-1", "Replica.1", "r" * 63])
def test_an_inventory_name_is_the_application_name_where_the_server_keeps_it(name):
    assert _topology.application_name(name) == name


@pytest.mark.parametrize("name", ["r" * 64, "é", 'a"b', "tab\tbed"])
def test_other_names_are_made_fit_for_the_server(name):
    fit = _topology.application_name(name)
    assert fit.isascii()
    assert len(fit) <= 63
    assert fit != name


def test_synchronous_names():
    sync = {"replication_synchronous": True}
    assert build().synchronous_standby_names == ""
    assert build(a=sync, b=sync).synchronous_standby_names == 'ANY 1 ("a", "b")'
    first = {"replication_synchronous_method": "FIRST", "replication_synchronous_num": 2}
    assert build(a=sync, b=sync, p=first).synchronous_standby_names == 'FIRST 2 ("a", "b")'


WRONG = {
    "no primary": ({"primary": ()}, "no primary"),
    "two primaries": ({"primary": ("p", "q")}, r"2 primaries \(p, q\)"),
    "one host in both groups": ({"replica": ("p",)}, "both groups"),
    "unknown upstream": ({"a": {"replication_upstream": "z"}}, "'z', which is in neither"),
    "its own upstream": ({"a": {"replication_upstream": "a"}}, r"circle \(a -> a\)"),
    "upstream loop": (
        {"a": {"replication_upstream": "b"}, "b": {"replication_upstream": "a"}},
        r"circle \(a -> b -> a\)",
    ),
    "no password": (
        {"a": {"replication_password": None}},
        "replication_password is not set for 'a'",
    ),
    "empty password": (
        {"a": {"replication_password": ""}},
        "replication_password is empty for 'a'",
    ),
    "password over two lines": ({"a": {"replication_password": "a\nb"}}, "line break"),
    "two passwords of one role": ({"a": {"replication_password": "other"}}, "not that of the primary 'p'"),
    "no name of a parameter": (
        {"a": {"postgresql_settings": {"no such; name": 1}}},
        "postgresql_settings of 'a' cannot be used: setting 'no such; name'",
    ),
    "no value of a parameter": (
        {"a": {"postgresql_settings": {"work_mem": {"a": 1}}}},
        "postgresql_settings of 'a'",
    ),
    "illegal slot": ({"a": {"replication_slot": "A-b"}}, "replication_slot of 'a' is 'A-b'"),
    "slot too long": ({"a": {"replication_slot": "s" * 64}}, "replication_slot of 'a'"),
    "shared slot": (
        {"a": {"replication_slot": "s"}, "b": {"replication_slot": "s"}},
        "'a' and 'b' share the slot 's'",
    ),
    "shared address": (
        {"a": {"replication_host": "h"}, "b": {"replication_host": "h"}},
        "both listen on h, port 5432",
    ),
    "port": ({"p": {"postgresql_port": 70000}}, "postgresql_port of 'p' is 70000"),
    "delay": (
        {"a": {"replication_apply_delay": "soon"}},
        "replication_apply_delay of 'a' is 'soon'",
    ),
    "unlimited slot": ({"p": {"replication_max_wal_keep": -1}}, "fill the disk"),
    "sslmode": ({"a": {"replication_sslmode": "on"}}, "one of disable, allow"),
    "settings that have a variable": (
        {"a": {"postgresql_settings": {"Primary_Conninfo": ""}}},
        "replication_upstream",
    ),
    "synchronous below a cascade": (
        {"b": {"replication_upstream": "a", "replication_synchronous": True}},
        "only waits for replicas that stream from itself",
    ),
    "more synchronous than there are": (
        {"a": {"replication_synchronous": True}, "p": {"replication_synchronous_num": 2}},
        "only 1 replicas are synchronous",
    ),
    "method": ({"p": {"replication_synchronous_method": "all"}}, "ANY or FIRST"),
}


@pytest.mark.parametrize(("declared", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_a_contradiction_is_one_sentence(declared, sentence):
    with pytest.raises(_topology.TopologyError, match=sentence) as caught:
        build(**declared)
    assert "\n" not in str(caught.value)


FILES = {"ca_file": "/pki/ca", "certificate_file": "/pki/crt", "key_file": "/pki/key"}
CLIENT_FILES = {"client_certificate_file": "/pki/c.crt", "client_key_file": "/pki/c.key"}


@pytest.mark.parametrize(
    ("sslmode", "tls"),
    [
        ("prefer", {}),
        ("verify-full", {}),
        ("verify-ca", FILES),
        ("require", {"client_certificates": True, "valid_days": 90}),
        ("verify-full", {**FILES, **CLIENT_FILES, "client_certificates": True}),
    ],
)
def test_tls_that_is_accepted(sslmode, tls):
    both = {"replication_sslmode": sslmode, "replication_tls": tls}
    assert build(p=both, a=both, b=both).primary["replication_tls"]["renew_days"] == 30


@pytest.mark.parametrize(
    ("sslmode", "tls", "words"),
    [
        ("verify-full", [], "must be a dictionary"),
        ("verify-full", {"cafile": "/x"}, "no key 'cafile'"),
        ("prefer", FILES, "means nothing with replication_sslmode 'prefer'"),
        ("prefer", {"client_certificates": True}, "means nothing"),
        ("verify-full", {"ca_file": "/pki/ca"}, "lacks certificate_file"),
        ("verify-full", {**FILES, **CLIENT_FILES}, "not client_certificates"),
        ("verify-full", {**FILES, "client_certificates": True}, "needs client_certificate_file"),
        ("verify-full", {**CLIENT_FILES, "client_certificates": True}, "but no ca_file"),
        ("verify-full", {"client_map": "nodes"}, "not client_certificates"),
        ("verify-full", {"client_certificates": True, "client_map": "a\nb"}, "name of a map"),
        ("verify-full", {"valid_days": 0}, "valid_days is 0"),
        ("verify-full", {"renew_days": "many"}, "renew_days is 'many'"),
        ("verify-full", {"valid_days": 30}, "less than valid_days"),
    ],
)
def test_tls_that_is_refused(sslmode, tls, words):
    both = {"replication_sslmode": sslmode, "replication_tls": tls}
    with pytest.raises(_topology.TopologyError, match=words):
        build(p=both, a=both, b=both)


def test_a_second_way_to_set_certificates_is_refused():
    both = {"replication_sslmode": "verify-full", "postgresql_settings": {"SSL_Key_File": "/x"}}
    with pytest.raises(_topology.TopologyError, match="leave it to replication_tls"):
        build(p=both, a=both, b=both)


@pytest.mark.parametrize(
    ("replica", "words"),
    [
        ({"replication_sslmode": "disable"}, "either all nodes demand encryption or none"),
        (
            {"replication_sslmode": "verify-full", "replication_tls": {"client_certificates": True}},
            "client_certificates of replication_tls differs",
        ),
    ],
)
def test_both_ends_agree_on_encryption(replica, words):
    both = {"replication_sslmode": "verify-full"}
    with pytest.raises(_topology.TopologyError, match=words):
        build(p=both, a=both, b=replica)


def test_client_certificates_need_no_password():
    both = {
        "replication_password": None,
        "replication_sslmode": "verify-full",
        "replication_tls": {"client_certificates": True},
    }
    assert build(p=both, a=both, b=both).primary["replication_password"] is None


@pytest.mark.parametrize(
    "host", ["db-1.example.org", "DB_1", "10.0.0.1", "2001:db8::1", "fe80::1%eth0", "bücher.example"]
)
def test_a_host_may_have_any_legal_name(host):
    assert build(p={"replication_host": host}).primary.host == host


@pytest.mark.parametrize("host", ["a,b", "/tmp", "@x", "a b", "a\nb", "a'b", 'a"', "a\\b", " "])
def test_a_host_is_one_host(host):
    with pytest.raises(_topology.TopologyError, match="one host name or address") as raised:
        build(p={"replication_host": host})
    assert "\n" not in str(raised.value)


def test_application_names_differ_in_more_than_case():
    topology = build(replica=("db", "DB", "other"), db={"replication_synchronous": True})
    names = [node.application_name for node in topology.replicas]
    assert len({name.lower() for name in names}) == 3
    assert names[2] == "other"
    assert f'"{names[0]}"' in topology.synchronous_standby_names
