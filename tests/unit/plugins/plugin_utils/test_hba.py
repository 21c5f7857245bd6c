# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of pg_hba.conf, and the rules that would break the file."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _hba
from hypothesis import given
from hypothesis import strategies as st

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
        ({"comment": "the next line would be part of this \\"}, "backslash"),
        ({"options": "map=a \\"}, "backslash"),
    ],
)
def test_a_rule_that_would_break_the_file_is_refused(change, sentence):
    with pytest.raises(WalstreamError, match=sentence):
        _hba.line({**HOST, **change})


def test_quoting_takes_a_keywords_meaning_away():
    assert _hba.quoted("replication") == '"replication"'
    assert _hba.quoted('a"b') == '"a""b"'
    for name in ("a\rb", "a\nb", "/.*"):
        with pytest.raises(WalstreamError):
            _hba.quoted(name)


def read_like_the_server(text: str) -> list[list[list[str]]]:
    """Records, fields and tokens, as hba.c reads them: continued lines, comments, lists, doubled quotes."""
    records = []
    for line in text.replace("\\\n", "").split("\n"):
        fields: list[list[str]] = []
        token, quoted, was_quote, tokens = "", False, False, []
        for written in line + "\n":
            character = "\n" if written == "#" and not quoted else written
            if character in " \t,\n" and not quoted:
                if token or was_quote:
                    tokens.append(token)
                if character != "," and tokens:
                    fields.append(tokens)
                    tokens = []
                token, was_quote = "", False
                if character == "\n":
                    break
                continue
            if character != '"' or was_quote:
                token += character
            was_quote = not was_quote if quoted and character == '"' else False
            if character == '"':
                quoted = not quoted
        if fields:
            records.append(fields)
    return records


NAME = st.text(
    st.characters(blacklist_characters="\0\r\n", blacklist_categories=("Cs",)), min_size=1, max_size=63
)


@given(NAME.filter(lambda name: not name.startswith("/")))
def test_any_name_stays_one_name(name: str):
    line = _hba.line({**HOST, "databases": "replication", "users": _hba.quoted(name)})
    assert read_like_the_server(line) == [
        [["host"], ["replication"], [name], ["samehost"], ["scram-sha-256"]],
    ]


ODD = st.text(st.sampled_from('ab ,"#\\\n\r\t/@+=*0.:'), max_size=12)
FIELDS = {
    "databases": st.sampled_from(["all", '"a b",c']) | ODD,
    "users": st.sampled_from(["joe", '"j""o",+g']) | ODD,
    "address": st.sampled_from(["samenet", "::1"]) | ODD,
    "options": ODD,
    "comment": ODD,
}


@given(st.fixed_dictionaries(FIELDS))
def test_no_rule_is_more_than_one_record(fields: dict[str, Any]):
    """Whatever an inventory says, a rule is refused or is one record, and the next one is left alone."""
    try:
        line = _hba.line({"contype": "host", "method": "reject", **fields})
    except WalstreamError:
        return
    first, *others = read_like_the_server(f"{line}\nlocal all all peer")
    assert (first[0], first[4]) == (["host"], ["reject"])
    assert others == [[["local"], ["all"], ["all"], ["peer"]]]
