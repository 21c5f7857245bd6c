# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching a server until it is as expected, and finding out why it is not: the I/O around `expectations`."""

from __future__ import annotations

import math
import os
import pwd
from dataclasses import dataclass, replace

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import Lsn
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import (
    CONNECT_TIMEOUT,
    CannotConnect,
    Login,
    QueryFailed,
    Server,
    connect,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._replication import certificate
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.expectations import (
    Expected,
    is_hopeless,
    unmet,
    with_end_of_upstream,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.observation import Observation
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.on_server import observe
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.diagnosis import (
    Standing,
    diagnose_upstream,
    end_of_upstream,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._waiter import Clock, wait_until

SHORTEST_CONNECT_TIMEOUT = 2
"""libpq takes a smaller number of seconds for this one."""


@dataclass(frozen=True)
class Look:
    """One look at a server: what was seen, and what that lacks. Nothing was seen where it did not answer."""

    unmet: tuple[str, ...]
    seen: Observation | None = None
    hopeless: bool = False

    @property
    def settled(self) -> bool:
        return not self.unmet or self.hopeless


class Watcher:
    """Looks at a server over one session, which is opened again where the server has ended it."""

    def __init__(self, login: Login, expected: Expected) -> None:
        self._login = login
        self._expected = expected
        self._server: Server | None = None
        self._end_of_upstream: tuple[int, Lsn] | None = None

    def watch(self, timeout: float, clock: Clock | None = None) -> Look:
        """Look until all is as expected, or cannot become so, or `timeout` seconds are over."""
        patience = max(SHORTEST_CONNECT_TIMEOUT, min(CONNECT_TIMEOUT, math.ceil(timeout)))
        self._login = replace(self._login, keywords={"connect_timeout": patience, **self._login.keywords})
        try:
            return wait_until(self.look, lambda look: look.settled, timeout, clock)
        finally:
            self._close()

    def look(self) -> Look:
        try:
            self._server = self._server or connect(self._login)
            seen = observe(self._server)
        except (CannotConnect, QueryFailed) as error:
            self._close()
            return Look((str(error),))
        expected, obstacle = self._expected, ""
        if expected.caught_up and seen.claims_to_stream:
            obstacle = self._ask_upstream(seen)
        if self._end_of_upstream:
            seen = seen.confirmed_by(*self._end_of_upstream)
            expected = with_end_of_upstream(expected, seen, *self._end_of_upstream)
        lacking = unmet(expected, seen) or ([obstacle] if obstacle else [])
        if self._expected.encrypted and self._login.is_local and not lacking:
            lacking = [sentence for sentence in [certificate.objection(self._server)] if sentence]
        return Look(tuple(lacking), seen, is_hopeless(self._expected, seen))

    def _ask_upstream(self, seen: Observation) -> str:
        """Learn once where the upstream of a standby is; return why that cannot be learnt, or nothing."""
        if self._end_of_upstream and self._end_of_upstream[0] >= seen.timeline:
            return ""
        user = _local_owner(seen)
        if user is None or not seen.conninfo:
            return (
                "where its upstream is can be asked only on the standby's own host and by a role that may see "
                "primary_conninfo: ask for 'replayed_lsn' instead of 'caught_up'"
            )
        try:
            self._end_of_upstream = end_of_upstream(seen.conninfo, user)
        except WalstreamError as error:
            return f"its upstream could not be asked where it is: {error}"
        return ""

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


def likely_causes(look: Look) -> list[str]:
    """Why a server is not as expected, as far as can be found out from this host."""
    if look.seen is None:
        return [where_to_look(sentence) for sentence in look.unmet if where_to_look(sentence)]
    seen = look.seen
    if not seen.in_recovery or seen.streaming or not seen.conninfo:
        return []
    if _local_owner(seen) is None:
        return []
    if seen.held_back:
        return obstacles(seen) or [
            "recovery_min_apply_delay holds back WAL that this standby has received before it was restarted, and it "
            f"connects to its upstream after that, in {seen.apply_delay:g} s at the latest: see 'allow_held_back'"
        ]
    return obstacles(seen) or [
        "a replication login like the server's works now, so its next attempt should succeed "
        "(wal_retrieve_retry_interval); wait a little longer"
    ]


def obstacles(seen: Observation) -> list[str]:
    """What will keep a standby from streaming at its next attempt; nothing where that cannot be tried from here."""
    user = _local_owner(seen)
    if user is None:
        return []
    # One that is held back goes on behind the WAL that it has, which may be far ahead of what it has replayed.
    standing = (
        None
        if seen.held_back
        else Standing(seen.system_identifier, seen.timeline, seen.lsn, seen.wal_segment_size)
    )
    return diagnose_upstream(seen.conninfo, seen.settings.get("primary_slot_name"), user, standing)


def where_to_look(sentence: str) -> str:
    """What a server that does not answer is likely to be doing, from the reason that libpq gives."""
    logs = (
        "the end of its log (/var/log/postgresql on Debian, the folder 'log' in the data directory elsewhere, "
        "journalctl, or the container's output) says why"
    )
    if "No such file or directory" in sentence or "Connection refused" in sentence:
        return f"PostgreSQL is not running there, or on another port or socket; {logs}"
    if "the database system is" in sentence or "not accepting connections" in sentence:
        return f"PostgreSQL is running, but not ready; {logs}"
    return ""


def _local_owner(seen: Observation) -> User | None:
    """The account of a server that runs on this host, or None for a server elsewhere."""
    data_directory = seen.settings.get("data_directory") or ""
    try:
        owner = os.stat(os.path.join(data_directory, "postmaster.pid")).st_uid
        name = pwd.getpwuid(owner).pw_name
    except (OSError, KeyError):
        return None
    return User.named(name)
