# SPDX-License-Identifier: GPL-3.0-or-later
"""A target that is too small, or fills up meanwhile. The data directory lies in a file system of 256 MB for once."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.walstream.postgresql.tests.end_to_end.harness import Topology, wait_until

SMALL = "/dev/shm"


def leave_free(topology: Topology, megabytes: int) -> None:
    """Fill the small file system up to that."""
    topology.replica.shell(
        f"rm -f {SMALL}/filler; free=$(df --output=avail -m {SMALL} | tail -1); "
        f"fallocate -l $((free - {megabytes}))M {SMALL}/filler"
    )


def small_inventory(topology: Topology, **everywhere: str) -> Path:
    hosts = {"replica": {"postgresql_data_directory": f"{SMALL}/main"}}
    return topology.inventory(hosts=hosts, **everywhere)


def in_small(topology: Topology) -> set[str]:
    return set(topology.replica.shell(f"ls -A {SMALL}").split()) - {"filler", "main.pgpass"}


def test_too_small_a_disk(empty_replica: Topology) -> None:
    """Said before the first byte, in a check as well; the next run, with room, finishes."""
    topology = empty_replica
    leave_free(topology, 60)
    inventory = small_inventory(topology)
    for options in (["--check"], []):
        told = topology.site(*options, inventory=inventory)
        told.sentence("needs .*B", "only .* are free there", "free space, or choose a larger file system")
    assert topology.primary.psql("SELECT count(*) FROM pg_replication_slots") == "0"
    assert in_small(topology) == set()


@pytest.mark.faults
def test_disk_fills_up_during_the_clone(empty_replica: Topology) -> None:
    topology = empty_replica
    leave_free(topology, 240)
    playing = topology.start("site", inventory=small_inventory(topology, replication_max_rate="10M"))
    # By then the copy's first word on its size has come, by which a disk that is full already would be refused.
    backups = "SELECT count(*) FROM pg_stat_progress_basebackup WHERE backup_streamed > 25 * 1024 * 1024"
    wait_until(lambda: topology.primary.psql(backups) == "1" or not playing.is_running, 240)
    assert playing.is_running, playing.output[-4000:]
    topology.replica.shell(f"cat /dev/zero > {SMALL}/rest 2>/dev/null; :")
    playing.wait().sentence("full|[Nn]o space", "free|larger")
    topology.replica.shell(f"rm {SMALL}/rest")
    assert in_small(topology) == set(), "the rest of the failed clone"
    assert topology.primary.psql("SELECT count(*) FROM pg_replication_slots") == "0", "its slot"

    topology.site(inventory=small_inventory(topology)).succeeded()
    topology.verify(inventory=small_inventory(topology)).settled()
