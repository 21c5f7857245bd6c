# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to a walsender: as the server's account, and with nothing of our own environment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.driver import psycopg2
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import (
    User,
    clean_environment,
)


@contextlib.contextmanager
def replication_connection(keywords: Mapping[str, Any], user: User) -> Iterator[Any]:
    """A session with a walsender, opened with these keywords of libpq. Raises psycopg2's errors as they are."""
    with user.effective(), clean_environment(user):
        connection = psycopg2.connect(
            **keywords, connection_factory=psycopg2.extras.PhysicalReplicationConnection
        )
    try:
        yield connection
    finally:
        connection.close()
