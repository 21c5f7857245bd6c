# SPDX-License-Identifier: GPL-3.0-or-later
"""What the embedded default promises: restarts, containers back on old volumes, checks that tell the truth."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.tests.end_to_end.harness import (
    IMAGE,
    IMPATIENT,
    PREFIX,
    SLOT,
    Topology,
    docker,
    wait_until,
)

ROWS = "SELECT string_agg(name, ',' ORDER BY id) FROM test_table"


def prove_streaming(topology: Topology, word: str) -> None:
    """A new row arrives on the replica."""
    wait_until(lambda: topology.primary.answers and topology.streams, what="streaming by itself")
    topology.primary.psql(f"INSERT INTO test_table (name) VALUES ('{word}')")
    found = f"SELECT count(*) FROM test_table WHERE name = '{word}'"
    wait_until(lambda: topology.replica.psql(found, check=False) == "1", what="the row on the replica")


def test_unchanged_run_changes_nothing(topology: Topology) -> None:
    before = topology.state()
    # One look proves the replica, unless the primary writes something in between: hardly twice in a row.
    runs = [topology.site().settled() for _attempt in range(2)]
    assert any("which is all that the primary had written" in " ".join(run.output.split()) for run in runs)
    topology.verify().settled()
    assert topology.site("--check", "--diff").settled().output.count("--- before") == 0
    assert topology.state() == before


@pytest.mark.parametrize("role", ["primary", "replica"])
@pytest.mark.parametrize("how", ["restart", "kill and start"])
def test_streams_again_without_us(topology: Topology, role: str, how: str) -> None:
    name = f"{PREFIX}-{role}"
    if how == "restart":
        docker("restart", name)
    else:
        # The socket's lock names a process, and in the next life its id belongs to another one.
        getattr(topology, role).shell("sed -i 1s/.*/1/ /run/postgresql/.s.PGSQL.5432.lock")
        docker("kill", name)
        docker("start", name)
    prove_streaming(topology, f"after {how} of {role}")


def test_containers_removed_and_volumes_kept(disposable: Topology) -> None:
    disposable.primary.psql("INSERT INTO test_table (name) VALUES ('kept')")
    wait_until(lambda: "kept" in disposable.replica.psql(ROWS))
    identifiers = {node.system_identifier for node in disposable.nodes}
    rows = disposable.primary.psql(ROWS)
    docker("rm", "--force", *(node.name for node in disposable.nodes))
    run = disposable.site().succeeded()
    copies = [one["result"]["basebackup"] for one in run.oks if one["by"].endswith("Base backup")]
    assert all(copy["action"] == "unchanged" for copy in copies), copies
    assert {node.system_identifier for node in disposable.nodes} == identifiers
    assert disposable.primary.psql(ROWS) == rows == disposable.replica.psql(ROWS)
    disposable.site().settled()
    prove_streaming(disposable, "adopted")


def test_containers_made_again_without_ansible(disposable: Topology) -> None:
    docker("rm", "--force", *(node.name for node in disposable.nodes))
    for node in disposable.nodes:
        mount = f"{node.volume}:/var/lib/postgresql"
        docker("run", "--detach", "--name", node.name, "--network", PREFIX, "--volume", mount, IMAGE)
    prove_streaming(disposable, "made by hand")
    docker("rm", "--force", *(node.name for node in disposable.nodes))


def test_teardown_and_up_again(from_nothing: Topology) -> None:
    """Also the check of a run that has yet to make everything."""
    told = from_nothing.site("--check", "--diff").succeeded()
    assert told.changed > 0
    assert from_nothing.nothing_exists()

    from_nothing.site().succeeded()
    from_nothing.site().settled()
    from_nothing.teardown().succeeded()
    assert from_nothing.nothing_exists()
    assert not docker("network", "ls", "--quiet", "--filter", f"name=^{PREFIX}-new$")
    from_nothing.teardown().settled()
    from_nothing.site().succeeded()
    from_nothing.verify().settled()


def test_the_servers_own_user_is_enough(from_nothing: Topology) -> None:
    """Where nothing is to be installed, nobody needs to be root."""
    unprivileged = from_nothing.inventory(ansible_user="postgres", ansible_become=False)
    from_nothing.site(inventory=unprivileged).succeeded()
    from_nothing.site(inventory=unprivileged).settled()
    from_nothing.verify(inventory=unprivileged).settled()
    from_nothing.site().settled()


def test_a_slow_replica_holds_up_no_other_one(from_nothing: Topology) -> None:
    both = from_nothing.inventory(
        replica=("replica", "slow"),
        hosts={
            "replica": {"replication_slot": None, "container_published_port": None},
            "slow": {"replication_max_rate": "1M"},
        },
    )
    run = from_nothing.site(inventory=both).succeeded()
    ends = [(one["ok"].removeprefix(f"{PREFIX}-new-"), one["by"].rsplit(" : ")[-1]) for one in run.oks]
    proof = "Configure and run the server"
    assert ends.index(("replica", proof)) < ends.index(("slow", "Base backup")) < ends.index(("slow", proof))
    from_nothing.verify(inventory=both).settled()
    from_nothing.site(inventory=both).settled()


def test_check_tells_what_a_clone_would_take(disposable: Topology) -> None:
    disposable.replica.pg_ctl("stop", "-m", "fast")
    disposable.replica.shell("rm -rf /var/lib/postgresql/15 /etc/postgresql/15")
    before = disposable.state()
    told = disposable.site("--check", "--diff").succeeded()
    plan = told.result("Base backup")["basebackup"]
    assert plan["action"] == "cloned"
    assert plan["bytes"] > 20_000_000
    assert plan["free_bytes"] > plan["bytes"]
    assert "are free" in plan["reason"]
    assert disposable.state() == before
    assert "primary_slot_name" in told.output, "--diff shows the settings"
    disposable.site().succeeded()
    disposable.verify().settled()


def test_check_tells_what_hosts_without_a_cluster_would_get(disposable: Topology) -> None:
    for node in (disposable.replica, disposable.primary):
        node.pg_ctl("stop", "-m", "fast")
        node.shell("rm -rf /var/lib/postgresql/15 /etc/postgresql/15")
    before = disposable.state()
    told = disposable.site("--check", "--diff").succeeded()
    plain = disposable.inventory(replication_user="replicator")
    encrypted = disposable.inventory(replication_user="replicator", replication_sslmode="verify-full")
    for inventory in (plain, encrypted):
        planned = disposable.site("--check", "--diff", inventory=inventory).succeeded()
        assert planned.result("Base backup")["basebackup"]["action"] == "cloned"
    assert disposable.state() == before
    made = disposable.site().succeeded()
    assert told.changed == made.changed - 1, "all but the example table"
    disposable.verify().settled()


def test_check_of_a_changed_setting(topology: Topology) -> None:
    inventory = topology.inventory(postgresql_settings={"listen_addresses": "*", "work_mem": "7MB"})
    before = topology.state()
    told = topology.site("--check", "--diff", inventory=inventory).succeeded()
    assert told.changed == 2
    assert "work_mem" in told.output
    assert "7MB" in told.output
    assert topology.state() == before


def test_every_verify_can_fail(disposable: Topology) -> None:
    disposable.replica.psql("ALTER SYSTEM SET primary_conninfo = ''")
    disposable.replica.psql("SELECT pg_reload_conf()")
    wait_until(lambda: not disposable.replica.streams)
    disposable.red_verify().sentence("stream|attached")
    disposable.replica.psql("ALTER SYSTEM RESET primary_conninfo")
    disposable.replica.psql("SELECT pg_reload_conf()")
    wait_until(lambda: disposable.replica.streams)
    disposable.verify().settled()

    disposable.replica.psql("SELECT pg_wal_replay_pause()")
    disposable.red_verify().sentence("paused")
    disposable.site(*IMPATIENT).sentence("replay stands still")
    disposable.replica.psql("SELECT pg_wal_replay_resume()")

    disposable.replica.psql("SELECT pg_promote()")
    disposable.red_verify().sentence("live primary")


def test_a_hand_that_breaks_streaming_is_healed(disposable: Topology) -> None:
    disposable.replica.psql("ALTER SYSTEM SET primary_conninfo = ''")
    disposable.replica.psql(f"ALTER SYSTEM SET primary_slot_name = 'not_{SLOT}'")
    disposable.replica.psql("SELECT pg_reload_conf()")
    wait_until(lambda: not disposable.replica.streams)
    disposable.site().succeeded()
    disposable.verify().settled()
    disposable.site().settled()
