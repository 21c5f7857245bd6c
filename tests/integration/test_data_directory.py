# SPDX-License-Identifier: GPL-3.0-or-later
"""What directories of real servers are, alive, stopped, crashed and damaged."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def node(shared_servers, suite):
    return shared_servers(suite)


@pytest.fixture(scope="module")
def standby(shared_servers, node):
    return shared_servers.standby(node)


def look(node, path="", **options):
    arguments = {"data_directory": path or node.data_directory, **options}
    return node.run_module("data_directory_info", arguments)["data_directory_info"]


def test_primary_alive_stopped_and_crashed(node):
    alive = look(node)
    assert alive["state"] == "primary"
    assert alive["version"] == node.major
    assert alive["control_state"] == "in production"
    assert alive["running"]
    assert not alive["stale_pid_file"]
    assert alive["system_identifier"] == node.psql("SELECT system_identifier FROM pg_control_system()")
    assert alive["timeline"] == 1
    assert alive["clone"] is None

    node.stop()
    stopped = look(node)
    assert (stopped["running"], stopped["control_state"]) == (False, "shut down")
    node.start()

    node.run("bash", "-c", "pkill -9 -x postgres; sleep 1")
    crashed = look(node)
    assert (crashed["running"], crashed["control_state"]) == (False, "in production")
    assert crashed["stale_pid_file"]
    # The number in the file may have been given to another process meanwhile: even to another server's.
    pid_file = f"{node.data_directory}/postmaster.pid"
    node.run("sed", "-i", "1s/.*/1/", pid_file)
    assert not look(node)["running"]
    node.run("rm", pid_file)
    node.start()
    # A server is found by its directory, also without its pid file.
    node.run("mv", pid_file, f"{pid_file}.away")
    assert look(node)["running"]
    node.run("mv", f"{pid_file}.away", pid_file)


def test_standby(node, standby):
    alive = look(standby)
    assert alive["state"] == "standby"
    assert alive["control_state"] == "in archive recovery"
    assert alive["running"]
    assert alive["standby_signal"]
    assert not alive["backup_label"]
    assert alive["system_identifier"] == look(node)["system_identifier"]
    standby.stop()
    stopped = look(standby)
    assert (stopped["state"], stopped["control_state"]) == ("standby", "shut down in recovery")
    standby.start()
    standby.psql("SELECT pg_promote()")
    promoted = look(standby)
    assert promoted["state"] == "primary"


def test_as_the_servers_own_user(node):
    script = (
        f"cd /; cp -a {node.data_directory} /srv/walstream/copy; rm -f /srv/walstream/copy/postmaster.pid"
    )
    node.run("bash", "-c", script, user="postgres")
    found = look(node, "/srv/walstream/copy")
    assert (found["state"], found["running"]) == ("primary", False)


@pytest.mark.parametrize(
    ("script", "state", "words"),
    [
        ("true", "absent", "does not exist"),
        ("mkdir d", "empty", "empty"),
        ("mkdir -p d/lost+found", "empty", "empty"),
        ("mkdir d; touch d/letter.txt", "unknown", "letter.txt"),
        ("touch d", "unknown", "a file"),
        ("mkfifo d", "unknown", "a file"),
        ("ln -s /nowhere d", "unknown", "does not exist"),
        ("ln -s d d", "unknown", "link"),
        ("cp -a /srv/walstream/copy d; truncate -s 100 d/global/pg_control", "unknown", "damaged"),
        ("cp -a /srv/walstream/copy d; truncate -s 0 d/global/pg_control", "unknown", "damaged"),
        (
            "cp -a /srv/walstream/copy d; printf xxxx | dd of=d/global/pg_control bs=1 seek=60 conv=notrunc",
            "unknown",
            "checksum",
        ),
        ("cp -a /srv/walstream/copy d; rm d/global/pg_control", "unknown", "without its control file"),
        (
            "cp -a /srv/walstream/copy d; rm d/global/pg_control; mkdir d/global/pg_control",
            "unknown",
            "not a file",
        ),
        ("cp -a /srv/walstream/copy e; ln -s e d", "primary", "primary"),
        ("cp -a /srv/walstream/copy d; touch d/standby.signal", "standby", "standby"),
        ("cp -a /srv/walstream/copy d; rm d/PG_VERSION", "unknown", "PG_VERSION is missing"),
    ],
)
@pytest.mark.suites("bookworm", "sid")
def test_whole_and_damaged(node, script, state, words):
    place = "/srv/walstream/damaged"
    try:
        node.run("bash", "-c", f"mkdir {place}; cd {place}; {script}", user="postgres")
        found = look(node, f"{place}/d")
        assert found["state"] == state, found["reason"]
        assert words in found["reason"]
    finally:
        node.run("rm", "-rf", place)


def test_somebody_elses_link_is_not_followed(node):
    try:
        node.run("ln", "-s", node.data_directory, "/tmp/d", user="nobody")
        found = look(node, "/tmp/d")
        assert found["state"] == "unknown"
        assert "symbolic link" in found["reason"]
    finally:
        node.run("rm", "-f", "/tmp/d")


def test_bad_input_is_a_sentence(node):
    for arguments, words in (
        ({"data_directory": "main"}, "not an absolute path"),
        ({"data_directory": "/d", "owner": "nobody-of-this-name"}, "does not exist"),
    ):
        result = node.run_module("data_directory_info", arguments)
        assert result["failed"]
        assert words in result["msg"]
