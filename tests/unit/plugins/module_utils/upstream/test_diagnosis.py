# SPDX-License-Identifier: GPL-3.0-or-later
"""What upstreams and libpq say, and what we make of it. The messages are those of versions 13 to 18."""

from __future__ import annotations

import os
import pwd

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import Lsn, TimelineHistory
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream import diagnosis
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.diagnosis import (
    Standing,
    compare,
    diagnose_upstream,
    end_of_upstream,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.login_errors import (
    UpstreamNames,
    explain,
)

POSTGRES = User("postgres", 105, 109, "/var/lib/postgresql")
UPSTREAM = UpstreamNames("db1", "5432", "replicator", "/data.pgpass", "replica")
PREFIX = 'connection to server at "db1" (10.0.0.1), port 5432 failed: '


@pytest.mark.parametrize(
    ("sqlstate", "message", "words"),
    [
        (None, 'could not translate host name "db1" to address: Name or service not known', "'db1'"),
        (None, PREFIX + "Connection refused\n\tIs the server running on that host", "nobody listens at db1"),
        (None, "could not connect to server: Connection refused", "nobody listens at db1, port 5432"),
        (None, PREFIX + "timeout expired", "firewall"),
        (None, PREFIX + "No route to host", "firewall"),
        (
            None,
            PREFIX + 'FATAL:  password authentication failed for user "replicator"',
            "/data.pgpass the same, and see",
        ),
        (None, PREFIX + "fe_sendauth: no password supplied", "/data.pgpass has no line"),
        (
            None,
            PREFIX
            + 'FATAL:  no pg_hba.conf entry for replication connection from host "10.0.0.2", '
            + 'user "replicator", no encryption',
            "lets 'replicator' replicate",
        ),
        (
            None,
            PREFIX + "FATAL:  pg_hba.conf rejects replication connection for host",
            "rejects 'replicator'",
        ),
        (None, PREFIX + 'FATAL:  role "replicator" does not exist', "LOGIN and REPLICATION"),
        (None, PREFIX + 'FATAL:  role "replicator" is not permitted to log in', "give it LOGIN"),
        (None, "FATAL:  must be superuser or replication role to start walsender", "give it REPLICATION"),
        (None, "FATAL:  permission denied to start WAL sender", "give it REPLICATION"),
        (
            None,
            "FATAL:  number of requested standby connections exceeds max_wal_senders (currently 10)",
            "walsenders",
        ),
        (None, "FATAL:  sorry, too many clients already", "max_connections"),
        (None, "FATAL:  the database system is starting up", "(the database system is starting up)"),
        (None, "server does not support SSL, but SSL was required", "ssl = on"),
        (None, PREFIX + "SSL error: certificate verify failed", "somebody stands in between"),
        (None, PREFIX + 'server certificate for "db2" does not match host name "db1"', "for another name"),
        (None, PREFIX + "SSL error: tlsv1 alert unknown ca", "does not accept the client certificate"),
        (None, PREFIX + "SSL error: tlsv13 alert certificate required", "TLS with the upstream fails"),
        (None, 'root certificate file "/x/ca.pem" does not exist\nEither provide', "run the role again"),
        (
            None,
            PREFIX + 'FATAL:  certificate authentication failed for user "replicator"',
            "client certificate of this host for 'replicator'",
        ),
        ("42704", 'replication slot "replica" does not exist', "the slot 'replica' does not exist"),
        ("42704", "Replikations-Slot »replica« existiert nicht", "the slot 'replica' does not exist"),
        ("55006", 'replication slot "replica" is active for PID 4711', "is active for PID 4711"),
        ("55000", "cannot use a logical replication slot for physical replication", "is a logical slot"),
        ("55000", 'can no longer access replication slot "replica"', "lost or invalidated"),
        (
            "58P01",
            "requested WAL segment 000000010000000000000002 has already been removed",
            "a new base backup",
        ),
        (
            "XX000",
            "requested starting point 0/9 is ahead of the WAL flush position of this server",
            "diverged",
        ),
        (
            "XX000",
            "requested starting point 0/5 on timeline 1 is not in this server's history",
            "rewound, or moved aside and cloned again",
        ),
        ("XX001", "something\nnew", "db1, port 5432 answers: something new"),
    ],
)
def test_explain(sqlstate, message, words):
    sentence = explain(sqlstate, message, UPSTREAM)
    assert words in sentence
    assert "\n" not in sentence


HISTORY = TimelineHistory(((1, Lsn.parse("0/4000000")), (2, Lsn.parse("0/8000000"))))


@pytest.mark.parametrize(
    ("identifier", "timeline", "end", "at", "words"),
    [
        ("42", 1, "0/3000060", (1, "0/3000060"), None),
        ("42", 1, "0/3000060", (1, "0/2000000"), None),
        ("43", 1, "0/3000060", (1, "0/3000060"), "another cluster"),
        ("42", 1, "0/3000060", (1, "0/3000070"), "does not have"),
        ("42", 1, "0/3000060", (2, "0/3000060"), "only on 1"),
        ("42", 3, "0/9000000", (1, "0/4000000"), None),
        ("42", 3, "0/9000000", (2, "0/5000000"), None),
        ("42", 3, "0/9000000", (1, "0/4000060"), "left timeline 1 at 0/4000000"),
    ],
)
def test_compare(identifier, timeline, end, at, words):
    standby = Standing("42", at[0], Lsn.parse(at[1]), 16777216)
    problem = compare({"systemid": identifier, "timeline": timeline, "xlogpos": end}, HISTORY, standby)
    assert (words in problem) if words else (problem is None)


def test_a_timeline_that_the_upstream_never_had():
    standby = Standing("42", 2, Lsn.parse("0/5000000"), 16777216)
    history = TimelineHistory(((1, Lsn.parse("0/4000000")),))
    problem = compare({"systemid": "42", "timeline": 3, "xlogpos": "0/9000000"}, history, standby)
    assert "never was on 2" in problem


@pytest.mark.parametrize(
    ("conninfo", "expected"),
    [
        ({}, ("the local socket", "5432", "postgres", "/var/lib/postgresql/.pgpass")),
        ({"host": "db1", "port": 5433, "user": "r", "passfile": "/p"}, ("db1", "5433", "r", "/p")),
        ({"hostaddr": "10.0.0.1"}, ("10.0.0.1", "5432", "postgres", "/var/lib/postgresql/.pgpass")),
    ],
)
def test_whom_a_conninfo_names(conninfo, expected):
    upstream = UpstreamNames.of(conninfo, "", POSTGRES.name, POSTGRES.home)
    assert (upstream.host, upstream.port, upstream.user, upstream.passfile) == expected
    assert upstream.slot is None


def test_a_hostile_slot_name_never_reaches_a_server():
    with pytest.raises(WalstreamError):
        diagnose_upstream({"host": "nowhere.invalid"}, 'x"; DROP', POSTGRES)


@pytest.mark.parametrize(
    "ask", [lambda user: diagnose_upstream({}, None, user), lambda user: end_of_upstream({}, user)]
)
def test_a_login_has_nothing_of_our_own_environment(monkeypatch, ask):
    """Root's certificate, password or service file is not what the server would use."""
    me = pwd.getpwuid(os.getuid())
    seen = []

    def connect(**_keywords):
        seen.append(dict(os.environ))
        raise ZeroDivisionError

    monkeypatch.setattr(diagnosis.psycopg2, "connect", connect)
    monkeypatch.setenv("PGSSLCERT", "mine.crt")
    with pytest.raises(ZeroDivisionError):
        ask(User(me.pw_name, me.pw_uid, me.pw_gid, "/home/of/the/server"))
    assert seen[0]["HOME"] == "/home/of/the/server"
    assert "PGSSLCERT" not in seen[0]
    assert os.environ["PGSSLCERT"] == "mine.crt"
