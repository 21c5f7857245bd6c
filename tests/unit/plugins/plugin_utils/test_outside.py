# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run for some of the hosts must know of the others."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _desired, _outside, _topology

GIVEN = {"replication_password": "secret"}
DATA = {
    "data": {"state": "standby", "path": "/data"},
    "running": True,
    "settings": {"max_connections": "100"},
}
EMPTY = {"data": {"state": "absent", "path": "/data"}, "running": False}
WHY = "no route"


def topology(**primary):
    """p, from which r streams, from which s streams."""
    groups = {"primary": ["p"], "replica": ["r", "s"]}
    upstream = {"s": {"replication_upstream": "r"}, "p": primary}
    return _topology.build(groups, {name: {**GIVEN, **upstream.get(name, {})} for name in ("p", "r", "s")})


def outside(found):
    return {**found, "outside": True}


@pytest.mark.parametrize(("name", "names"), [("p", ["r", "s"]), ("r", ["p", "s"]), ("s", ["p", "r"])])
def test_whom_a_node_depends_on(name, names):
    assert topology().depends_on(name) == names


@pytest.mark.parametrize(
    ("found", "unseen", "sentence"),
    [
        ({"s": DATA, "p": outside(DATA), "r": outside(DATA)}, {}, None),
        ({"s": DATA, "p": outside(DATA)}, {"r": WHY}, "'s' depends on its upstream 'r'"),
        ({"s": DATA, "r": outside(DATA)}, {"p": WHY}, "'s' depends on its primary 'p'"),
        # Whoever streams from it can be done without.
        ({"r": DATA, "p": outside(DATA)}, {"s": WHY}, None),
        ({"p": DATA}, {"r": WHY, "s": WHY}, None),
        ({"p": EMPTY, "r": EMPTY}, {}, None),
        ({"p": EMPTY, "r": outside(EMPTY)}, {"s": WHY}, "may have lost its disk: make 's' reachable"),
        ({"p": outside(EMPTY), "r": EMPTY}, {}, None),
    ],
)
def test_what_cannot_be_looked_at_is_not_taken_for_absent(found, unseen, sentence):
    said = _outside.first(topology(), found, unseen, is_whole=True)
    assert (said is None) if sentence is None else sentence in said
    assert said is None or (WHY in said and "\n" not in said)


@pytest.mark.parametrize(
    ("r", "is_whole", "refused"),
    [
        (outside(DATA), True, True),
        # Its turn comes in a later play.
        (outside(DATA), False, False),
        (DATA, True, False),
        (outside({**DATA, "running": False}), True, False),
        (outside({**DATA, "settings": {"max_connections": "200"}}), True, False),
    ],
)
def test_a_primary_does_not_outgrow_a_standby_that_stays_out(r, is_whole, refused):
    declared = topology(postgresql_settings={"max_connections": 150})
    said = _outside.first(declared, {"p": DATA, "r": r}, {}, is_whole)
    assert bool(said) is refused
    assert not refused or "max_connections of 'p'" in said
    lower = topology(postgresql_settings={"max_connections": 50})
    assert _outside.first(lower, {"p": DATA, "r": r}, {}, is_whole) is None


def test_a_primary_outside_the_run_keeps_what_it_has():
    """What is declared for it holds only once its turn comes."""
    declared = topology(postgresql_settings={"max_connections": 50})
    on_primary = {"settings": {"max_connections": "150"}, "running": True}
    for found, least in ((outside(on_primary), 150), (on_primary, None)):
        wanted = _desired.settings(declared, declared.nodes["r"], {"p": found})
        assert wanted.get("max_connections") == least
