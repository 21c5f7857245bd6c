# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a password is the one behind a SCRAM-SHA-256 verifier of pg_authid (RFC 5802 and 7677). Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

_VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")


def is_of(verifier: str | None, password: str) -> bool:
    """False also where it cannot be told here: other kinds of hashes, and passwords beyond ASCII.

    The latter are normalized before they are hashed (RFC 4013), which is left to libraries that do it whole.
    """
    found = _VERIFIER.fullmatch(verifier or "")
    if not found or not password.isascii() or not password.isprintable():
        return False
    try:
        salt, stored = (base64.b64decode(found[group], validate=True) for group in (2, 3))
    except binascii.Error:
        return False
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, int(found[1]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), stored)
