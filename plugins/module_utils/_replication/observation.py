# SPDX-License-Identifier: GPL-3.0-or-later
"""What one server says about its replication at one moment, and how we show it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import (
    Lsn,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._slot.plan import health

DEFAULT_PORT = 5432
HELD_BACK = "RecoveryApplyDelay"
_HIDDEN = ("password", "sslpassword", "oauth_client_secret")

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
    startup_wait: str | None = None
    """What the process that replays waits for, as `pg_stat_activity` names it."""
    receiver: Row | None = None
    senders: tuple[Row, ...] = ()
    slots: tuple[Row, ...] = ()
    base_backups: tuple[Row, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    pending_restart: tuple[str, ...] = ()
    conninfo: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The keywords of `primary_conninfo`. May hold a password: show `public_conninfo` to people."""
    conninfo_visible: bool = True
    confirmed: bool = False
    """Whether its upstream, asked itself, is where this server is: see `confirmed_by`."""

    @property
    def held_back(self) -> bool:
        """Whether replay stands still on purpose, at a commit that is younger than `recovery_min_apply_delay`.

        Until it goes on, the server does not start a receiver, and an old one stays though its configuration changed.
        """
        return self.in_recovery and self.startup_wait == HELD_BACK

    @property
    def streaming(self) -> bool:
        """Whether a WAL receiver streams, and its upstream has agreed to that and can feed this server."""
        agreed = self.claims_to_stream and (self.confirmed or bool((self.receiver or {}).get("heard")))
        return agreed and not self.is_ahead_of_upstream

    @property
    def claims_to_stream(self) -> bool:
        """Whether a WAL receiver has asked for WAL, and not been refused at once."""
        return (self.receiver or {}).get("status") == "streaming"

    def confirmed_by(self, timeline: int, end: Lsn) -> Observation:
        """The same, with what its upstream has said of itself: the timeline it is on and its end of WAL.

        What makes a receiver fail after it was not refused is WAL that the upstream has removed. It never removes the
        segment that it is in, so nothing of the kind awaits a server that is there too.
        """
        here = end.segment_start(self.wal_segment_size) <= self.lsn <= end
        return replace(self, confirmed=here and timeline == self.timeline)

    @property
    def is_ahead_of_upstream(self) -> bool:
        """Whether more is replayed here than the upstream has.

        A standby that has diverged streams again and again for a moment, up to where its upstream left its timeline.
        """
        end = self._reported_end
        return end is not None and self.lsn > end

    @property
    def _reported_end(self) -> Lsn | None:
        """The end of WAL as the upstream last told it; after a restart, what is received may be far behind it."""
        reported = (self.receiver or {}).get("latest_end_lsn")
        return Lsn.parse(reported) if reported else None

    @property
    def known_end(self) -> Lsn | None:
        """The end of WAL that a streaming standby knows of: what it has, or what its upstream last said it has."""
        return max(self.reached, self._reported_end or self.reached) if self.streaming else None

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
        return (self.receiver or {}).get("sender_host") or self.configured_place[0]

    @property
    def configured_place(self) -> tuple[str | None, int]:
        """Host and port that WAL will come from at the next connection."""
        host = self.conninfo.get("host") or self.conninfo.get("hostaddr")
        return host, _port(self.conninfo.get("port"))

    @property
    def upstream_port(self) -> int:
        connected = (self.receiver or {}).get("sender_port")
        return int(connected) if connected else self.configured_place[1]

    @property
    def slot(self) -> str | None:
        """The slot through which WAL comes, or is configured to come."""
        return (self.receiver or {}).get("slot_name") or self.settings.get("primary_slot_name") or None

    @property
    def public_conninfo(self) -> dict[str, str]:
        """`primary_conninfo` without its secrets."""
        return {key: value for key, value in self.conninfo.items() if key not in _HIDDEN}


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
        "held_back": seen.held_back,
        "lag_bytes": seen.lag_bytes,
    }


def _with_health(row: Row) -> dict[str, Any]:
    level, sentence = health(row)
    return {**row, "health": level.value, "health_reason": sentence}
