# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking an upstream what its standby cannot tell: how far it is, and why the standby cannot stream from it.

That reason stands in the server's log, which SQL does not show. So we log in exactly as the server
does, as its system user and with its connection string, and ask for WAL where it would.
"""

from __future__ import annotations

import select
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.driver import psycopg2
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import (
    Lsn,
    TimelineHistory,
    require_slot_name,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.connection import (
    replication_connection,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.login_errors import (
    UpstreamNames,
    explain,
)

CONNECT_TIMEOUT = 5
SECONDS_FOR_FIRST_WAL = 1.0
"""A walsender reports missing WAL only after it has agreed to stream."""

READS_SLOTS = 150000
"""The first version that answers READ_REPLICATION_SLOT."""

APPLICATION_NAME = "walstream_diagnosis"
"""Ours, not the standby's, which may be named in synchronous_standby_names."""


@dataclass(frozen=True)
class Standing:
    """Where a standby is, which its upstream must be able to continue."""

    system_identifier: str
    timeline: int
    lsn: Lsn
    segment_size: int


def compare(system: Mapping[str, Any], history: TimelineHistory, standby: Standing) -> str | None:
    """Why an upstream that accepts logins cannot feed this standby, from its answer to IDENTIFY_SYSTEM."""
    if str(system["systemid"]) != standby.system_identifier:
        return (
            f"the upstream is another cluster: its system identifier is {system['systemid']}, "
            f"this server's is {standby.system_identifier}"
        )
    timeline = int(system["timeline"])
    if timeline < standby.timeline:
        return (
            f"this replica is on timeline {standby.timeline}, its upstream only on {timeline}: it follows the wrong "
            "server, or the upstream has not caught up with a promotion yet"
        )
    if timeline == standby.timeline:
        end = Lsn.parse(str(system["xlogpos"]))
        if standby.lsn > end:
            return (
                f"this replica has replayed {standby.lsn}, which its upstream at {end} does not have: unless the "
                "upstream catches up by itself, the replica must be rewound, or moved aside and cloned again"
            )
        return None
    fork = history.end_of(standby.timeline)
    if fork is None or standby.lsn > fork:
        left = f"left timeline {standby.timeline} at {fork}" if fork else f"never was on {standby.timeline}"
        return (
            f"this replica diverged: its upstream is on timeline {timeline} and {left}, while this replica has "
            f"replayed {standby.lsn}; it must be rewound, or moved aside and cloned again"
        )
    return None


def diagnose_upstream(
    conninfo: Mapping[str, Any], slot: str | None, user: User, standby: Standing | None = None
) -> list[str]:
    """Sentences about what keeps `user` from replicating from the upstream; none where nothing does.

    `conninfo` are the keywords of `primary_conninfo`. The upstream is asked to stream from where the standby is, or
    from its own end of WAL where there is no standby yet. That holds the slot for a moment, so it is not for
    standbys that stream; it moves nothing.
    """
    if slot:
        require_slot_name(slot)
    upstream = UpstreamNames.of(conninfo, slot, user.name, user.home)
    try:
        with replication_connection(_keywords(conninfo, upstream), user) as connection:
            return _interrogate(connection, upstream, standby)
    except psycopg2.Error as error:
        return [explain(error.pgcode, str(error), upstream)]


def end_of_upstream(conninfo: Mapping[str, Any], user: User) -> tuple[int, Lsn]:
    """The timeline that the upstream of `primary_conninfo` is on, and how far it has written or received WAL.

    Raises WalstreamError with the reason where it does not let `user` replicate.
    """
    upstream = UpstreamNames.of(conninfo, None, user.name, user.home)
    try:
        with (
            replication_connection(_keywords(conninfo, upstream), user) as connection,
            connection.cursor() as cursor,
        ):
            system = _first_row(cursor, "IDENTIFY_SYSTEM")
    except psycopg2.Error as error:
        raise WalstreamError(explain(error.pgcode, str(error), upstream)) from None
    return int(system["timeline"]), Lsn.parse(str(system["xlogpos"]))


def _keywords(conninfo: Mapping[str, Any], upstream: UpstreamNames) -> dict[str, Any]:
    """What the server's own receiver logs in with, except for its name."""
    return {
        "connect_timeout": CONNECT_TIMEOUT,
        **conninfo,
        "passfile": upstream.passfile,
        "dbname": "replication",  # what the server's own receiver looks up in the password file
        "application_name": APPLICATION_NAME,
    }


def _interrogate(connection: Any, upstream: UpstreamNames, standby: Standing | None) -> list[str]:
    with connection.cursor() as cursor:
        system = _first_row(cursor, "IDENTIFY_SYSTEM")
        timeline, start = int(system["timeline"]), str(system["xlogpos"])
        if standby is not None:
            problem = compare(system, _history(cursor, timeline, standby), standby)
            timeline, start = standby.timeline, str(standby.lsn.segment_start(standby.segment_size))
        else:
            problem = _slot_problem(cursor, connection.server_version, upstream)
        if problem:
            return [problem]
        cursor.start_replication(slot_name=upstream.slot, start_lsn=start, timeline=timeline)
        if not cursor.read_message():
            select.select([connection], [], [], SECONDS_FOR_FIRST_WAL)
            cursor.read_message()
    return []


def _history(cursor: Any, timeline: int, standby: Standing) -> TimelineHistory:
    if timeline <= standby.timeline:
        return TimelineHistory(())
    content = _first_row(cursor, f"TIMELINE_HISTORY {timeline}")["content"]
    return TimelineHistory.parse(content if isinstance(content, str) else bytes(content).decode())


def _slot_problem(cursor: Any, version: int, upstream: UpstreamNames) -> str | None:
    """A slot through which nobody streams yet has to keep WAL from now on."""
    if upstream.slot is None or version < READS_SLOTS:
        return None
    slot = _first_row(cursor, f'READ_REPLICATION_SLOT "{upstream.slot}"')
    if slot["slot_type"] and slot["restart_lsn"] is None:
        return (
            f"the slot '{upstream.slot}' keeps no WAL on the upstream: it never reserved any, or has lost it; "
            "make it anew with WAL reserved"
        )
    return None


def _first_row(cursor: Any, command: str) -> dict[str, Any]:
    cursor.execute(command)
    names = [column[0] for column in cursor.description]
    return dict(zip(names, cursor.fetchone()))
