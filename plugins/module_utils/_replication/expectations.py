# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server is in the state that somebody expects: predicates over one observation.

A predicate returns None, or a sentence with what it saw and what it wanted to see. All of them are
asked about the same moment; a server that was right in every respect, but never at once, is not ready.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import Lsn
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.observation import Observation
from ansible_collections.walstream.postgresql.plugins.module_utils._slot.plan import health


@dataclass(frozen=True)
class Expected:
    """What is asked of a server. None and empty mean: not asked."""

    standby: bool
    streaming: bool = False
    host: str | None = None
    port: int | None = None
    slot: str | None = None
    system_identifier: str | None = None
    timeline: int | None = None
    replayed_lsn: Lsn | None = None
    received_lsn: Lsn | None = None
    caught_up: bool = False
    max_lag_bytes: int | None = None
    max_replay_delay: float | None = None
    allow_paused: bool = False
    allow_held_back: bool = False
    replicas: tuple[str, ...] = ()
    encrypted: bool = False
    slots: tuple[str, ...] = ()


def unmet(expected: Expected, seen: Observation) -> list[str]:
    """A sentence for each expectation that the server does not meet at this moment."""
    # Nothing else can be told about a server of the other kind that would not mislead.
    wrong_kind = _in_recovery(expected, seen)
    if wrong_kind:
        return [wrong_kind]
    return [sentence for predicate in PREDICATES for sentence in [predicate(expected, seen)] if sentence]


def with_end_of_upstream(expected: Expected, seen: Observation, timeline: int, end: Lsn) -> Expected:
    """What `caught_up` asks for, once the upstream has told its timeline and its end of WAL."""
    expected = replace(expected, timeline=timeline)
    # A delayed standby has to hold the WAL, not to have replayed it.
    return replace(expected, received_lsn=end) if seen.apply_delay else replace(expected, replayed_lsn=end)


def is_hopeless(expected: Expected, seen: Observation) -> bool:
    """Whether waiting cannot help, because nothing changes the system identifier of a running server."""
    return _system_identifier(expected, seen) is not None


def _in_recovery(expected: Expected, seen: Observation) -> str | None:
    if expected.standby == seen.in_recovery:
        return None
    if expected.standby:
        return "the server is a primary (not in recovery), not a standby: it was promoted, or never set up as one"
    return "the server is a standby (in recovery), not a primary"


def _system_identifier(expected: Expected, seen: Observation) -> str | None:
    if expected.system_identifier in (None, seen.system_identifier):
        return None
    return (
        f"the system identifier is {seen.system_identifier}, not {expected.system_identifier}: "
        "this is another cluster, not a copy of the expected one"
    )


def _timeline(expected: Expected, seen: Observation) -> str | None:
    if expected.timeline in (None, seen.timeline):
        return None
    return f"the timeline is {seen.timeline}, not {expected.timeline}"


def _streaming(expected: Expected, seen: Observation) -> str | None:
    if not expected.streaming or seen.streaming or _awaits_its_turn(expected, seen):
        return None
    if seen.receiver is None:
        why = ", because primary_conninfo is empty" if seen.conninfo_visible and not seen.conninfo else ""
        return f"no WAL receiver is running{why}"
    if seen.receiver.get("status") is None:
        return _hidden(seen, "the state of the WAL receiver is not visible")
    if seen.claims_to_stream and seen.is_ahead_of_upstream:
        return f"{seen.lsn} is replayed here, which the upstream does not have"
    if seen.claims_to_stream:
        return "the WAL receiver has only just connected, and its upstream has sent nothing yet"
    return f"the WAL receiver is in the state '{seen.receiver['status']}', not 'streaming'"


def _awaits_its_turn(expected: Expected, seen: Observation) -> bool:
    """Whether a standby that is late on purpose has no receiver yet, because it first replays what it has."""
    return expected.allow_held_back and seen.held_back and seen.receiver is None


def _hidden(seen: Observation, what: str) -> str:
    return f"{what} to the role '{seen.role}': log in as a superuser or a member of pg_monitor"


def _upstream(expected: Expected, seen: Observation) -> str | None:
    host, port = seen.upstream_host, seen.upstream_port
    places = [(host, port), *([seen.configured_place] if expected.allow_held_back and seen.held_back else [])]
    if any(expected.host in (None, one) and expected.port in (None, other) for one, other in places):
        return None
    wanted = f"{expected.host or host}, port {expected.port or port}"
    return f"the upstream is {host or 'not configured'}, port {port}, not {wanted}"


def _slot(expected: Expected, seen: Observation) -> str | None:
    if expected.slot in (None, seen.slot):
        return None
    if (
        expected.allow_held_back
        and seen.held_back
        and expected.slot == seen.settings.get("primary_slot_name")
    ):
        return None
    return f"the server streams through {_named('slot', seen.slot)}, not through the slot '{expected.slot}'"


def _named(kind: str, name: str | None) -> str:
    return f"the {kind} '{name}'" if name else f"no {kind}"


def _not_paused(expected: Expected, seen: Observation) -> str | None:
    if expected.allow_paused or seen.pause_state in (None, "not paused"):
        return None
    return (
        f"replay stands still (state '{seen.pause_state}'): call pg_wal_replay_resume(); if it paused by itself, "
        "one of max_connections, max_worker_processes, max_wal_senders, max_prepared_transactions and "
        "max_locks_per_transaction is lower here than on the primary: raise it and restart"
    )


def _replayed(expected: Expected, seen: Observation) -> str | None:
    if expected.replayed_lsn is None:
        return None
    wanted = expected.replayed_lsn.record_end(seen.wal_block_size, seen.wal_segment_size)
    if seen.lsn >= wanted:
        return None
    done = "replayed" if seen.in_recovery else "written"
    delayed = (
        f" (recovery_min_apply_delay is {seen.apply_delay:g} s, so it is behind on purpose: "
        "ask for 'received_lsn' instead)"
        if seen.apply_delay
        else ""
    )
    return f"WAL is {done} up to {seen.lsn}, {wanted - seen.lsn} bytes short of {wanted}{delayed}"


def _received(expected: Expected, seen: Observation) -> str | None:
    if expected.received_lsn is None:
        return None
    wanted = expected.received_lsn.record_end(seen.wal_block_size, seen.wal_segment_size)
    if seen.reached >= wanted or _awaits_its_turn(expected, seen):
        return None
    return f"WAL is received up to {seen.reached}, {wanted - seen.reached} bytes short of {wanted}"


def _lag(expected: Expected, seen: Observation) -> str | None:
    if expected.max_lag_bytes is None:
        return None
    if seen.known_end is None:
        return f"the lag is unknown without a streaming WAL receiver (at most {expected.max_lag_bytes} bytes wanted)"
    # A delayed standby has to hold the WAL, not to have replayed it.
    has, verb = (seen.reached, "received") if seen.apply_delay else (seen.lsn, "replayed")
    lag = seen.known_end - has
    if lag <= expected.max_lag_bytes:
        return None
    return f"{lag} bytes of WAL are not {verb} yet, more than {expected.max_lag_bytes}"


def _delay(expected: Expected, seen: Observation) -> str | None:
    if expected.max_replay_delay is None:
        return None
    delay = seen.replay_delay
    if delay is None:
        return "the replay delay is unknown: no commit was replayed since the server was started"
    if delay <= expected.max_replay_delay + seen.apply_delay:
        return None
    on_purpose = f" beyond the {seen.apply_delay:g} s on purpose" if seen.apply_delay else ""
    return f"replay is {delay - seen.apply_delay:.1f} s late{on_purpose}, more than {expected.max_replay_delay:g} s"


def _replicas(expected: Expected, seen: Observation) -> str | None:
    states = {
        name: [sender.get("state") for sender in seen.senders if sender["application_name"] == name]
        for name in expected.replicas
    }
    wrong = {name: found for name, found in states.items() if "streaming" not in found}
    if not wrong:
        return None
    if any(None in found for found in wrong.values()):
        return _hidden(seen, "the state of the replicas is not visible")
    parts = [f"{name} is {found[0] if found else 'not attached'}" for name, found in wrong.items()]
    attached = ", ".join(sorted({sender["application_name"] for sender in seen.senders})) or "none"
    return f"replicas are not streaming: {', '.join(parts)} (attached: {attached})"


def _encrypted(expected: Expected, seen: Observation) -> str | None:
    if not expected.encrypted:
        return None
    readable = [
        str(sender["application_name"])
        for sender in seen.senders
        if sender["application_name"] in expected.replicas and not sender.get("ssl")
    ]
    if not readable:
        return None
    return (
        f"the connections of these replicas are not encrypted: {', '.join(readable)} (look at sslmode in their "
        "primary_conninfo; a connection that is older than it has to end first)"
    )


def _slots(expected: Expected, seen: Observation) -> str | None:
    rows = {row["slot_name"]: row for row in seen.slots}
    parts = []
    for name in expected.slots:
        if name not in rows:
            parts.append(f"'{name}' does not exist")
        elif not rows[name]["active"]:
            parts.append(f"'{name}' is not active ({health(rows[name])[1]})")
    return f"slots are not in use: {', '.join(parts)}" if parts else None


PREDICATES: tuple[Callable[[Expected, Observation], str | None], ...] = (
    *(_system_identifier, _timeline, _streaming, _upstream, _slot, _not_paused),
    *(_replayed, _received, _lag, _delay, _replicas, _encrypted, _slots),
)
