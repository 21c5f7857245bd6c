# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading an observation from a server, with one query: the I/O that belongs to `observation`.

Everything that a version may lack is read as JSON, so that a column's absence is no error.
"""

from __future__ import annotations

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.driver import psycopg2
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import (
    Lsn,
    TimelineHistory,
    timeline_of_wal_file,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import (
    QueryFailed,
    Server,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.observation import Observation

SETTINGS = (
    *("wal_level", "max_wal_senders", "max_replication_slots", "max_slot_wal_keep_size", "wal_keep_size"),
    *("idle_replication_slot_timeout", "archive_mode", "wal_log_hints", "data_checksums", "full_page_writes"),
    *("hot_standby", "hot_standby_feedback", "recovery_min_apply_delay", "primary_slot_name"),
    *("synchronous_standby_names", "wal_sender_timeout", "wal_receiver_timeout"),
    *("max_connections", "max_worker_processes", "max_prepared_transactions", "max_locks_per_transaction"),
    *("cluster_name", "listen_addresses", "port", "data_directory", "config_file", "hba_file"),
)
"""The parameters that decide whether and how a server replicates."""

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
       (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup') AS startup_wait,
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
                 'lag_bytes', pg_wal_lsn_diff(greatest(position.received, position.lsn), s.replay_lsn),
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
        startup_wait=seen["startup_wait"],
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
        return dict(psycopg2.extensions.parse_dsn(text))
    except psycopg2.ProgrammingError:
        return {}
