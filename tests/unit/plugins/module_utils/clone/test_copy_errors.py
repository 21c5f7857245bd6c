# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_basebackup says when it fails, and the sentence that comes of it."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.copy_errors import (
    explain_copy,
    reason_in,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.login_errors import UpstreamNames

PEER = UpstreamNames("primary", "5432", "replicator", "/p", "replica")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['pg_basebackup: error: could not write to file "base/5/1": No space left on device'], "free space"),
        (
            [
                'WARNING:  checksum verification failed in file "./base/5/16384", block 3: calculated 1 but expected 2',
                "pg_basebackup: error: checksum error occurred",
            ],
            "'./base/5/16384', block 3: this page of the upstream is damaged",
        ),
        (
            ["pg_basebackup: error: could not receive data from WAL stream: ERROR:  requested WAL segment 0001 "
             "has already been removed"],
            "raise max_slot_wal_keep_size",
        ),
        (["pg_basebackup: error: could not read COPY data: server closed the connection unexpectedly"], "run again"),
        (["pg_basebackup: error: background process terminated unexpectedly"], "run again"),
        (['pg_basebackup: error: directory "/w" exists but is not empty'], "choose another"),
        (['pg_basebackup: error: invalid transfer rate "1x"'], "correct the option"),
        (["pg_basebackup: error: connection failed: FATAL:  no pg_hba.conf entry for replication"], "pg_hba.conf"),
        (["pg_basebackup: error: something new"], "something new"),
        ([], "without a word"),
    ],
)  # fmt: skip
def test_explained(lines, words):
    assert words in explain_copy(lines, PEER)


def test_the_first_complaint_is_the_cause():
    lines = ["NOTICE: hello", "pg_basebackup: error: A failed", "pg_basebackup: error: B failed"]
    assert reason_in(lines) == "A failed"
