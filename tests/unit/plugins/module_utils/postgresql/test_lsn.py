# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL positions, timeline histories and slot names, as tables of text and meaning."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import (
    Lsn,
    TimelineHistory,
    require_slot_name,
    timeline_of_wal_file,
)
from hypothesis import given
from hypothesis import strategies as st

BLOCK = 8192
SEGMENT = 16 * 1024 * 1024
HISTORY = """
1\t0/4000000\tno recovery target specified

# a comment
2\t0/8000060\tno recovery target specified
"""


@pytest.mark.parametrize(
    ("text", "value", "canonical"),
    [
        ("0/0", 0, "0/0"),
        ("0/3000060", 0x3000060, "0/3000060"),
        ("1/0", 1 << 32, "1/0"),
        ("16/B374D848", 0x16B374D848, "16/B374D848"),
        ("16/b374d848", 0x16B374D848, "16/B374D848"),
        ("0/00000028", 0x28, "0/28"),
        (" 0/28\n", 0x28, "0/28"),
        ("FFFFFFFF/FFFFFFFF", (1 << 64) - 1, "FFFFFFFF/FFFFFFFF"),
    ],
)
def test_parse_and_format(text, value, canonical):
    assert Lsn.parse(text).value == value
    assert str(Lsn.parse(text)) == canonical


@pytest.mark.parametrize(
    "text", ["", "0", "0/", "/0", "0/0/0", "g/0", "0/123456789", "-1/0", "0x1/0", "0 / 1"]
)
def test_what_is_no_position(text):
    with pytest.raises(WalstreamError, match="is not a WAL position"):
        Lsn.parse(text)


@given(st.integers(0, (1 << 64) - 1))
def test_text_and_back(value):
    assert Lsn.parse(str(Lsn(value))) == Lsn(value)


def test_order_and_difference():
    # As text, 0/9 would come after 0/10.
    assert Lsn.parse("0/9") < Lsn.parse("0/10") < Lsn.parse("1/0")
    assert Lsn.parse("1/0") - Lsn.parse("0/FFFFFFFF") == 1
    assert Lsn.parse("0/0") - Lsn.parse("0/10") == -16


@pytest.mark.parametrize(
    ("position", "end"),
    [
        ("0/2000028", "0/2000000"),  # header of a segment
        ("0/2002018", "0/2002000"),  # header of a page
        ("0/2000060", "0/2000060"),
        ("0/2000000", "0/2000000"),
        ("0/2002028", "0/2002028"),  # 40 bytes into a page that starts no segment
    ],
)
def test_record_end_steps_back_over_a_page_header(position, end):
    assert str(Lsn.parse(position).record_end(BLOCK, SEGMENT)) == end


def test_segment_start():
    assert str(Lsn.parse("1/2000060").segment_start(SEGMENT)) == "1/2000000"


@pytest.mark.parametrize(
    ("position", "timeline"),
    [("0/1", 1), ("0/4000000", 1), ("0/4000001", 2), ("0/8000060", 2), ("0/8000061", 3), ("9/0", 3)],
)
def test_timeline_at_a_position(position, timeline):
    assert TimelineHistory.parse(HISTORY).timeline_at(Lsn.parse(position), newest=3) == timeline


def test_where_a_timeline_ended():
    history = TimelineHistory.parse(HISTORY)
    assert history.end_of(1) == Lsn.parse("0/4000000")
    assert history.end_of(3) is None
    assert TimelineHistory.parse("").timeline_at(Lsn(1), newest=1) == 1


def test_timeline_of_a_wal_file():
    assert timeline_of_wal_file("0000000A0000000100000002") == 10


@pytest.mark.parametrize("name", ["a", "_", "replica_physical_slot", "0", "a" * 63])
def test_legal_slot_names(name):
    require_slot_name(name)


@pytest.mark.parametrize(
    "name", ["", "A", "db-1", "db.1", "a b", "a" * 64, "ä", "a\n", "a;drop", "a'", '"', "%s", "²"]
)
def test_illegal_slot_names(name):
    with pytest.raises(WalstreamError, match="only lower-case letters, digits and underscores"):
        require_slot_name(name)
