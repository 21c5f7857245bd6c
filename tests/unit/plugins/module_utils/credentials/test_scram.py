# SPDX-License-Identifier: GPL-3.0-or-later
"""Verifiers of pg_authid, made by real servers, and the passwords behind them."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials.scram import is_of, prepared

# RFC 7677 gives salt, iterations and both keys of the password `pencil`.
PENCIL = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


@pytest.mark.parametrize(
    ("verifier", "password", "expected"),
    [
        (PENCIL, "pencil", True),
        (PENCIL, "Pencil", False),
        (PENCIL, "", False),
        (PENCIL, "pêncil", False),
        (None, "pencil", False),
        ("md5" + "0" * 32, "pencil", False),
        (PENCIL.replace("==$", "$"), "pencil", False),
        (PENCIL + "\n", "pencil", False),
    ],
)
def test_is_of(verifier, password, expected):
    assert is_of(verifier, password) is expected


@pytest.mark.parametrize(
    ("password", "text"),
    [
        ("pencil", "pencil"),
        ("with\ttab", "with\ttab"),
        ("p\u00eancil", "p\u00eancil"),
        ("pe\u0302ncil", "p\u00eancil"),
        ("\ufb01ne", "fine"),
        ("a\u00a0b", "a b"),
        ("so\u00adft\u00e9", "soft\u00e9"),
        ("\u200b\u00e9", " \u00e9"),
        # Forbidden, and therefore taken as they are: an emoji, a control character, both directions, nothing left.
        ("\U0001f600\ufb01", "\U0001f600\ufb01"),
        ("\u00e9\t\ufb01", "\u00e9\t\ufb01"),
        ("\u05d0a\ufb01", "\u05d0a\ufb01"),
        ("\u05d01", "\u05d01"),
        ("\u05d0\u05d1", "\u05d0\u05d1"),
        ("\u00ad", "\u00ad"),
    ],
)
def test_as_a_server_prepares_it(password, text):
    assert prepared(password) == text


def test_what_is_no_text_is_nobodys_password():
    assert not is_of(PENCIL, "\udcff")
