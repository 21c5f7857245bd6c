# SPDX-License-Identifier: GPL-3.0-or-later
"""A target that is too small, or fills up meanwhile."""

from __future__ import annotations

from ansible_collections.walstream.postgresql.tests.end_to_end.harness import Topology, docker


def small_volume(topology: Topology, size: str) -> None:
    node = topology.replica
    options = ("type=tmpfs", "device=tmpfs", f"o=size={size},uid=999,gid=999,mode=0755")
    arguments = [word for option in options for word in ("--opt", option)]
    docker("volume", "create", "--label", f"walstream.postgresql.host={node.name}", *arguments, node.volume)


def test_too_small_a_disk(from_nothing: Topology) -> None:
    """Said before the first byte, in a check as well; the next run, with room, finishes."""
    small_volume(from_nothing, "40m")
    run = from_nothing.site()
    run.sentence("needs .*MB", "are free", "free space, or choose a larger file system")
    assert from_nothing.primary.psql("SELECT count(*) FROM pg_replication_slots") == "0"
    beside = from_nothing.replica.beside
    assert not [name for name in beside if name.startswith((".main", "main/"))], beside
    from_nothing.site("--check").sentence("needs .*MB", "are free")
    from_nothing.replica.run("mount", "-o", "remount,size=400m", "/var/lib/postgresql", check=False)
