# SPDX-License-Identifier: GPL-3.0-or-later
"""Carrying out a plan on a server that answers as we tell it to."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import QueryFailed
from ansible_collections.walstream.postgresql.plugins.module_utils._slot.on_server import SlotServer
from ansible_collections.walstream.postgresql.plugins.module_utils._slot.plan import Action, Wanted

IN_USE = QueryFailed("replication slot is active for PID 4711", "55006")
GONE = QueryFailed("replication slot does not exist", "42704")
DENIED = QueryFailed("permission denied", "42501")
EXISTS = QueryFailed("replication slot already exists", "42710")


class FakeSession:
    """Answers statements by the function that they call, with a list of answers for each, the last one for ever."""

    def __init__(self, **answers):
        self.answers = {name: list(found) for name, found in answers.items()}

    def rows(self, sql, values=None):
        for name, found in self.answers.items():
            if name in sql:
                answer = found.pop(0) if len(found) > 1 else found[0]
                if isinstance(answer, Exception):
                    raise answer
                return answer
        return [{"done": True}]

    def rendered(self, sql, values=None):
        return sql.replace("%s", "{!r}").format(*values)


class StoppedClock:
    def __init__(self):
        self.time = 0.0

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.time += seconds


def server(**answers):
    return SlotServer(FakeSession(**answers), clock=StoppedClock())


def test_create():
    slots = server()
    slots.apply(Action.CREATE, Wanted("s", reserve=False))
    assert slots.queries == ["SELECT pg_create_physical_replication_slot('s', False)"]


def test_recreate_looks_again_before_it_drops():
    slots = server()
    slots.apply(Action.RECREATE, Wanted("s"))
    assert "restart_lsn IS NULL OR wal_status = 'lost'" in slots.queries[0]
    assert "pg_create_physical_replication_slot" in slots.queries[1]


def test_a_slot_that_changed_meanwhile():
    with pytest.raises(WalstreamError, match="changed while it was looked at: run again"):
        server(pg_create_physical_replication_slot=[EXISTS]).apply(Action.RECREATE, Wanted("s"))


def test_force_outruns_a_consumer_that_comes_back():
    slots = server(pg_drop_replication_slot=[IN_USE, IN_USE, [{}]])
    slots.apply(Action.DROP, Wanted("s", present=False, force=True))
    assert len([query for query in slots.queries if "pg_terminate_backend" in query]) == 3
    assert slots.queries[-1] == "SELECT pg_drop_replication_slot('s')"


def test_force_gives_up_in_the_end():
    with pytest.raises(WalstreamError, match=r"cannot be dropped: .*4711"):
        server(pg_drop_replication_slot=[IN_USE]).apply(Action.DROP, Wanted("s", present=False, force=True))


def test_without_force_a_slot_in_use_is_tried_once():
    slots = server(pg_drop_replication_slot=[IN_USE, [{}]])
    with pytest.raises(WalstreamError, match="4711"):
        slots.apply(Action.DROP, Wanted("s", present=False))
    assert slots.queries == []


def test_a_slot_that_somebody_else_dropped_is_gone():
    slots = server(pg_drop_replication_slot=[GONE])
    slots.apply(Action.DROP, Wanted("s", present=False))
    assert slots.queries == []


@pytest.mark.parametrize(
    ("action", "answers", "words"),
    [
        (Action.DROP, {"pg_drop_replication_slot": [DENIED]}, "cannot be dropped: permission denied"),
        (Action.CREATE, {"pg_create_physical": [DENIED]}, "cannot be created: permission denied"),
    ],
)
def test_what_the_server_refuses(action, answers, words):
    with pytest.raises(WalstreamError, match=words):
        server(**answers).apply(action, Wanted("s"))
