# SPDX-License-Identifier: GPL-3.0-or-later
"""What our settings file should say, and what is refused before it says it."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster import plan
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster.plan import Declared
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal, WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import guc_file
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.guc_file import (
    Configuration,
    Setting,
)

OURS = {
    "port": "5433",
    "work_mem": "4MB",
    "primary_conninfo": "host=a",
    "synchronous_standby_names": "ANY 1 (b)",
}
ELSEWHERE = {"shared_buffers": Setting("shared_buffers", "1GB", "main", 1)}


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        pytest.param(Declared(), OURS, id="nothing said, nothing changed"),
        pytest.param(
            Declared(settings={}),
            {"port": "5433", "primary_conninfo": "host=a"},
            id="exactly nothing, but the options",
        ),
        pytest.param(
            Declared(settings={"Work_Mem": "8MB"}, keep=["synchronous_standby_names"]),
            {**OURS, "work_mem": "8MB"},
            id="kept by name",
        ),
        pytest.param(Declared(settings={"fsync": True}, purge=False), {**OURS, "fsync": "on"}, id="added"),
        pytest.param(
            Declared(settings={"work_mem": None}, purge=False),
            {name: value for name, value in OURS.items() if name != "work_mem"},
            id="null takes out",
        ),
        pytest.param(
            Declared(settings={}, defaults={"shared_buffers": "64MB", "wal_keep_size": "1GB"}),
            {"port": "5433", "primary_conninfo": "host=a", "wal_keep_size": "1GB"},
            id="defaults give way",
        ),
        pytest.param(
            Declared(settings={"wal_keep_size": "2GB"}, defaults={"wal_keep_size": "1GB"}),
            {"port": "5433", "primary_conninfo": "host=a", "wal_keep_size": "2GB"},
            id="settings beat defaults",
        ),
        pytest.param(
            Declared(
                settings={}, options={"port": "5434", "primary_conninfo": "", "primary_slot_name": None}
            ),
            {"port": "5434"},
            id="options set, clear, or say nothing",
        ),
    ],
)
def test_wanted_settings(declared, expected):
    assert plan.wanted_settings(declared, OURS, ELSEWHERE) == expected


@pytest.mark.parametrize(
    ("name", "option"), [("port", "port"), ("Primary_Conninfo", "upstream"), ("primary_slot_name", "slot")]
)
def test_parameters_with_an_option_of_their_own(name, option):
    with pytest.raises(WalstreamError, match=f"'{option}'"):
        Declared(settings={name: "x"})


def test_a_later_line_that_wins_is_named():
    configuration = Configuration(
        (
            Setting("work_mem", "4MB", "/ours", 3),
            Setting("work_mem", "1MB", "/theirs", 7),
            Setting("fsync", "on", "/theirs", 8),
        )
    )
    with pytest.raises(Refusal, match="'work_mem' is set to '1MB' in /theirs line 7"):
        plan.refuse_beaten(configuration, "/ours", {"work_mem": "4MB", "fsync": "on"})
    plan.refuse_beaten(configuration, "/ours", {"work_mem": "1MB", "fsync": "on"})


@pytest.mark.parametrize(
    ("effective", "words"),
    [
        ({"wal_level": "minimal"}, "max_wal_senders above 0"),
        ({"wal_level": "Minimal", "max_wal_senders": "0", "archive_mode": "on"}, "archive_mode"),
    ],
)
def test_contradictions(effective, words):
    with pytest.raises(Refusal, match=words):
        plan.refuse_contradictions(effective)


@pytest.mark.parametrize(
    "effective", [{}, {"wal_level": "minimal", "max_wal_senders": "0"}, {"wal_level": "replica"}]
)
def test_no_contradiction(effective):
    plan.refuse_contradictions(effective)


@pytest.mark.parametrize(
    ("effective", "words"),
    [
        (
            {"max_replication_slots": "1"},
            r"no room for 2 slots \(a, b\): max_replication_slots is 1, so raise it",
        ),
        ({"wal_level": "Minimal", "max_wal_senders": "0"}, "slots need wal_level"),
    ],
)
def test_slots_that_could_not_be_made(effective, words):
    with pytest.raises(Refusal, match=words):
        plan.refuse_slots_without_room(["a", "b"], effective)
    plan.refuse_slots_without_room([], effective)


@pytest.mark.parametrize("effective", [{}, {"max_replication_slots": "2", "wal_level": "logical"}])
def test_slots_with_room(effective):
    plan.refuse_slots_without_room(["a", "b"], effective)


CONTROL = """\
wal_level setting:                    replica
max_connections setting:              200
max_worker_processes setting:         8
max_wal_senders setting:              10
max_prepared_xacts setting:           2
max_locks_per_xact setting:           64
"""


def test_a_standby_needs_what_its_primary_has():
    on_primary = plan.standby_minimums(CONTROL)
    assert on_primary["max_prepared_transactions"] == 2
    with pytest.raises(
        Refusal, match="max_connections is 100 here and 200 on the primary; max_prepared_transactions is 0"
    ):
        plan.refuse_too_low_for_standby({"max_wal_senders": "10"}, on_primary)
    plan.refuse_too_low_for_standby({"max_connections": "200", "max_prepared_transactions": "3"}, on_primary)


def test_an_overlay_shows_files_as_they_will_be():
    disk = {"/c/postgresql.conf": "include_dir 'conf.d'\n", "/c/conf.d/a.conf": "port = 1\n"}
    folders = {"/c/conf.d": ["a.conf"]}
    overlay = plan.Overlay({"/c/conf.d/walstream.conf": "port = 2\n"}, disk.get, folders.get)
    configuration = guc_file.load("/c/postgresql.conf", overlay.read, overlay.list_directory)
    assert configuration.effective()["port"] == Setting("port", "2", "/c/conf.d/walstream.conf", 1)
    empty = plan.Overlay({}, disk.get, folders.get)
    assert empty.list_directory("/elsewhere") is None


def test_changed_names():
    assert plan.changed_names({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == ["a", "b", "c"]
