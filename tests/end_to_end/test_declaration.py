# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad inventories and a Docker that cannot be used: one sentence, and no host is touched."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.walstream.postgresql.tests.end_to_end.harness import PREFIX, Topology, docker

NEW = f"{PREFIX}-new"

CONTRADICTIONS = {
    "no primary": ({"primary": []}, ["no primary", "exactly one host"]),
    "two primaries": ({"primary": ["primary", "other"]}, ["2 primaries", f"{NEW}-other", "move the others"]),
    "both groups": ({"replica": ["primary", "replica"]}, ["both groups", "take it out"]),
    "unknown upstream": (
        {"hosts": {"replica": {"replication_upstream": "nobody"}}},
        ["replication_upstream", "'nobody'", "name one of their hosts"],
    ),
    "upstream loop": (
        {
            "replica": ["replica", "other"],
            "hosts": {
                "replica": {"replication_upstream": f"{NEW}-other"},
                "other": {"replication_upstream": f"{NEW}-replica"},
            },
        },
        ["circle", "point replication_upstream"],
    ),
    "missing password": ({"replication_password": None}, ["replication_password is not set", "set it"]),
    "empty password": ({"replication_password": ""}, ["replication_password is empty", "set it"]),
    "password of the replica alone": (
        {"hosts": {"replica": {"replication_password": "another-one"}}},
        [f"replication_password of .{NEW}-replica", f"{NEW}-primary", "set the same one"],
    ),
    "illegal slot name": (
        {"hosts": {"replica": {"replication_slot": "Bad-Slot"}}},
        ["replication_slot", "Bad-Slot", "lower-case letters"],
    ),
    "one slot for two": (
        {
            "replica": ["replica", "other"],
            "hosts": {"other": {"replication_slot": "replica_physical_slot"}},
        },
        ["share the slot 'replica_physical_slot'", "another replication_slot"],
    ),
    "a port of words": ({"postgresql_port": "many"}, ["postgresql_port", "1 to 65535"]),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictory_inventory(from_nothing: Topology, name: str) -> None:
    changes, parts = CONTRADICTIONS[name]
    run = from_nothing.site(inventory=from_nothing.inventory(**changes))
    sentence = run.sentence(*parts)
    assert "another-one" not in run.output, "a password was shown"
    assert {failure["failed"] for failure in run.failures} == {"localhost"}, sentence
    assert from_nothing.nothing_exists()


def test_no_docker_on_path(from_nothing: Topology, tmp_path: Path) -> None:
    everything_else = tmp_path / "bin"
    everything_else.mkdir()
    for directory in ("/usr/bin", "/bin"):
        for program in Path(directory).iterdir():
            if program.name not in ("docker", "podman"):
                (everything_else / program.name).unlink(missing_ok=True)
                (everything_else / program.name).symlink_to(program)
    run = from_nothing.site(env={"PATH": str(everything_else)})
    run.sentence("no docker on PATH", "install Docker", "Nothing was changed")


def test_docker_does_not_answer(from_nothing: Topology) -> None:
    run = from_nothing.site(env={"DOCKER_HOST": "tcp://127.0.0.1:1"})
    run.sentence("Docker does not answer", "start it", "Nothing was changed")
    assert from_nothing.nothing_exists()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, to become less")
def test_docker_without_permission(from_nothing: Topology, tmp_path: Path) -> None:
    """The real client against the real socket, as an account that may not use it."""
    wrapper = tmp_path / "docker"
    real = shutil.which("docker")
    nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups"
    wrapper.write_text(f'#!/bin/sh\nHOME=/nonexistent exec {nobody} {real} "$@"\n')
    wrapper.chmod(0o755)
    run = from_nothing.site(env={"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"})
    run.sentence("may not use Docker", "join the group docker", "Nothing was changed")
    assert from_nothing.nothing_exists()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_published_port_is_taken(from_nothing: Topology, taken_port: int, check: list[str]) -> None:
    inventory = from_nothing.inventory(hosts={"replica": {"container_published_port": taken_port}})
    from_nothing.site(*check, inventory=inventory).sentence(
        f"Port {taken_port} .* is taken", "stop what listens there, or set another", "Nothing was changed"
    )
    assert from_nothing.nothing_exists()


def test_container_of_somebody_else(from_nothing: Topology) -> None:
    name = from_nothing.replica.name
    docker(
        "run", "--detach", "--name", name, "--entrypoint", "sleep", "walstream/postgresql-node:bookworm", "60"
    )
    identity = docker("inspect", "--format", "{{.Id}}", name)
    from_nothing.site().sentence(f"{name} exists that this inventory did not make", "remove or rename it")
    assert docker("inspect", "--format", "{{.Id}}", name) == identity
    from_nothing.teardown().succeeded()
    assert docker("inspect", "--format", "{{.Id}}", name) == identity, "teardown removed what is not ours"
    assert not from_nothing.primary.exists
