# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan over the whole product of what can be found, wanted and answered: nothing falls through to a copy."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.plan import (
    Action,
    Desired,
    Leftover,
    Plan,
    Staged,
    plan,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    DataDirectory,
    State,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.control_file import ControlData
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.identity import Identity

OURS, FOREIGN = "7711508693079470117", "1234567890123456789"
UPSTREAM = Identity(OURS, 2, 15)
CONTROL = ControlData(
    OURS, "shut down", 2, 1300, 202209061, "0/4000060", "0/4000028", None, None, True, 16777216
)
NO_STAGE = Staged()

ABSENT = DataDirectory("/d", "/d", State.ABSENT, "does not exist")
EMPTY = replace(ABSENT, state=State.EMPTY, reason="is empty")
PARTIAL = replace(ABSENT, state=State.PARTIAL, reason="holds an interrupted base backup")
UNKNOWN = replace(ABSENT, state=State.UNKNOWN, reason="holds files")
STANDBY = replace(
    ABSENT, state=State.STANDBY, reason="holds a standby", version=15, control=CONTROL, standby_signal=True
)
PRIMARY = replace(STANDBY, state=State.PRIMARY, reason="holds a primary")


def with_(disk, **control):
    return replace(disk, control=replace(disk.control, **control))


@pytest.mark.parametrize(
    ("disk", "desired", "staged", "wal", "action", "words"),
    [
        (ABSENT, Desired(), NO_STAGE, None, Action.CLONE, "does not exist"),
        (EMPTY, Desired(), NO_STAGE, None, Action.CLONE, "is empty"),
        (EMPTY, Desired(replace=FOREIGN), NO_STAGE, None, Action.CLONE, "is empty"),
        (PARTIAL, Desired(), NO_STAGE, None, Action.CLONE, "removed"),
        (EMPTY, Desired(), Staged(Leftover.INTERRUPTED), None, Action.CLONE, "interrupted clone"),
        (EMPTY, Desired(), Staged(Leftover.ENDED), None, Action.CLONE, "is empty"),
        (EMPTY, Desired(), Staged(Leftover.RUNNING), None, Action.WAIT, "another run"),
        (STANDBY, Desired(), Staged(Leftover.RUNNING), None, Action.WAIT, "another run"),
        (EMPTY, Desired(), Staged(Leftover.COMPLETE, OURS, True, True), None, Action.FINISH, "complete"),
        (PARTIAL, Desired(), Staged(Leftover.COMPLETE, OURS, True, True), None, Action.FINISH, "complete"),
        (EMPTY, Desired(), Staged(Leftover.COMPLETE, OURS, False, True), None, Action.CLONE, "outlived"),
        (EMPTY, Desired(), Staged(Leftover.COMPLETE, OURS, True, False), None, Action.CLONE, "purpose"),
        (EMPTY, Desired(), Staged(Leftover.COMPLETE, OURS, True, True, False), None, Action.CLONE, "not verified"),
        (EMPTY, Desired(verify=False), Staged(Leftover.COMPLETE, OURS, True, True, False), None, Action.FINISH, "a"),
        (EMPTY, Desired(), Staged(Leftover.COMPLETE, FOREIGN, None, True), None, Action.REFUSE, "only one"),
        (replace(PARTIAL, used_by="pg_basebackup (pid 7)"), Desired(), NO_STAGE, None, Action.REFUSE, "pid 7"),
        (replace(PARTIAL, running=True, server="postgres"), Desired(), NO_STAGE, None, Action.REFUSE, "stop"),
        (UNKNOWN, Desired(), NO_STAGE, None, Action.REFUSE, "holds files"),
        (UNKNOWN, Desired(replace=OURS), NO_STAGE, None, Action.REFUSE, "holds files"),
        (
            with_(PRIMARY, system_identifier=FOREIGN), Desired(replace=FOREIGN),
            Staged(Leftover.COMPLETE, OURS, True, True, replaces=True), None, Action.FINISH, "complete copy beside",
        ),
        (
            with_(PRIMARY, system_identifier=FOREIGN), Desired(),
            Staged(Leftover.COMPLETE, OURS, True, True, replaces=True), None, Action.REFUSE, "another cluster",
        ),
        (
            with_(PRIMARY, system_identifier=FOREIGN), Desired(replace=FOREIGN),
            Staged(Leftover.COMPLETE, OURS, True, True), None, Action.CLONE, "aside",
        ),
        (
            with_(PRIMARY, system_identifier=FOREIGN), Desired(replace=FOREIGN),
            Staged(Leftover.COMPLETE, OURS, False, True, replaces=True), None, Action.CLONE, "aside",
        ),
        (
            with_(PRIMARY, system_identifier=FOREIGN), Desired(replace=FOREIGN),
            Staged(Leftover.COMPLETE, FOREIGN, None, True, replaces=True), None, Action.REFUSE, "only one",
        ),
        # a copy of this upstream
        (STANDBY, Desired(), NO_STAGE, None, Action.UNCHANGED, "standby"),
        (replace(STANDBY, running=True), Desired(), NO_STAGE, None, Action.UNCHANGED, "standby"),
        (with_(STANDBY, timeline=1), Desired(), NO_STAGE, None, Action.UNCHANGED, "standby"),
        (STANDBY, Desired(replace=OURS), NO_STAGE, True, Action.UNCHANGED, "standby"),
        (STANDBY, Desired(replace=OURS), NO_STAGE, None, Action.UNCHANGED, "standby"),
        (STANDBY, Desired(replace=FOREIGN), NO_STAGE, False, Action.UNCHANGED, "standby"),
        (STANDBY, Desired(replace=OURS), NO_STAGE, False, Action.CLONE, "no longer has the WAL"),
        (replace(STANDBY, running=True), Desired(replace=OURS), NO_STAGE, False, Action.UNCHANGED, "standby"),
        (PRIMARY, Desired(standby=False), NO_STAGE, None, Action.UNCHANGED, "copy"),
        # refused
        (with_(STANDBY, timeline=3), Desired(), NO_STAGE, None, Action.REFUSE, "newer"),
        (with_(STANDBY, minimum_recovery_timeline=3), Desired(), NO_STAGE, None, Action.REFUSE, "newer"),
        (with_(PRIMARY, timeline=3), Desired(replace=OURS), NO_STAGE, None, Action.REFUSE, "newer"),
        (replace(STANDBY, version=13), Desired(), NO_STAGE, None, Action.REFUSE, "version 13"),
        (PRIMARY, Desired(), NO_STAGE, None, Action.REFUSE, "former primary"),
        (PRIMARY, Desired(replace=FOREIGN), NO_STAGE, None, Action.REFUSE, "stale or wrong"),
        (PRIMARY, Desired(replace=OURS), NO_STAGE, None, Action.CLONE, "moved aside"),
        (replace(PRIMARY, running=True), Desired(replace=OURS), NO_STAGE, None, Action.REFUSE, "live primary"),
        (replace(PRIMARY, backup_label=True), Desired(), NO_STAGE, None, Action.REFUSE, "'replace'"),
        (with_(PRIMARY, system_identifier=FOREIGN), Desired(), NO_STAGE, None, Action.REFUSE, "another cluster"),
        (with_(STANDBY, system_identifier=FOREIGN), Desired(), NO_STAGE, None, Action.REFUSE, "another cluster"),
        (with_(STANDBY, system_identifier=FOREIGN), Desired(replace=OURS), NO_STAGE, None, Action.REFUSE, "stale"),
        (with_(STANDBY, system_identifier=FOREIGN), Desired(replace=FOREIGN), NO_STAGE, None, Action.CLONE, "aside"),
        (
            replace(with_(PRIMARY, system_identifier=FOREIGN), running=True, server="postgres (pid 3)"),
            Desired(replace=FOREIGN), NO_STAGE, None, Action.REFUSE, "pid 3",
        ),
        (
            replace(with_(PRIMARY, system_identifier=FOREIGN), is_mount_point=True),
            Desired(replace=FOREIGN), NO_STAGE, None, Action.REFUSE, "mount point",
        ),
    ],
)  # fmt: skip
def test_plan(*, disk, desired, staged, wal, action, words):
    decided = plan(desired, disk, UPSTREAM, staged, wal)
    assert decided.action is action
    assert words in decided.reason


def product():
    """Every combination of what can be found, wanted and answered."""
    controls = [
        replace(CONTROL, system_identifier=identifier, timeline=timeline)
        for identifier in (OURS, FOREIGN)
        for timeline in (1, 2, 3)
    ]
    for state, running, mount, label, version in itertools.product(
        State, (False, True), (False, True), (False, True), (13, 15, None)
    ):
        for control in controls if state in {State.PRIMARY, State.STANDBY} else [None]:
            disk = DataDirectory(
                "/d", "/d", state, "is so", version=version, control=control, running=running,
                is_mount_point=mount, backup_label=label,
            )  # fmt: skip
            for standby, consent in itertools.product((True, False), (None, OURS, FOREIGN, "0")):
                for leftover, identifier, wal, replaces in itertools.product(
                    Leftover, (None, OURS, FOREIGN), (None, True, False), (True, False)
                ):
                    staged = Staged(leftover, identifier, wal, True, replaces=replaces)
                    yield Desired(standby, consent), disk, staged, wal


def test_nothing_falls_through_to_a_copy():
    count = 0
    for desired, disk, staged, wal in product():
        decided = plan(desired, disk, UPSTREAM, staged, wal)
        assert isinstance(decided, Plan)
        assert decided.reason
        count += 1
        if decided.action in {Action.CLONE, Action.FINISH}:
            assert not disk.running
            assert disk.state is not State.UNKNOWN
            assert staged.leftover is not Leftover.RUNNING
        if decided.action is Action.FINISH:
            assert staged.system_identifier == OURS
            assert staged.leftover is Leftover.COMPLETE
            assert staged.replaces or not disk.control
        if decided.action in {Action.CLONE, Action.FINISH} and disk.control:
            assert decided.move_aside
            assert desired.replace == disk.system_identifier
            assert not disk.cannot_be_renamed
            assert disk.system_identifier == FOREIGN or disk.timeline <= UPSTREAM.timeline
        if decided.action in {Action.CLONE, Action.FINISH} and not disk.control:
            assert disk.state in {State.ABSENT, State.EMPTY, State.PARTIAL}
            assert not decided.move_aside
        if decided.action is Action.UNCHANGED:
            assert disk.system_identifier == OURS
            assert disk.timeline <= UPSTREAM.timeline
            assert disk.state is State.STANDBY or not desired.standby
    assert count > 10_000


def test_no_consent_is_sticky():
    """What was consented to once does not replace the standby that came of it."""
    for consent in (OURS, FOREIGN):
        for wal in (None, True):
            assert plan(Desired(replace=consent), STANDBY, UPSTREAM, NO_STAGE, wal).action is Action.UNCHANGED
