# SPDX-License-Identifier: GPL-3.0-or-later
"""libpq's connection strings: from keywords and back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.driver import (
    psycopg2,
    require_psycopg2,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.secrets import SECRET_KEYWORDS


def to_string(keywords: Mapping[str, Any]) -> str:
    """A connection string, quoted by libpq's own rules, with its keywords in a stable order."""
    for secret in SECRET_KEYWORDS:
        if keywords.get(secret) is not None:
            raise WalstreamError(
                f"'{secret}' in a connection string can be read by others: "
                "put the password into a password file and name it with 'passfile'"
            )
    require_psycopg2()
    wanted = {key: _text(key, value) for key, value in sorted(keywords.items()) if value not in (None, "")}
    try:
        return str(psycopg2.extensions.make_dsn(**wanted))
    except (psycopg2.ProgrammingError, TypeError) as error:
        raise WalstreamError(f"not a connection string: {' '.join(str(error).split())}") from None


def to_keywords(conninfo: str) -> dict[str, str]:
    """The keywords of a connection string, as libpq reads it, without its secrets."""
    require_psycopg2()
    try:
        keywords = psycopg2.extensions.parse_dsn(conninfo)
    except psycopg2.ProgrammingError:
        raise WalstreamError("primary_conninfo is not a valid connection string") from None
    return {key: value for key, value in keywords.items() if key not in SECRET_KEYWORDS}


def _text(keyword: str, value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"  # libpq's spelling, as in sslcompression=1
    if not isinstance(value, (str, int, float)):
        raise WalstreamError(f"'{keyword}' in a connection string must be a text or a number")
    if "\0" in str(value):
        raise WalstreamError(f"'{keyword}' in a connection string must not contain a NUL character")
    return str(value)
