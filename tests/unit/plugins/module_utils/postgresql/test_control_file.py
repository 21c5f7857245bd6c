# SPDX-License-Identifier: GPL-3.0-or-later
"""What real pg_controldata of several versions prints, whole and damaged."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.control_file import (
    Damaged,
    parse,
)

# From a standby of version 15; the label without a space before its value is PostgreSQL's.
STANDBY = """\
pg_control version number:            1300
Catalog version number:               202209061
Database system identifier:           7711508693079470117
Database cluster state:               in archive recovery
pg_control last modified:             Mon Nov 23 23:12:15 2026
Latest checkpoint location:           0/4000060
Latest checkpoint's REDO location:    0/4000028
Latest checkpoint's TimeLineID:       1
Latest checkpoint's oldestCommitTsXid:0
Minimum recovery ending location:     0/60000D8
Min recovery ending loc's timeline:   2
Bytes per WAL segment:                16777216
Data page checksum version:           1
"""
PRIMARY = (
    STANDBY.replace("in archive recovery", "in production")
    .replace("0/60000D8", "0/0")
    .replace("timeline:   2", "timeline:   0")
    .replace("checksum version:           1", "checksum version:           0")
)
WARNING_UP_TO_16 = (
    "WARNING: Calculated CRC checksum does not match value stored in file.\n"
    "Either the file is corrupt, or it has a different layout than this program\n"
    "is expecting.  The results below are untrustworthy.\n\n"
)
WARNING_FROM_17 = (
    "pg_controldata: warning: calculated CRC checksum does not match value stored in control file\n"
    "pg_controldata: detail: Either the control file is corrupt, or it has a different layout\n"
)
TRUNCATED = 'pg_controldata: error: could not read file "/d/global/pg_control": read 100 of 296\n'


def test_standby():
    control = parse(0, STANDBY, "")
    assert control.system_identifier == "7711508693079470117"
    assert control.state == "in archive recovery"
    assert control.timeline == 1
    assert control.newest_timeline == 2
    assert control.checkpoint_lsn == "0/4000060"
    assert control.redo_lsn == "0/4000028"
    assert control.minimum_recovery_lsn == "0/60000D8"
    assert control.data_checksums
    assert control.wal_segment_bytes == 16 * 1024 * 1024


def test_primary_has_no_minimum_recovery_location():
    control = parse(0, PRIMARY, "")
    assert control.minimum_recovery_lsn is None
    assert control.minimum_recovery_timeline is None
    assert control.newest_timeline == 1
    assert not control.data_checksums


@pytest.mark.parametrize(
    ("rc", "stdout", "stderr", "words"),
    [
        (0, WARNING_UP_TO_16 + PRIMARY, "", "checksum does not match"),
        (0, PRIMARY, WARNING_FROM_17, "checksum does not match"),
        (0, "WARNING: invalid WAL segment size\n" + PRIMARY, "", "invalid WAL segment size"),
        (
            0,
            PRIMARY,
            "pg_controldata: warning: invalid WAL segment size in control file (0 bytes)",
            "segment",
        ),
        (1, "", TRUNCATED, "read 100 of 296"),
        (1, "", "", "without a word"),
        (0, "", "", "does not print"),
        (0, PRIMARY.replace("Database system identifier", "Something else"), "", "system identifier"),
        (0, PRIMARY.replace("7711508693079470117", "???"), "", "where a number belongs"),
    ],
)
def test_what_cannot_be_trusted_is_damaged(rc, stdout, stderr, words):
    with pytest.raises(Damaged, match=".*".join(words.split())):
        parse(rc, stdout, stderr)
