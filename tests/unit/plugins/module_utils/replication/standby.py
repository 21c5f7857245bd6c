# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby in order, from which the tests make those that are not."""

from __future__ import annotations

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import Lsn
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.observation import Observation

RECEIVER = {
    "status": "streaming",
    "heard": True,
    "sender_host": "db1",
    "sender_port": 5432,
    "slot_name": "replica",
    "received_tli": 1,
    "latest_end_lsn": "0/3000060",
}
STANDBY = Observation(
    version="15.18",
    major=15,
    role="postgres",
    in_recovery=True,
    system_identifier="42",
    timeline=1,
    lsn=Lsn.parse("0/3000060"),
    received=Lsn.parse("0/3000060"),
    wal_block_size=8192,
    wal_segment_size=16777216,
    pause_state="not paused",
    last_replay_age=3600.0,
    receiver=RECEIVER,
    settings={"primary_slot_name": "replica"},
    conninfo={"host": "db1", "port": "5432", "user": "replicator", "password": "secret"},
)
