# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs for some of the hosts: what they depend on elsewhere is looked at, never guessed and never changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.walstream.postgresql.tests.end_to_end.harness import (
    REPOSITORY,
    SLOT,
    Node,
    Run,
    Topology,
    docker,
    wait_until,
)

VERSION = "/var/lib/postgresql/15"


def only(node: Node) -> tuple[str, str]:
    return ("--limit", f"{node.name},localhost")


def without(node: Node) -> tuple[str, str]:
    return ("--limit", f"all:localhost:!{node.name}")


def own_play(
    topology: Topology, directory: Path, role: str, node: Node, *more: Mapping[str, Any], **options: Any
) -> Run:
    """A playbook of other people: one play for one host, which includes the role, and `more` behind it."""
    include = {"ansible.builtin.include_role": {"name": f"walstream.postgresql.{role}"}}
    plays = [{"hosts": node.name, "gather_facts": False, "tasks": [include]}, *more]
    path = directory / "own.yml"
    path.write_text(yaml.safe_dump(plays))
    return topology.play(os.path.relpath(path.with_suffix(""), REPOSITORY / "playbooks"), **options)


def lose_data(node: Node) -> None:
    node.pg_ctl("stop", "-m", "fast")
    node.shell(f"rm -rf {VERSION} /etc/postgresql/15")


def test_a_proof_is_not_taken_for_a_later_one(disposable: Topology, tmp_path: Path) -> None:
    """A new replica that proved itself when it was started has to do so again in a later play of the same run."""
    replica = disposable.replica
    lose_data(replica)
    pause = "psql -qc 'SELECT pg_wal_replay_pause()'"
    spoil = {"ansible.builtin.command": pause, "become": True, "become_user": "postgres"}
    run = own_play(
        disposable,
        tmp_path,
        "replica",
        replica,
        {"hosts": replica.name, "gather_facts": False, "tasks": [spoil]},
        {"ansible.builtin.import_playbook": str(REPOSITORY / "playbooks" / "verify.yml")},
        inventory=disposable.inventory(replication_timeout=10),
    )
    run.sentence("replay stands still")
    assert run.result("Configure and run the server")["recovery_state"]["upstream"]["streaming"]
    replica.psql("SELECT pg_wal_replay_resume()")
    disposable.verify().settled()


@pytest.fixture
def replica_is_down(disposable: Topology) -> Iterator[Topology]:
    """The machine, not only its server."""
    docker("stop", disposable.replica.name)
    yield disposable
    docker("start", disposable.replica.name)


@pytest.mark.parametrize("role", ["primary", "replica"])
def test_nothing_to_do_for_one_alone(topology: Topology, role: str, tmp_path: Path) -> None:
    before = topology.state()
    node: Node = getattr(topology, role)
    topology.site(*only(node)).settled()
    topology.verify(*only(node)).settled()
    own_play(topology, tmp_path, role, node).settled()
    assert topology.state() == before


@pytest.mark.parametrize("how", ["limit", "a play of its own"])
def test_a_replica_is_built_alone(disposable: Topology, how: str, tmp_path: Path) -> None:
    replica, primary = disposable.replica, disposable.primary
    lose_data(replica)
    primary.psql(f"SELECT pg_drop_replication_slot('{SLOT}')")
    primary.shell(f"rm {VERSION}/main.slots")
    if how == "limit":
        disposable.site(*only(replica)).succeeded()
    else:
        own_play(disposable, tmp_path, "replica", replica).succeeded()
    assert SLOT in primary.shell(f"cat {VERSION}/main.slots"), "a slot that nobody will drop"
    disposable.verify().settled()
    disposable.site().settled()


@pytest.mark.parametrize("how", ["limit", "a play of its own"])
def test_a_lost_primary_is_not_made_anew_beside_its_replica(
    disposable: Topology, how: str, tmp_path: Path
) -> None:
    primary = disposable.primary
    lose_data(primary)

    def sentence() -> str:
        if how == "limit":
            return disposable.site(*only(primary)).sentence()
        return own_play(disposable, tmp_path, "primary", primary).sentence()

    assert "a new primary would start empty" in sentence()
    docker("stop", disposable.replica.name)
    assert "make '" + disposable.replica.name + "' reachable" in sentence()
    docker("start", disposable.replica.name)
    assert not primary.shell(f"ls -A {VERSION} 2>/dev/null || :")


def test_a_run_without_a_replica_that_is_down(replica_is_down: Topology) -> None:
    """It is away, not gone: its slot and its way in stay."""
    primary = replica_is_down.primary
    slots = "SELECT slot_name FROM pg_replication_slots"
    rules = primary.shell("cat /etc/postgresql/15/main/pg_hba.conf")
    renamed = {"replica": {"replication_slot": "renamed"}}
    for inventory in (None, replica_is_down.inventory(hosts=renamed)):
        replica_is_down.site(*without(replica_is_down.replica), inventory=inventory).settled()
        assert primary.psql(slots) == SLOT
        assert primary.shell("cat /etc/postgresql/15/main/pg_hba.conf") == rules
    told = replica_is_down.red_verify()
    assert told.returncode != 0
    assert f"{replica_is_down.replica.name} is not attached" in " ".join(told.output.split())
    shown = replica_is_down.play("status").output
    assert f"{replica_is_down.replica.name}: cannot be reached" in shown
    assert "primary of system" in shown

    docker("start", replica_is_down.replica.name)
    wait_until(lambda: replica_is_down.streams)
    replica_is_down.site(inventory=replica_is_down.inventory(hosts=renamed)).succeeded()
    assert primary.psql(slots) == "renamed"
    replica_is_down.site().succeeded()
    assert primary.psql(slots) == SLOT


def test_an_upstream_that_is_down(disposable: Topology) -> None:
    docker("stop", disposable.primary.name)
    said = disposable.site(*only(disposable.replica)).sentence("depends on its upstream", "make it reachable")
    assert disposable.primary.name in said
    docker("start", disposable.primary.name)


def test_a_primary_does_not_outgrow_a_standby_that_is_left_out(topology: Topology) -> None:
    before = topology.state()
    inventory = topology.inventory(postgresql_settings={"listen_addresses": "*", "max_connections": 150})
    told = topology.site(*only(topology.primary), inventory=inventory)
    told.sentence("max_connections", topology.replica.name, "add it to --limit")
    assert topology.state() == before


def test_a_synchronous_replica_that_is_down(disposable: Topology) -> None:
    """No commit waits for it after a run, nor does the run, and it is waited for again when it is back."""
    primary, replica = disposable.primary, disposable.replica
    inventory = disposable.inventory(hosts={"replica": {"replication_synchronous": True}})
    names = "SHOW synchronous_standby_names"
    disposable.site(inventory=inventory).succeeded()
    assert primary.psql(names) == f'ANY 1 ("{replica.name}")'
    disposable.site(inventory=inventory).settled()
    docker("stop", replica.name)
    primary.psql("SET synchronous_commit = local; ALTER ROLE postgres PASSWORD 'of other hands'")
    disposable.site(*without(replica), inventory=inventory).succeeded()
    assert primary.psql(names) == ""
    primary.psql("INSERT INTO test_table (name) VALUES ('nobody waits')")
    docker("start", replica.name)
    wait_until(lambda: disposable.streams)
    disposable.verify(inventory=inventory).sentence("synchronous_standby_names of", "run site.yml")
    disposable.site(inventory=inventory).succeeded()
    assert primary.psql(names) == f'ANY 1 ("{replica.name}")'
    disposable.verify(inventory=inventory).settled()
    disposable.verify().sentence("synchronous_standby_names of")
    disposable.site().succeeded()
    assert primary.psql(names) == ""
