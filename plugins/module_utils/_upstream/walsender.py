# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be learned from the upstream with the right to replicate and nothing more, over real replication logins."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.driver import (
    psycopg2,
    require_psycopg2,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.secrets import SECRET_KEYWORDS
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import (
    CONNECT_TIMEOUT,
    Login,
    QueryFailed,
    Server,
    connect,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import (
    User,
    clean_environment,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.connection import (
    replication_connection,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.identity import Identity
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.login_errors import (
    UpstreamNames,
    explain,
)

APPLICATION_NAME = "walstream_basebackup"
"""Not the name of any standby: a copy must never count as a synchronous one."""

READ_SLOT_SINCE = 15
WAL_ANSWER_WITHIN = 1.0
OBJECT_IN_USE = "55006"

TABLESPACES = "SELECT DISTINCT pg_tablespace_location(oid) AS location FROM pg_tablespace"
SIZES_BY_TABLESPACE = """
SELECT pg_tablespace_location(oid) AS location, sum(pg_tablespace_size(oid))::bigint AS bytes
FROM pg_tablespace GROUP BY 1
"""
SLOT_RESERVES = "SELECT restart_lsn IS NOT NULL FROM pg_replication_slots WHERE slot_name = %s"
SIZE_OF_DATABASES = "SELECT sum(pg_database_size(oid))::bigint FROM pg_database"

# Without them a copy whose network was cut waits for hours; libpq's default leaves that to the kernel.
_KEEPALIVES = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30000,
}


def keywords_from(upstream: Mapping[str, Any]) -> dict[str, Any]:
    """The libpq keywords of a replication login, from what the user gave."""
    for secret in SECRET_KEYWORDS:
        if upstream.get(secret) is not None:
            raise WalstreamError(
                f"'{secret}' in 'upstream' would show in the list of processes: put the password into a "
                "password file and name it with 'passfile'"
            )
    given = {key: value for key, value in upstream.items() if value not in (None, "")}
    given.pop("replication", None)
    return {
        "connect_timeout": CONNECT_TIMEOUT,
        "application_name": APPLICATION_NAME,
        **_KEEPALIVES,
        **given,
    }


@dataclass(frozen=True)
class Source:
    """What is known about the upstream's size: bytes by tablespace location, '' for the data directory itself.

    `total` stands alone where only the sum is known. Both are None where nothing is known beforehand:
    then the size is known, and looked at, as soon as the copy begins.
    """

    by_location: Mapping[str, int | None] | None = None
    total: int | None = None

    @property
    def bytes(self) -> int | None:
        if self.total is not None:
            return self.total
        known = [value for value in (self.by_location or {}).values() if value is not None]
        return sum(known) if self.by_location and len(known) == len(self.by_location) else None


class Upstream:
    """Opens replication logins as the server's user, as pg_basebackup will."""

    def __init__(self, keywords: Mapping[str, Any], owner: User) -> None:
        require_psycopg2()
        self._keywords = dict(keywords)
        self._owner = owner
        self.peer = UpstreamNames.of(self._keywords, None, owner.name, owner.home)
        self.place = f"{self.peer.host}, port {self.peer.port}"

    def _explained(self, error: Any, slot: str | None = None) -> str:
        return explain(error.pgcode, str(error), replace(self.peer, slot=slot))

    @contextlib.contextmanager
    def session(self) -> Iterator[Any]:
        """A connection to a walsender."""
        keywords = {key: value for key, value in self._keywords.items() if key != "dbname"}
        with contextlib.ExitStack() as stack:
            try:
                connection = stack.enter_context(replication_connection(keywords, self._owner))
            except psycopg2.Error as error:
                raise WalstreamError(f"no replication login: {self._explained(error)}") from None
            yield connection

    def identity(self) -> Identity:
        with self.session() as connection:
            row = self._ask(connection, "IDENTIFY_SYSTEM")
            return Identity(str(row[0]), int(row[1]), connection.server_version // 10000)

    def check_copy_is_possible(self, slot: str | None) -> None:
        """Do what pg_basebackup will do: hold two walsenders at once, the second one through the slot.

        The second one starts to stream and is closed again, which moves no slot: only a confirmation does that.
        """
        with self.session() as first:
            level = self._ask(first, "SHOW wal_level")[0]
            if level == "minimal":
                raise WalstreamError(
                    f"the upstream ({self.place}) has wal_level 'minimal': set it to 'replica' and restart it"
                )
            if slot and first.server_version // 10000 >= READ_SLOT_SINCE:
                self._check_slot(first, slot)
            elif slot:
                self._check_old_slot(slot)
            position = str(self._ask(first, "IDENTIFY_SYSTEM")[2])
            self._start_streaming(slot, position)

    def has_wal(self, lsn: str, timeline: int, slot: str | None = None) -> bool:
        """Whether the upstream can stream from `lsn` on: the real attempt, given up at the first answer."""
        try:
            self._start_streaming(slot, lsn, timeline, answer=True)
        except NoWal:
            return False
        return True

    def _check_slot(self, connection: Any, slot: str) -> None:
        row = self._ask(
            connection, f"READ_REPLICATION_SLOT {psycopg2.extensions.quote_ident(slot, connection)}"
        )
        if row[0] is None:
            raise WalstreamError(
                f"the slot '{slot}' does not exist on the upstream ({self.place}): create it with "
                "walstream.postgresql.replication_slot"
            )
        if row[1] is None:
            self._refuse_unreserved(slot)

    def _check_old_slot(self, slot: str) -> None:
        """Before version 15 only an ordinary login can ask, if the role may have one."""
        reserved = None
        with contextlib.suppress(WalstreamError), self._ordinary_login() as server:
            reserved = server.value(SLOT_RESERVES, (slot,))
        if reserved is False:
            self._refuse_unreserved(slot)

    def _refuse_unreserved(self, slot: str) -> NoReturn:
        raise WalstreamError(
            f"the slot '{slot}' on the upstream ({self.place}) reserves no WAL, because it was made without "
            "immediate reservation or is lost: make it anew with walstream.postgresql.replication_slot "
            "(recreate_lost, or drop it first)"
        )

    def _start_streaming(
        self, slot: str | None, position: str, timeline: int = 0, answer: bool = False
    ) -> None:
        with self.session() as connection:
            cursor = connection.cursor()
            try:
                cursor.start_replication(
                    slot_name=slot,
                    slot_type=psycopg2.extras.REPLICATION_PHYSICAL,
                    start_lsn=position,
                    timeline=timeline,
                )
                deadline = time.monotonic() + WAL_ANSWER_WITHIN
                # The walsender looks for the segment only when it begins to send it.
                while answer and cursor.read_message() is None and time.monotonic() < deadline:
                    time.sleep(0.02)
            except psycopg2.Error as error:
                if answer and "no COPY in progress" in str(error):
                    return  # it had the WAL, and has sent all that there is of a timeline that it has left
                if answer and ("has already been removed" in str(error) or "history" in str(error)):
                    raise NoWal(str(error)) from None
                if error.pgcode == OBJECT_IN_USE:
                    raise SlotInUse(self._explained(error, slot)) from None
                raise WalstreamError(f"WAL cannot be streamed: {self._explained(error, slot)}") from None

    def _ask(self, connection: Any, command: str) -> tuple[Any, ...]:
        try:
            with connection.cursor() as cursor:
                cursor.execute(command)
                return tuple(cursor.fetchone())
        except psycopg2.Error as error:
            raise WalstreamError(self._explained(error)) from None

    def measure(self) -> Source:
        """The size of the upstream's data, as far as the role may ask.

        Needs an ordinary login, which a role that may only replicate usually does not have.
        """
        with contextlib.suppress(WalstreamError), self._ordinary_login() as server:
            return _measure(server)
        return Source()

    @contextlib.contextmanager
    def _ordinary_login(self) -> Iterator[Server]:
        keywords = {"dbname": "postgres", **self._keywords}
        system_user = self._owner.name if self._owner.must_switch else None
        with clean_environment(self._owner), connect(Login(keywords, system_user, self.place)) as server:
            yield server


def _measure(server: Server) -> Source:
    """By tablespace where the role may see that, else the sum of the databases that it may connect to."""
    places = [row["location"] for row in server.rows(TABLESPACES)]
    try:
        sizes = server.rows(SIZES_BY_TABLESPACE)
        return Source({row["location"]: row["bytes"] for row in sizes})
    except QueryFailed:
        unknown = dict.fromkeys(places)
    try:
        return Source(unknown, server.value(SIZE_OF_DATABASES))
    except QueryFailed:
        return Source(unknown)


class SlotInUse(WalstreamError):
    """Another consumer holds the slot."""


class NoWal(WalstreamError):
    """The upstream has removed the WAL that was asked for."""
