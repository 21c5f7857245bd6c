# SPDX-License-Identifier: GPL-3.0-or-later
"""What one server says about its replication, read at one moment with one query.

Everything that a version may lack is read as JSON, so that a column's absence is no error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._lsn import (
    Lsn,
    TimelineHistory,
    timeline_of_wal_file,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._server import QueryFailed, Server
from ansible_collections.walstream.postgresql.plugins.module_utils._slot import health

try:
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn
except ImportError:  # `_server.require_psycopg2` tells the user before anything here is called
    pass

SETTINGS = (
    *("wal_level", "max_wal_senders", "max_replication_slots", "max_slot_wal_keep_size", "wal_keep_size"),
    *("idle_replication_slot_timeout", "archive_mode", "wal_log_hints", "data_checksums", "full_page_writes"),
    *("hot_standby", "hot_standby_feedback", "recovery_min_apply_delay", "primary_slot_name"),
    *("synchronous_standby_names", "wal_sender_timeout", "wal_receiver_timeout"),
    *("max_connections", "max_worker_processes", "max_prepared_transactions", "max_locks_per_transaction"),
    *("cluster_name", "listen_addresses", "port", "data_directory", "config_file", "hba_file"),
)
"""The parameters that decide whether and how a server replicates."""

DEFAULT_PORT = 5432
_HIDDEN = ("password", "sslpassword", "oauth_client_secret")

# A receiver that streams has asked for its timeline, but the server may not have replayed so far: `received_tli` is
# an upper bound. The control file is a lower bound, because it is written only now and then. A primary knows.
_OBSERVE = """
WITH parameter AS MATERIALIZED (SELECT name, setting, pending_restart FROM pg_settings),
     position AS MATERIALIZED (
       SELECT pg_is_in_recovery() AS in_recovery,
              CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END AS lsn,
              CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() END AS received)
SELECT position.in_recovery, position.lsn::text, position.received::text,
       current_setting('server_version') AS version,
       current_user::text AS role,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(position.lsn) END AS wal_file,
       (SELECT greatest(c.timeline_id, r.min_recovery_end_timeline)
          FROM pg_control_checkpoint() c, pg_control_recovery() r) AS control_timeline,
       (SELECT wal_block_size FROM pg_control_init()) AS wal_block_size,
       (SELECT bytes_per_wal_segment FROM pg_control_init()) AS wal_segment_size,
       CASE WHEN pg_is_in_recovery() THEN {pause_state} END AS pause_state,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS last_replay_age,
       (SELECT setting FROM parameter WHERE name = 'primary_conninfo') AS primary_conninfo,
       (SELECT setting::float8 / 1000 FROM parameter WHERE name = 'recovery_min_apply_delay') AS apply_delay,
       (SELECT jsonb_object_agg(name, current_setting(name)) FROM parameter WHERE name = ANY (%s)) AS settings,
       ARRAY(SELECT name FROM parameter WHERE pending_restart ORDER BY name) AS pending_restart,
       (SELECT to_jsonb(r) - 'conninfo' || jsonb_build_object('heard', {heard})
          FROM pg_stat_wal_receiver r) AS receiver,
       (SELECT jsonb_agg(to_jsonb(s) || jsonb_build_object(
                 'slot_name', (SELECT slot_name FROM pg_replication_slots WHERE active_pid = s.pid),
                 'ssl', (SELECT ssl FROM pg_stat_ssl WHERE pid = s.pid),
                 'lag_bytes', pg_wal_lsn_diff(coalesce(position.received, position.lsn), s.replay_lsn),
                 'write_lag', extract(epoch FROM s.write_lag), 'flush_lag', extract(epoch FROM s.flush_lag),
                 'replay_lag', extract(epoch FROM s.replay_lag)) ORDER BY s.application_name, s.pid)
          FROM pg_stat_replication s) AS senders,
       (SELECT jsonb_agg(to_jsonb(s) || jsonb_build_object(
                 'retained_bytes', pg_wal_lsn_diff(position.lsn, s.restart_lsn)) ORDER BY s.slot_name)
          FROM pg_replication_slots s) AS slots,
       (SELECT jsonb_agg(to_jsonb(b)) FROM pg_stat_progress_basebackup b) AS base_backups
FROM position
"""
# A receiver says "streaming" as soon as it has asked. Where the upstream has removed the WAL, it dies a moment
# later and the next one says so again. Both times are the same until the first message; an idle upstream may send
# none for long, but it would have refused within a second.
_HEARD = (
    "last_msg_send_time <> last_msg_receipt_time OR clock_timestamp() - last_msg_receipt_time > interval '1s'"
)
PAUSE_IS_A_SWITCH = 13
# Later versions tell a requested pause from one that has been reached.
_PAUSE_STATE = "pg_get_wal_replay_pause_state()"
_PAUSE_STATE_13 = "CASE WHEN pg_is_wal_replay_paused() THEN 'paused' ELSE 'not paused' END"
_HISTORY = "SELECT pg_read_file('pg_wal/' || lpad(upper(to_hex(%s)), 8, '0') || '.history', 0, 1000000, true)"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Observation:
    """A server at one moment. Rows are those of PostgreSQL's views, by column name."""

    version: str
    major: int
    role: str
    in_recovery: bool
    system_identifier: str
    timeline: int
    lsn: Lsn
    """Replayed by a standby, flushed by a primary."""
    received: Lsn | None
    """Received and flushed by a standby since it was started."""
    wal_block_size: int
    wal_segment_size: int
    pause_state: str | None = None
    last_replay_age: float | None = None
    """Seconds since the commit that was replayed last; large on a standby of an idle primary."""
    apply_delay: float = 0
    """`recovery_min_apply_delay` in seconds."""
    receiver: Row | None = None
    senders: tuple[Row, ...] = ()
    slots: tuple[Row, ...] = ()
    base_backups: tuple[Row, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    pending_restart: tuple[str, ...] = ()
    conninfo: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The keywords of `primary_conninfo`. May hold a password: show `public_conninfo` to people."""
    conninfo_visible: bool = True

    @property
    def streaming(self) -> bool:
        """Whether a WAL receiver streams, and its upstream has agreed to that."""
        receiver = self.receiver or {}
        return receiver.get("status") == "streaming" and bool(receiver.get("heard"))

    @property
    def known_end(self) -> Lsn | None:
        """The end of WAL that a streaming standby knows of: what it has, or what its upstream last said it has."""
        if not self.streaming or self.receiver is None:
            return None
        reported = self.receiver.get("latest_end_lsn")
        return max(self.reached, Lsn.parse(reported) if reported else self.reached)

    @property
    def reached(self) -> Lsn:
        """What this server safely has: received, or replayed from elsewhere."""
        return max(self.lsn, self.received or self.lsn)

    @property
    def lag_bytes(self) -> int | None:
        """WAL that is known to exist and not replayed here, or None where nobody can tell."""
        return None if self.known_end is None else self.known_end - self.lsn

    @property
    def replay_delay(self) -> float | None:
        """Seconds by which this standby shows the past at most; 0 where it has replayed all that its upstream has."""
        if not self.in_recovery or self.lag_bytes == 0:
            return 0.0
        return self.last_replay_age

    @property
    def upstream_host(self) -> str | None:
        """Where WAL comes from, or where it is configured to come from."""
        connected = (self.receiver or {}).get("sender_host")
        return connected or self.conninfo.get("host") or self.conninfo.get("hostaddr")

    @property
    def upstream_port(self) -> int:
        connected = (self.receiver or {}).get("sender_port")
        return int(connected) if connected else _port(self.conninfo.get("port"))

    @property
    def slot(self) -> str | None:
        """The slot through which WAL comes, or is configured to come."""
        return (self.receiver or {}).get("slot_name") or self.settings.get("primary_slot_name") or None

    @property
    def public_conninfo(self) -> dict[str, str]:
        """`primary_conninfo` without its secrets."""
        return {key: value for key, value in self.conninfo.items() if key not in _HIDDEN}


def observe(server: Server) -> Observation:
    """Read everything that this collection wants to know about a server's replication."""
    pause_state = _PAUSE_STATE_13 if server.major == PAUSE_IS_A_SWITCH else _PAUSE_STATE
    sql = _OBSERVE.format(pause_state=pause_state, heard=_HEARD)
    seen = server.rows(sql, [list(SETTINGS)])[0]
    receiver = seen["receiver"]
    lsn = Lsn.parse(seen["lsn"] or "0/0")
    received_timeline = (receiver or {}).get("received_tli")
    if seen["wal_file"]:
        timeline = timeline_of_wal_file(seen["wal_file"])
    else:
        timeline = _replayed_timeline(server, lsn, seen["control_timeline"], received_timeline)
    return Observation(
        version=seen["version"].split()[0],
        major=server.major,
        role=seen["role"],
        in_recovery=seen["in_recovery"],
        system_identifier=seen["system_identifier"],
        timeline=timeline,
        lsn=lsn,
        received=Lsn.parse(seen["received"]) if seen["received"] else None,
        wal_block_size=seen["wal_block_size"],
        wal_segment_size=seen["wal_segment_size"],
        pause_state=seen["pause_state"],
        last_replay_age=seen["last_replay_age"],
        apply_delay=seen["apply_delay"] or 0,
        receiver=receiver,
        senders=tuple(seen["senders"] or ()),
        slots=tuple(seen["slots"] or ()),
        base_backups=tuple(seen["base_backups"] or ()),
        settings=seen["settings"],
        pending_restart=tuple(seen["pending_restart"]),
        conninfo=parse_conninfo(seen["primary_conninfo"] or ""),
        conninfo_visible=seen["primary_conninfo"] is not None,
    )


def _replayed_timeline(server: Server, lsn: Lsn, at_least: int, at_most: int | None) -> int:
    """The timeline of the WAL that a standby replayed last, from the bounds that are known for sure."""
    if at_most is None or at_most <= at_least:
        return at_least
    try:
        history = server.value(_HISTORY, [at_most])
    except QueryFailed:  # not a superuser: the control file catches up with the next restartpoint
        return at_least
    return max(at_least, TimelineHistory.parse(history or "").timeline_at(lsn, at_most))


def parse_conninfo(text: str) -> dict[str, str]:
    """The keywords of a connection string; none where it cannot be understood."""
    try:
        return dict(parse_dsn(text))
    except ProgrammingError:
        return {}


def described(seen: Observation) -> dict[str, Any]:
    """The observation as `replication_info` returns it: plain values, no secrets."""
    return {
        "role": "standby" if seen.in_recovery else "primary",
        "version": seen.version,
        "major_version": seen.major,
        "system_identifier": seen.system_identifier,
        "timeline": seen.timeline,
        "lsn": str(seen.lsn),
        "received_lsn": str(seen.reached) if seen.in_recovery else None,
        "upstream": _upstream(seen) if seen.in_recovery else None,
        "replay": _replay(seen) if seen.in_recovery else None,
        "standbys": list(seen.senders),
        "slots": [_with_health(row) for row in seen.slots],
        "synchronous_standby_names": seen.settings.get("synchronous_standby_names"),
        "settings": dict(seen.settings),
        "pending_restart": list(seen.pending_restart),
        "base_backups": list(seen.base_backups),
    }


def _upstream(seen: Observation) -> dict[str, Any]:
    conninfo = seen.public_conninfo
    return {
        "host": conninfo.get("host") or conninfo.get("hostaddr"),
        "port": _port(conninfo.get("port")),
        "user": conninfo.get("user"),
        "application_name": conninfo.get("application_name"),
        "slot": seen.settings.get("primary_slot_name") or None,
        "status": seen.receiver.get("status") if seen.receiver else None,
        "streaming": seen.streaming,
        "receiver": seen.receiver,
    }


def _port(text: str | None) -> int:
    """A connection string may name several hosts and ports; the first one is the one to show."""
    first = (text or "").split(",")[0]
    return int(first) if first.isdigit() else DEFAULT_PORT


def _replay(seen: Observation) -> dict[str, Any]:
    return {
        "pause_state": seen.pause_state,
        "apply_delay": seen.apply_delay,
        "delay": seen.replay_delay,
        "lag_bytes": seen.lag_bytes,
    }


def _with_health(row: Row) -> dict[str, Any]:
    level, sentence = health(row)
    return {**row, "health": level.value, "health_reason": sentence}
