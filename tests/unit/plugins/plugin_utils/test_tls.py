# SPDX-License-Identifier: GPL-3.0-or-later
"""Names in certificates and in files, whatever the inventory calls its hosts."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _tls
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("host", "name", "names"),
    [
        ("db1.example.org", "db1", ["DNS:db1.example.org", "DNS:db1"]),
        ("db1", "db1", ["DNS:db1"]),
        ("10.0.0.1", "db-1", ["IP:10.0.0.1", "DNS:10.0.0.1", "DNS:db-1"]),
        ("2001:DB8::1", "db1", ["IP:2001:db8::1", "DNS:db1"]),
        ("db1", "a b,DNS:evil", ["DNS:db1"]),
        ("db1", "*", ["DNS:db1"]),
    ],
)
def test_names_of_a_server(host, name, names):
    assert _tls.names(host, name) == names


@given(st.text(min_size=1))
def test_no_name_of_a_host_leads_out_of_the_directory(name):
    try:
        stem = _tls.stem(name)
    except UnicodeEncodeError:  # a lone surrogate cannot stand in an inventory
        return
    assert "/" not in stem
    assert "\0" not in stem


@given(st.text(), st.text())
def test_no_name_brings_another_one_into_a_certificate(host, name):
    assert all("," not in one and "*" not in one and "\n" not in one for one in _tls.names(host, name))
