# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of real pg_basebackup, and what people read of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.progress import (
    CHECKPOINT,
    COPYING,
    SYNCING,
    VERIFYING,
    WAL,
    Progress,
    advance,
    duration,
    sentence,
    size,
    worth_saying,
)

LINES = """\
pg_basebackup: initiating base backup, waiting for checkpoint to complete
pg_basebackup: checkpoint completed
pg_basebackup: write-ahead log start point: 0/4000028 on timeline 3
pg_basebackup: starting background WAL receiver
17930/59536 kB (30%), 0/2 tablespaces (/srv/pg/c/base/5/16384             )
59546/59546 kB (100%), 2/2 tablespaces                                        \x20
pg_basebackup: write-ahead log end point: 0/4000100
pg_basebackup: waiting for background process to finish streaming ...
pg_basebackup: syncing data to disk ...
pg_basebackup: base backup completed
""".splitlines()


def test_a_whole_run():
    progress, phases = Progress.beginning(100.0), []
    for second, line in enumerate(LINES, start=101):
        progress = advance(progress, line, second) or progress
        phases.append(progress.phase)
    assert list(dict.fromkeys(phases)) == [
        CHECKPOINT,
        COPYING,
        WAL,
        SYNCING,
    ]
    assert progress.start_lsn == "0/4000028"
    assert progress.timeline == 3
    assert progress.bytes_done == progress.bytes_total == 59546 * 1024
    assert progress.tablespaces == 2
    assert Progress.from_dict({**progress.as_dict(), "token": "x"}) == progress


@pytest.mark.parametrize(
    "line", ["pg_basebackup: error: could not connect", "", "12/x kB", "WARNING:  100/200 kB ("]
)
def test_other_lines_say_nothing(line):
    assert advance(Progress(), line, 1.0) is None


def test_sentences():
    copying = Progress(phase=COPYING, phase_started=0, updated=10, bytes_done=1 << 30, bytes_total=4 << 30)
    assert sentence(copying, 10) == "copying 1.0 GiB of 4.0 GiB (25 %), 102 MiB/s, 30 s left"
    waiting = Progress(phase=CHECKPOINT, phase_started=5)
    assert sentence(waiting, 5.2) == CHECKPOINT
    assert sentence(waiting, 95) == f"{CHECKPOINT}, for 1 min 30 s"


def test_how_often():
    first = Progress(phase=COPYING, updated=100, bytes_done=10, bytes_total=1000)
    assert worth_saying(None, first, live=False)
    assert worth_saying(first, replace(first, phase=VERIFYING), live=False)
    soon = replace(first, updated=104, bytes_done=500)
    assert worth_saying(first, soon, live=True)
    assert not worth_saying(first, soon, live=False)
    assert worth_saying(first, replace(soon, updated=131), live=False)
    assert not worth_saying(first, replace(soon, updated=500, bytes_done=20), live=False)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (15 << 20, "15 MiB"), (3 << 39, "1.5 TiB")],
)
def test_size(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
