# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of pg_hba.conf, and the rules that would break the file."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _hba

HOST = {"contype": "host", "databases": "app", "users": "joe", "method": "scram-sha-256"}


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ({"contype": "local", "method": "peer"}, "local  all  all  peer"),
        ({**HOST, "address": "10.0.0.1"}, "host  app  joe  10.0.0.1/32  scram-sha-256"),
        ({**HOST, "address": "2001:db8::1"}, "host  app  joe  2001:db8::1/128  scram-sha-256"),
        (
            {**HOST, "address": "10.0.0.0", "netmask": "255.0.0.0"},
            "host  app  joe  10.0.0.0/8  scram-sha-256",
        ),
        ({**HOST, "address": "samenet"}, "host  app  joe  samenet  scram-sha-256"),
        ({**HOST, "address": ".example.org"}, "host  app  joe  .example.org  scram-sha-256"),
        (HOST, "host  app  joe  samehost  scram-sha-256"),
        ({**HOST, "users": 'joe,"j o"'}, 'host  app  joe,"j o"  samehost  scram-sha-256'),
        ({**HOST, "users": "+staff"}, "host  app  +staff  samehost  scram-sha-256"),
        ({**HOST, "method": "cert", "options": "map=m"}, "host  app  joe  samehost  cert  map=m"),
        ({**HOST, "comment": "why"}, "host  app  joe  samehost  scram-sha-256  # why"),
    ],
)
def test_line(rule, line):
    assert _hba.line(rule) == line


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"contype": "hots"}, "'contype' must be one of"),
        ({"method": "open"}, "'method' must be one of"),
        ({"adress": "x"}, "'adress' is not one of"),
        ({"address": "10.0.0.0/99"}, "no IP address"),
        ({"address": "10.0.0.1 trust"}, "no IP address"),
        ({"users": "joe trust"}, "needs double quotes"),
        ({"users": 'joe"'}, "comma-separated"),
        ({"users": "joe\nhost"}, "needs double quotes"),
        ({"databases": ""}, "comma-separated"),
        ({"options": "a=b\nhost all all all trust"}, "line break"),
        ({"comment": "a\nhost all all all trust"}, "line break"),
    ],
)
def test_a_rule_that_would_break_the_file_is_refused(change, sentence):
    with pytest.raises(WalstreamError, match=sentence):
        _hba.line({**HOST, **change})


def test_quoting_takes_a_keywords_meaning_away():
    assert _hba.quoted("replication") == '"replication"'
    for name in ('a"b', "a\nb"):
        with pytest.raises(WalstreamError):
            _hba.quoted(name)
