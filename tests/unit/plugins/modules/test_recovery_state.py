# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of recovery_state to what is expected."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import Lsn
from ansible_collections.walstream.postgresql.plugins.modules.recovery_state import expected

NOTHING_ASKED = {
    "state": "standby",
    "streaming": True,
    "upstream": None,
    "slot": None,
    "system_identifier": None,
    "timeline": None,
    "replayed_lsn": None,
    "received_lsn": None,
    "caught_up": False,
    "max_lag_bytes": None,
    "max_replay_delay": None,
    "allow_paused": False,
    "allow_held_back": False,
    "replicas": [],
    "encrypted": False,
    "slots": [],
}


def test_a_standby_must_stream_unless_told_otherwise():
    assert expected(NOTHING_ASKED).streaming
    assert not expected({**NOTHING_ASKED, "streaming": False}).streaming
    assert not expected({**NOTHING_ASKED, "state": "primary"}).streaming


def test_values_arrive_where_they_belong():
    wanted = expected(
        {**NOTHING_ASKED, "upstream": {"host": "db1", "port": 1}, "replayed_lsn": "0/1", "slots": ["s"]}
    )
    assert (wanted.host, wanted.port, wanted.replayed_lsn, wanted.slots) == ("db1", 1, Lsn(1), ("s",))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("upstream", {"host": "a"}),
        ("slot", "s"),
        ("received_lsn", "0/1"),
        ("caught_up", True),
        ("max_lag_bytes", 0),
        ("max_replay_delay", 0.0),
    ],
)
def test_what_means_nothing_for_a_primary_is_a_mistake(option, value):
    with pytest.raises(WalstreamError, match=f"'{option}' is about a standby"):
        expected({**NOTHING_ASKED, "state": "primary", option: value})


def test_a_position_that_is_none():
    with pytest.raises(WalstreamError, match="is not a WAL position"):
        expected({**NOTHING_ASKED, "replayed_lsn": "latest"})


def test_catching_up_takes_a_stream():
    assert expected({**NOTHING_ASKED, "caught_up": True}).caught_up
    with pytest.raises(WalstreamError, match="means nothing with 'streaming: false'"):
        expected({**NOTHING_ASKED, "caught_up": True, "streaming": False})
