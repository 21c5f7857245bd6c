# SPDX-License-Identifier: GPL-3.0-or-later
"""psycopg2, which a host may lack: the one place that imports it, and the one sentence about its absence."""

from __future__ import annotations

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError

try:
    import psycopg2
    import psycopg2.extras
    import psycopg2.sql
except ImportError:
    psycopg2 = None  # type: ignore[assignment]


def require_psycopg2() -> None:
    """Raise the one sentence that tells how to get psycopg2."""
    if psycopg2 is None:
        raise WalstreamError(
            "the Python library psycopg2 is missing on this host: install the package python3-psycopg2 "
            "(Debian, Ubuntu, RHEL family), or psycopg2 for the interpreter that Ansible uses there"
        )
