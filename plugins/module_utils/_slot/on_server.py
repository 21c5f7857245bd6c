# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and changing replication slots on a server: the I/O that belongs to `plan`."""

from __future__ import annotations

from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import (
    QueryFailed,
    Server,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._slot import record
from ansible_collections.walstream.postgresql.plugins.module_utils._slot.plan import Action, Limits, Wanted
from ansible_collections.walstream.postgresql.plugins.module_utils._waiter import Clock, wait_until

# The view as JSON: whatever columns this version has, in types that can be returned to Ansible.
OBSERVE = """
SELECT current_setting('wal_level') AS wal_level,
       current_setting('max_replication_slots')::int AS max_replication_slots,
       (SELECT count(*)::int FROM pg_replication_slots) AS slots,
       COALESCE((SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user), false)
           AS may_replicate,
       current_user::text AS role,
       (SELECT to_jsonb(s) FROM pg_replication_slots s WHERE slot_name = %s) AS slot
"""
CREATE = "SELECT pg_create_physical_replication_slot(%s, %s)"
DROP = "SELECT pg_drop_replication_slot(%s)"
# Looks again at the last moment: what was read before may have become a slot that protects something.
DROP_USELESS = """
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
WHERE slot_name = %s AND (restart_lsn IS NULL OR wal_status = 'lost')
"""
TERMINATE = """
SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
WHERE slot_name = %s AND active_pid IS NOT NULL
"""

UNDEFINED_OBJECT = "42704"
DUPLICATE_OBJECT = "42710"
OBJECT_IN_USE = "55006"
SECONDS_TO_LET_GO = 10
"""How long a terminated consumer may take to release its slot, and how long we outrun its new attempts."""


class SlotServer:
    """Slots of the server behind an open session. `queries` collects what changed something.

    `record_file` is where those are noted that it makes, see `record`.
    """

    def __init__(
        self,
        session: Server,
        session_role: str | None = None,
        record_file: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._session = session
        self._record_file = record_file
        self._clock = clock
        self.queries: list[str] = []
        if session_role:
            session.rows("SELECT set_config('role', %s, false)", [session_role])

    def observe(self, name: str) -> tuple[Limits, dict[str, Any] | None]:
        """What the server allows, and the slot's row or None."""
        seen = self._session.rows(OBSERVE, [name])[0]
        row: dict[str, Any] | None = seen.pop("slot")
        return Limits(**seen), row

    def apply(self, action: Action, wanted: Wanted) -> None:
        """Carry out what was planned, and keep the record."""
        file, name = self._record_file, wanted.name
        if file and action is Action.CREATE:
            record.add(file, name)
        self._carry_out(action, wanted)
        if file and action is Action.RECREATE:  # until now it may have been somebody else's
            record.add(file, name)
        if file and action is Action.DROP:
            record.discard(file, name)

    def _carry_out(self, action: Action, wanted: Wanted) -> None:
        if action in (Action.DROP, Action.RECREATE):
            self._drop(wanted, DROP if action is Action.DROP else DROP_USELESS)
        if action in (Action.CREATE, Action.RECREATE):
            self._create(wanted)

    def _create(self, wanted: Wanted) -> None:
        try:
            self._execute(CREATE, [wanted.name, wanted.reserve])
        except QueryFailed as error:
            if error.sqlstate == DUPLICATE_OBJECT:
                raise WalstreamError(
                    f"the slot '{wanted.name}' changed while it was looked at: run again"
                ) from None
            raise WalstreamError(f"the slot '{wanted.name}' cannot be created: {error}") from None

    def _drop(self, wanted: Wanted, sql: str) -> None:
        # A consumer whose session was ended reconnects as soon as it can, so once may not be enough.
        patience = SECONDS_TO_LET_GO if wanted.force else 0
        error = wait_until(
            lambda: self._try_to_drop(wanted, sql), lambda seen: seen is None, patience, self._clock
        )
        if error is not None:
            raise WalstreamError(f"the slot '{wanted.name}' cannot be dropped: {error}")

    def _try_to_drop(self, wanted: Wanted, sql: str) -> QueryFailed | None:
        """None once the slot is gone; the server's answer while somebody uses it."""
        if wanted.force and self._session.rows(TERMINATE, [wanted.name]):
            self.queries.append(self._text(TERMINATE, [wanted.name]))
        try:
            self._execute(sql, [wanted.name])
        except QueryFailed as error:
            if error.sqlstate == OBJECT_IN_USE:
                return error
            if error.sqlstate != UNDEFINED_OBJECT:
                raise WalstreamError(f"the slot '{wanted.name}' cannot be dropped: {error}") from None
        return None

    def _execute(self, sql: str, values: list[Any]) -> None:
        self._session.rows(sql, values)
        self.queries.append(self._text(sql, values))

    def _text(self, sql: str, values: list[Any]) -> str:
        return " ".join(self._session.rendered(sql, values).split())
