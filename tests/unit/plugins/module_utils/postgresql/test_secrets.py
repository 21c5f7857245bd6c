# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords are found wherever a user may have written one, so that nothing shows them."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.secrets import secrets_in
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"host": "h", "password": "s3"}, {"s3"}),
        ({"upstream": {"host": "h", "SSLPassword": "s3"}}, {"s3"}),
        ([{"password": "s3"}, {"password": None}, {"password": ""}], {"s3"}),
        ({"password": 4711}, {"4711"}),
        ({"primary_conninfo": "host=h password=s3 user=u"}, {"s3"}),
        ({"primary_conninfo": "host=h password = 's 3' user=u"}, {"s 3"}),
        ("primary_conninfo = 'host=h password=''s 3'' user=u'", {"s 3"}),
        ({"archive_command": "push postgresql://u:s3@h:5432/db?sslpassword=s4&x=y"}, {"s3", "s4"}),
        ({"restore_command": "get ftp://h/x u@v"}, set()),
        ({"password_encryption": "scram-sha-256", "user": "password", "port": 5432, "on": True}, set()),
    ],
)
def test_found(value, found):
    assert set(secrets_in(value)) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.text(min_size=1, max_size=20))
def test_found_at_any_depth(around, secret):
    nested = {"options": [around, {"deeper": {"password": secret}}]}
    assert secret in set(secrets_in(nested))
