# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a password is the one behind a SCRAM-SHA-256 verifier of pg_authid (RFC 5802 and 7677). Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata

_VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")

_FORBIDDEN = (
    *(stringprep.in_table_a1, stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3),
    *(stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7),
    *(stringprep.in_table_c8, stringprep.in_table_c9),
)
"""RFC 4013, 2.3 and 2.5: what a prepared password must not hold, what Unicode 3.2 did not know among it."""


def is_of(verifier: str | None, password: str) -> bool:
    """False also where it cannot be told here: other kinds of hashes."""
    found = _VERIFIER.fullmatch(verifier or "")
    if not found:
        return False
    try:
        salt, stored = (base64.b64decode(found[group], validate=True) for group in (2, 3))
        secret = prepared(password).encode()
    except (binascii.Error, UnicodeEncodeError):
        return False
    salted = hashlib.pbkdf2_hmac("sha256", secret, salt, int(found[1]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), stored)


def prepared(password: str) -> str:
    """The text that PostgreSQL hashes: SASLprep (RFC 4013), or the password as it is where that forbids it.

    Like the server (src/common/saslprep.c), this leaves ASCII alone, control characters included.
    """
    if password.isascii():
        return password
    mapped = (
        " " if stringprep.in_table_c12(character) else character
        for character in password
        if stringprep.in_table_c12(character) or not stringprep.in_table_b1(character)
    )
    text = unicodedata.normalize("NFKC", "".join(mapped))
    return text if text and not _is_forbidden(text) else password


def _is_forbidden(text: str) -> bool:
    if any(forbids(character) for character in text for forbids in _FORBIDDEN):
        return True
    # RFC 3454, 6: from right to left means from the first character to the last one, and nothing else in between.
    from_the_right = [stringprep.in_table_d1(character) for character in text]
    mixed = any(map(stringprep.in_table_d2, text))
    return any(from_the_right) and (mixed or not (from_the_right[0] and from_the_right[-1]))
