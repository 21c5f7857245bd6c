# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching a server, its upstream asked where it is, and where to look when a server does not answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import Lsn
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import Login
from ansible_collections.walstream.postgresql.plugins.module_utils._replication import watch
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.expectations import Expected
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.watch import (
    Look,
    Watcher,
    likely_causes,
    where_to_look,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.tests.unit.plugins.module_utils.replication.standby import (
    STANDBY,
)

POSTGRES = User("postgres", 105, 109, "/var/lib/postgresql")
SILENT = replace(STANDBY, received=Lsn.parse("0/3000000"), receiver={"status": "streaming", "heard": False})
HERE, FURTHER = (1, Lsn.parse("0/3000060")), (1, Lsn.parse("0/3000100"))


class Both:
    """A standby that is seen as `looks` say, one after the other, and an upstream that answers with `ends`."""

    def __init__(self, monkeypatch, looks, ends, owner=POSTGRES):
        self.looks, self.ends = list(looks), list(ends)
        monkeypatch.setattr(watch, "connect", lambda login: object())
        monkeypatch.setattr(watch, "observe", lambda server: self.looks.pop(0))
        monkeypatch.setattr(watch, "end_of_upstream", lambda conninfo, user: self._answer())
        monkeypatch.setattr(watch, "_local_owner", lambda seen: owner)
        self.watcher = Watcher(Login({}), Expected(standby=True, streaming=True, caught_up=True))

    def _answer(self):
        end = self.ends.pop(0)
        if isinstance(end, str):
            raise WalstreamError(end)
        return end

    def look(self):
        return list(self.watcher.look().unmet)


def test_a_standby_is_measured_by_what_its_upstream_had_when_it_was_first_asked(monkeypatch):
    caught_up = replace(SILENT, lsn=FURTHER[1])
    both = Both(monkeypatch, [SILENT, caught_up], [FURTHER])
    assert both.look() == ["WAL is replayed up to 0/3000060, 160 bytes short of 0/3000100"]
    assert both.look() == []


def test_an_upstream_is_not_asked_before_a_receiver_claims_to_stream(monkeypatch):
    both = Both(monkeypatch, [replace(SILENT, receiver=None), SILENT], [HERE])
    assert both.look() == ["no WAL receiver is running"]
    assert both.ends == [HERE]
    assert both.look() == []


def test_a_standby_that_has_followed_a_promotion_asks_again(monkeypatch):
    later = replace(SILENT, timeline=2, lsn=Lsn.parse("0/4000000"))
    both = Both(monkeypatch, [SILENT, later], [FURTHER, (2, Lsn.parse("0/4000000"))])
    assert both.look()
    assert both.look() == []


def test_an_upstream_that_refuses_to_tell_proves_nothing(monkeypatch):
    heard = replace(SILENT, receiver={"status": "streaming", "heard": True})
    both = Both(monkeypatch, [heard, heard], ["it refuses the password", HERE])
    assert both.look() == ["its upstream could not be asked where it is: it refuses the password"]
    assert both.look() == []


def test_only_the_standbys_own_host_can_ask(monkeypatch):
    heard = replace(SILENT, receiver={"status": "streaming", "heard": True})
    (sentence,) = Both(monkeypatch, [heard], [], owner=None).look()
    assert "only on the standby's own host" in sentence


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        (
            'connection to server on socket "/x/.s.PGSQL.5432" failed: No such file or directory',
            "not running",
        ),
        ("could not connect to server: Connection refused", "not running"),
        ("FATAL:  the database system is starting up", "running, but not ready"),
        ("FATAL:  the database system is not yet accepting connections", "running, but not ready"),
        ('FATAL:  role "x" does not exist', ""),
    ],
)
def test_where_to_look(sentence, words):
    found = where_to_look(sentence)
    assert (words in found) if words else (found == "")
    assert likely_causes(Look((sentence,))) == ([found] if words else [])
