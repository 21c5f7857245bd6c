# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-playbook killed anywhere: the same run again ends in a proved topology, and leaves nothing behind.

The kills are cumulative: a run is killed when its k-th task starts, the next one when its k+1st does,
and so on until one gets through. Each of them begins with what all the others have left.
"""

from __future__ import annotations

import random
import time

import pytest
from ansible_collections.walstream.postgresql.tests.end_to_end.harness import (
    SLOT,
    Playing,
    Topology,
    wait_until,
)

BOUNDARIES = (
    "Make and start the container",
    "Configure and run the server",
    "Reserve WAL on the upstream",
    "Base backup",
    "replica : Prove that it replicates",
)
BESIDE = {"primary": {"main", "main.slots"}, "replica": {"main", "main.pgpass"}}
"""What belongs beside the data directories: the record of our slots, and the password file."""
SENDERS = "SELECT pid FROM pg_stat_progress_basebackup"


def prove_tidy(topology: Topology) -> None:
    assert {node.role: set(node.beside) for node in topology.nodes} == BESIDE


def prove_clean(topology: Topology) -> None:
    """Nothing is left to do, everything is proved, and nothing lies around."""
    topology.site().settled()
    topology.verify().settled()
    prove_tidy(topology)
    slots = topology.primary.psql("SELECT slot_name || active || temporary FROM pg_replication_slots")
    assert slots == f"{SLOT}truefalse"
    assert topology.primary.psql("SELECT count(*) FROM pg_stat_replication") == "1"
    for node in topology.nodes:
        assert not node.shell("ls -d /tmp/ansible* ~postgres/.ansible/tmp/* 2>/dev/null || :")
        log = node.shell("cat /var/log/postgresql/*.log")
        assert log.count("database system is ready to accept") == 1, "a server was started more than once"
        assert "PANIC" not in log


def hold_the_clone(topology: Topology, playing: Playing) -> str:
    """Suspend what sends the base backup, so that however slow the machine is, no clone ends meanwhile."""
    wait_until(lambda: topology.primary.psql(SENDERS) or not playing.is_running, 240)
    sender = topology.primary.psql(SENDERS)
    assert sender, playing.output[-6000:]
    topology.primary.run("kill", "-STOP", sender)
    return sender


def test_killed_at_telling_boundaries(from_nothing: Topology) -> None:
    for task in BOUNDARIES:
        assert from_nothing.site(kill=task).killed, task
    from_nothing.site().succeeded()
    prove_clean(from_nothing)


@pytest.mark.faults
def test_killed_at_every_task_boundary(from_nothing: Topology) -> None:
    for count in range(1, 200):
        run = from_nothing.site(kill=str(count))
        if not run.killed:
            break
    run.succeeded()
    assert count > 30
    prove_clean(from_nothing)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(from_nothing: Topology, seed: int) -> None:
    """In the middle of tasks, which then go on without anybody who listens."""
    moments = random.Random(seed)  # noqa: S311
    for _attempt in range(12):
        playing = from_nothing.start("site")
        deadline = time.monotonic() + moments.uniform(2, 16)
        while playing.is_running and time.monotonic() < deadline:
            time.sleep(0.02)
        if not playing.is_running:
            playing.wait().succeeded()
            break
        playing.kill()
    from_nothing.site().succeeded()
    from_nothing.site().settled()
    from_nothing.verify().settled()
    prove_tidy(from_nothing)


def test_killed_during_the_clone(empty_replica: Topology) -> None:
    """The clone goes on without its controller; the next run waits for it instead of starting another."""
    topology = empty_replica
    before = topology.primary.started
    playing = topology.start("site", inventory=topology.inventory(replication_max_rate="10M"))
    sender = hold_the_clone(topology, playing)
    playing.kill()

    assert "being cloned" in topology.play("status").succeeded().output
    assert topology.primary.psql(SENDERS) == sender, "the clone did not outlive its controller"

    attached = topology.start("site", inventory=topology.inventory(replication_max_rate="10M"))
    wait_until(lambda: attached.has_begun("Base backup") or not attached.is_running, 240)
    topology.primary.run("kill", "-CONT", sender)
    seen = {sender}
    while attached.is_running:
        seen.update(topology.primary.psql(SENDERS).split())
        time.sleep(0.1)
    run = attached.wait().succeeded()
    assert seen == {sender}, "a second clone was started"
    told = run.result("Base backup")["basebackup"]
    assert told["action"] in ("cloned", "unchanged")
    topology.verify().settled()
    topology.site().settled()
    assert topology.primary.started == before
    prove_tidy(topology)


def test_worker_killed_during_the_clone(empty_replica: Topology) -> None:
    """Nothing of the clone survives but its rests, which the next run removes before it clones anew."""
    topology = empty_replica
    playing = topology.start("site", inventory=topology.inventory(replication_max_rate="10M"))
    sender = hold_the_clone(topology, playing)
    playing.kill()
    # The module's own process outlives the playbook for some seconds, and would tidy up. It acts as postgres at times,
    # and only its real user is always root.
    topology.replica.shell("pkill -9 -U root -x python3; pkill -9 -u postgres; :")
    topology.primary.run("kill", "-CONT", sender)
    assert ".main.clone" in topology.replica.beside
    assert topology.site().succeeded().result("Base backup")["basebackup"]["action"] == "cloned"
    topology.verify().settled()
    topology.site().settled()
    prove_tidy(topology)
