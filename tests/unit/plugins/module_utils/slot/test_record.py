# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of the slots that we made."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._slot import record


def test_it_remembers_and_forgets(tmp_path):
    path = str(tmp_path / "main.slots")
    assert record.read(path) == []
    for name in ("b", "a", "b"):
        record.add(path, name)
    assert record.read(path) == ["a", "b"]
    record.discard(path, "b")
    record.discard(path, "never")
    assert record.read(path) == ["a"]


@pytest.mark.parametrize("text", ["", "{", "{}", "null"])
def test_what_is_no_record_claims_no_slot(tmp_path, text):
    path = tmp_path / "main.slots"
    path.write_text(text)
    assert record.read(str(path)) == []


def test_a_planted_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link = tmp_path / "main.slots"
    link.symlink_to(victim)
    record.add(str(link), "a")
    assert victim.read_text() == "precious"
    assert record.read(str(link)) == ["a"]
