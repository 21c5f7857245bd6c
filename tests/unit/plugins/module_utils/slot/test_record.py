# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of the slots that we made."""

from __future__ import annotations

import fcntl
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
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


def test_replicas_that_come_at_the_same_time_lose_nothing(tmp_path):
    path = str(tmp_path / "main.slots")
    names = [f"replica_{number:02}" for number in range(40)]
    with ThreadPoolExecutor(max_workers=8) as replicas:
        list(replicas.map(lambda name: record.add(path, name), names))
        assert record.read(path) == names
        list(replicas.map(lambda name: record.discard(path, name), names[1:]))
    assert record.read(path) == names[:1]
    assert [file.name for file in tmp_path.iterdir()] == ["main.slots"]


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
    with pytest.raises(WalstreamError, match=r"cannot write the record of our slots, .*main\.slots"):
        record.add(str(link), "a")
    assert victim.read_text() == "precious"


def test_a_record_that_somebody_holds_is_not_waited_for_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "_PATIENCE", 0.1)
    path = tmp_path / "main.slots"
    record.add(str(path), "a")
    with open(path, encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(WalstreamError, match=r"locked by another process for 0\.1 seconds"):
            record.add(str(path), "b")
    record.add(str(path), "b")
    assert record.read(str(path)) == ["a", "b"]
