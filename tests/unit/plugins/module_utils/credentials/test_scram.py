# SPDX-License-Identifier: GPL-3.0-or-later
"""Verifiers of pg_authid, made by real servers, and the passwords behind them."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials.scram import is_of

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
