# SPDX-License-Identifier: GPL-3.0-or-later
"""Where inventory and servers contradict each other: the run stops, and every byte stays in its place."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.walstream.postgresql.tests.end_to_end.harness import (
    Topology,
    docker,
    wait_until,
)

DATA = "/var/lib/postgresql/15/main"
SWAPPED: dict[str, Any] = {"primary": ["replica"], "replica": ["primary"]}


def promote(topology: Topology) -> None:
    topology.replica.psql("SELECT pg_promote()")
    # What pg_control says counts, and it keeps the old timeline until a checkpoint.
    topology.replica.psql("CHECKPOINT")


def as_root(topology: Topology, role: str, script: str) -> None:
    getattr(topology, role).shell(f"set -e; cd /var/lib/postgresql/15; {script}")


def refused(topology: Topology, *parts: str, **inventory: Any) -> str:
    """The sentence with which both a check and a run refuse, and proof that neither changed anything."""
    path = topology.inventory(**inventory)
    before = topology.state()
    told = topology.site("--check", inventory=path).sentence(*parts)
    assert topology.site(inventory=path).sentence(*parts) == told
    assert topology.state() == before
    return told


def test_groups_swapped(topology: Topology) -> None:
    refused(topology, "groups contradict the servers", "put '.*' into the group 'primary'", **SWAPPED)
    assert topology.streams


def test_live_primary_listed_as_replica(disposable: Topology) -> None:
    promote(disposable)
    refused(disposable, "live primary", "two primaries", "put it into the group 'primary', or stop")


def test_former_primary(disposable: Topology) -> None:
    """Refused; with a wrong consent refused as well; with the right one kept aside, and replaced by a clone."""
    promote(disposable)
    disposable.primary.pg_ctl("stop", "-m", "fast")
    identifier = disposable.primary.system_identifier
    refused(
        disposable,
        "stopped primary",
        "may hold transactions",
        f"replication_replace: '{identifier}'",
        **SWAPPED,
    )

    wrong = {"primary": {"replication_replace": "7000000000000000001"}}
    refused(disposable, "stopped primary", identifier, hosts=wrong, **SWAPPED)

    right = {"primary": {"replication_replace": identifier, "replication_slot": "former_primary"}}
    inventory = disposable.inventory(hosts=right, **SWAPPED)
    kept = disposable.primary.shell(f"cd {DATA} && find . -type f -print0 | sort -z | xargs -0 sha256sum")
    before = disposable.state()
    plan = disposable.site("--check", inventory=inventory).succeeded()
    assert "moved aside" in plan.result("Base backup")["basebackup"]["reason"]
    assert disposable.state() == before

    told = disposable.site(inventory=inventory).succeeded().result("Base backup")["basebackup"]
    aside = told["moved_aside_to"]
    assert aside
    assert (
        disposable.primary.shell(f"cd {aside} && find . -type f -print0 | sort -z | xargs -0 sha256sum")
        == kept
    )
    assert disposable.primary.streams
    # The consent is for what was there: it names the new standby too, which is no reason to replace it.
    disposable.site(inventory=inventory).settled()


def test_foreign_cluster(disposable: Topology) -> None:
    disposable.replica.pg_ctl("stop", "-m", "fast")
    initdb = "/usr/lib/postgresql/15/bin/initdb --no-sync -A peer -D main >/dev/null"
    as_root(
        disposable,
        "replica",
        f"mv main theirs; setpriv --reuid postgres --regid postgres --init-groups {initdb}",
    )
    identifier = disposable.replica.system_identifier
    refused(disposable, "belongs to another system", identifier, f"replication_replace: '{identifier}'")
    old = disposable.primary.system_identifier
    stale = {"replica": {"replication_replace": old}}
    refused(disposable, "belongs to another system", identifier, hosts=stale)


def test_newer_timeline(disposable: Topology) -> None:
    promote(disposable)
    disposable.replica.pg_ctl("stop", "-m", "fast")
    as_root(disposable, "replica", "install -o postgres -g postgres -m 600 /dev/null main/standby.signal")
    refused(disposable, "timeline 2, newer than timeline 1", "find out which one is the primary")


def test_promoted_and_restarted_as_standby(disposable: Topology) -> None:
    """The server runs, in recovery, on a timeline that the primary does not have."""
    promote(disposable)
    disposable.replica.pg_ctl("stop", "-m", "fast")
    as_root(disposable, "replica", "install -o postgres -g postgres -m 600 /dev/null main/standby.signal")
    disposable.replica.pg_ctl("start")
    wait_until(lambda: disposable.replica.answers)
    refused(disposable, "timeline 2, newer than timeline 1")


@pytest.mark.parametrize("gone", ["moved away", "empty directory"])
def test_data_of_the_primary_is_not_mounted(disposable: Topology, gone: str) -> None:
    disposable.primary.pg_ctl("stop", "-m", "fast")
    as_root(disposable, "primary", "mv main elsewhere")
    if gone == "empty directory":
        as_root(disposable, "primary", "install -d -o postgres -g postgres -m 700 main")
    refused(disposable, "has no data in", "a new primary would start empty", "mount or restore")


def test_volume_of_the_primary_is_lost(disposable: Topology) -> None:
    docker("rm", "--force", disposable.primary.name)
    docker("volume", "rm", disposable.primary.volume)
    before = disposable.replica.state()
    disposable.site().sentence("has no data in", "mount or restore", "promote")
    disposable.site("--check").sentence("has no data in", "mount or restore", "promote")
    assert disposable.replica.state() == before
    assert "main" not in disposable.primary.shell("ls -A /var/lib/postgresql/15 2>/dev/null || :").split()


def test_half_a_cluster_on_the_primary(disposable: Topology) -> None:
    disposable.primary.pg_ctl("stop", "-m", "immediate")
    as_root(disposable, "primary", "rm main/global/pg_control")
    refused(disposable, "no complete cluster", "restore it")
