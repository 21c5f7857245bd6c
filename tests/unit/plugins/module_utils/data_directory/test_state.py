# SPDX-License-Identifier: GPL-3.0-or-later
"""The judgement on a directory, over what a disk can show."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    IN_PLACE_WORKSPACE,
    Contents,
    Damage,
    State,
    classify,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.control_file import ControlData

CONTROL = ControlData(
    "1", "in production", 1, 1300, 202209061, "0/4000060", "0/4000028", None, None, True, 16777216
)
SEGMENT = "000000010000000000000004"
CLUSTER = {"PG_VERSION", "base", "global", "pg_wal", "postgresql.conf"}
UNFINISHED = {*CLUSTER, "backup_label", "backup_manifest.tmp"}


def contents(*names, **more):
    return Contents(names=frozenset(names), **more)


@pytest.mark.parametrize(
    ("found", "state", "words"),
    [
        (Contents(exists=False), State.ABSENT, "does not exist"),
        (contents(), State.EMPTY, "empty"),
        (contents("lost+found"), State.EMPTY, "empty"),
        (contents(obstacle="is a file"), State.UNKNOWN, "is a file"),
        (contents(*CLUSTER, control=CONTROL), State.PRIMARY, "a primary"),
        (contents(*CLUSTER, "standby.signal", control=CONTROL), State.STANDBY, "a standby"),
        (
            contents(*CLUSTER, "standby.signal", "recovery.signal", control=CONTROL),
            State.STANDBY,
            "a standby",
        ),
        (contents(*CLUSTER, "recovery.signal", control=CONTROL), State.PRIMARY, "archive"),
        (contents(*CLUSTER, "backup_label", control=CONTROL), State.PRIMARY, "not been started"),
        (
            contents(*CLUSTER, "standby.signal", control=Damage("whose file is short")),
            State.UNKNOWN,
            "holds a cluster whose file is short",
        ),
        (
            contents(*CLUSTER, IN_PLACE_WORKSPACE, "standby.signal", control=CONTROL),
            State.STANDBY,
            "a standby",
        ),
        # no control file
        (contents(*UNFINISHED), State.PARTIAL, "interrupted base backup"),
        (contents(*UNFINISHED, "server.key", "log", "lost+found"), State.PARTIAL, "interrupted base backup"),
        (contents(*UNFINISHED, "letter.txt"), State.UNKNOWN, "foreign files (letter.txt)"),
        (contents(*UNFINISHED, "postmaster.pid"), State.UNKNOWN, "without its control file"),
        (contents(*UNFINISHED, "postmaster.opts"), State.UNKNOWN, "without its control file"),
        (contents(*CLUSTER), State.UNKNOWN, "without its control file"),
        (contents("PG_VERSION"), State.UNKNOWN, "without its control file"),
        (contents("pg_wal"), State.PARTIAL, "interrupted base backup"),
        (contents("pg_wal", wal_names=frozenset({SEGMENT, "archive_status"})), State.PARTIAL, "interrupted"),
        (
            contents("pg_wal", wal_names=frozenset({SEGMENT, "notes"})),
            State.UNKNOWN,
            "without its control file",
        ),
        (
            contents("pg_wal", wal_names=frozenset({SEGMENT, "archive_status", f"{SEGMENT}.ready"})),
            State.UNKNOWN,
            "without its control file",
        ),
        (contents("letter.txt"), State.UNKNOWN, "not a cluster's"),
        (contents("a", "b", "c", "d"), State.UNKNOWN, "(a, b, c, …)"),
        # ours, in place
        (contents(IN_PLACE_WORKSPACE), State.PARTIAL, "interrupted clone of ours"),
        (contents(IN_PLACE_WORKSPACE, "lost+found"), State.PARTIAL, "interrupted clone of ours"),
        (contents(IN_PLACE_WORKSPACE, "letter.txt"), State.UNKNOWN, "letter.txt"),
        (contents(IN_PLACE_WORKSPACE, "base", staged_complete=True), State.PARTIAL, "complete"),
        (contents(IN_PLACE_WORKSPACE, *UNFINISHED), State.PARTIAL, "interrupted base backup"),
        (contents(IN_PLACE_WORKSPACE, *CLUSTER), State.UNKNOWN, "without its control file"),
    ],
)
def test_classify(found, state, words):
    judged, reason = classify(found)
    assert judged is state
    assert words in reason


def test_a_version_file_proves_nothing():
    with_it, without = (classify(contents(*names))[0] for names in (UNFINISHED, UNFINISHED - {"PG_VERSION"}))
    assert with_it is without is State.PARTIAL
