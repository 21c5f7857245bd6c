# SPDX-License-Identifier: GPL-3.0-or-later
"""Trouble between the servers: one sentence with the cause and the cure, and nothing is left half done."""

from __future__ import annotations

from collections.abc import Iterator

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

DATA = "/var/lib/postgresql/15/main"


def without_replica(topology: Topology) -> None:
    """The replica's host is there and has never had a cluster; the primary keeps no slot for it, and no note of one."""
    topology.replica.pg_ctl("stop", "-m", "fast")
    topology.replica.shell("rm -rf /var/lib/postgresql/15 /etc/postgresql/15")
    topology.primary.psql(f"SELECT pg_drop_replication_slot('{SLOT}')")
    topology.primary.shell(f"echo '[]' > {DATA}.slots")


def test_password_changed_on_the_primary_by_other_hands(topology: Topology) -> None:
    """site.yml has the right to set it again: the inventory says what it should be."""
    topology.primary.psql("ALTER ROLE postgres PASSWORD 'somebody-changed-it'")
    assert topology.site().succeeded().changed == 1
    topology.site().settled()


def test_wrong_password(disposable: Topology) -> None:
    """Only the replica's part is run, with a password that the primary does not know."""
    without_replica(disposable)
    before = disposable.state()
    limited = ("--limit", f"{disposable.replica.name},localhost", "-e", "replication_password=not-the-one")
    run = disposable.site(*limited)
    run.sentence("refuses the password of 'postgres'|no replication login", "pgpass|password")
    assert "not-the-one" not in run.output
    after = disposable.state()
    assert after["primary"] == before["primary"], "a slot was leaked, or more"
    assert disposable.replica.beside == []


def test_wrong_password_while_it_streams(topology: Topology) -> None:
    """A password that is going to fail at the next connection is not installed."""
    before = topology.state()
    limited = ("--limit", f"{topology.replica.name},localhost", "-e", "replication_password=not-the-one")
    run = topology.site(*limited)
    run.sentence("takes the password of 'postgres'", "refuses the new one", "correct replication_password")
    assert "not-the-one" not in run.output
    assert topology.state() == before
    assert topology.streams


def test_pg_hba_does_not_let_the_replica_in(disposable: Topology) -> None:
    """replication_address is not where it really comes from."""
    without_replica(disposable)
    slots = "SELECT count(*) FROM pg_replication_slots"
    inventory = disposable.inventory(replication_address="192.0.2.7", postgresql_hba=None)
    disposable.site(inventory=inventory).sentence("pg_hba", "replication_address|line|allow")
    assert disposable.primary.psql(slots) == "0"
    assert disposable.replica.beside == []


def test_verify_is_red_without_a_slot_and_site_heals(disposable: Topology) -> None:
    disposable.replica.pg_ctl("stop", "-m", "fast")
    disposable.primary.psql(f"SELECT pg_drop_replication_slot('{SLOT}')")
    disposable.replica.pg_ctl("start")
    wait_until(lambda: disposable.replica.answers)
    disposable.red_verify().sentence(SLOT)
    before = disposable.primary.started
    disposable.site().succeeded()
    disposable.verify().settled()
    assert disposable.primary.started == before


@pytest.fixture
def held_slot(disposable: Topology) -> Iterator[Topology]:
    """Somebody else's pg_receivewal streams through the replica's slot."""
    without_replica(disposable)
    disposable.primary.psql(f"SELECT pg_create_physical_replication_slot('{SLOT}', true)")
    command = f"exec pg_receivewal --slot {SLOT} -D /tmp"
    docker("exec", "--detach", "--user", "postgres", disposable.primary.name, "sh", "-c", command)
    active = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{SLOT}'"
    wait_until(lambda: disposable.primary.psql(active) == "t")
    yield disposable
    assert disposable.primary.psql(active) == "t", "the other consumer was thrown out"


def test_slot_is_taken(held_slot: Topology) -> None:
    before = held_slot.state()
    held_slot.site().sentence(f"slot '{SLOT}'", "another|in use|active|used", "pg_receivewal|end|another")
    assert held_slot.state()["primary"] == before["primary"]
    assert held_slot.replica.beside == []


def test_slot_is_lost_and_the_wal_as_well(disposable: Topology) -> None:
    """The replica cannot catch up: it is told so, and cloned again only with consent."""
    disposable.replica.pg_ctl("stop", "-m", "fast")
    lose_the_slot(disposable)
    identifier = disposable.replica.system_identifier
    before = disposable.primary.started
    disposable.red_verify().sentence()
    disposable.site(*IMPATIENT).sentence("no longer has the WAL", "new base backup", "replication_replace")
    consent = {"replica": {"replication_replace": identifier}}
    disposable.replica.pg_ctl("stop", "-m", "fast")
    run = disposable.site(inventory=disposable.inventory(hosts=consent)).succeeded()
    assert run.result("Base backup")["basebackup"]["moved_aside_to"]
    disposable.verify().settled()
    assert disposable.primary.started == before


def lose_the_slot(topology: Topology) -> None:
    topology.primary.psql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'; ")
    topology.primary.psql("SELECT pg_reload_conf()")
    lost = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{SLOT}'"
    for _attempt in range(8):
        topology.primary.psql("SELECT pg_logical_emit_message(false, 'x', 'x')")
        topology.primary.psql("SELECT pg_switch_wal()")
        topology.primary.psql("CHECKPOINT")
    wait_until(lambda: topology.primary.psql(lost) == "lost")
    topology.primary.psql("ALTER SYSTEM RESET max_slot_wal_keep_size")
    topology.primary.psql("SELECT pg_reload_conf()")


def test_upstream_is_down(disposable: Topology) -> None:
    disposable.primary.pg_ctl("stop", "-m", "fast")
    before = disposable.state()
    disposable.site("--limit", f"{disposable.replica.name},localhost").sentence(
        "start|running|refused|No such file"
    )
    disposable.red_verify().sentence("start|running|refused|No such file")
    assert disposable.state() == before
    # The whole run starts it again, and nothing else is needed.
    disposable.site().succeeded()
    wait_until(lambda: disposable.streams)


def test_different_major_versions(from_nothing: Topology) -> None:
    inventory = from_nothing.inventory(hosts={"replica": {"postgresql_version": "17"}})
    from_nothing.site(inventory=inventory).sentence("15", "17", "same")
    assert not from_nothing.primary.shell("ls -A /var/lib/postgresql/etc")


def test_psycopg2_is_missing(from_nothing: Topology) -> None:
    image = f"{PREFIX}/without-psycopg2"
    recipe = f"FROM {IMAGE}\nUSER root\nRUN dpkg --purge python3-psycopg2\nUSER postgres\n"
    docker("build", "--tag", image, "-", text_input=recipe)
    try:
        inventory = from_nothing.inventory(container_image=image, postgresql_manage_packages=False)
        run = from_nothing.site(inventory=inventory)
        assert run.returncode != 0
        sentences = {failure["result"]["msg"] for failure in run.failures}
        for sentence in sentences:
            assert "python3-psycopg2" in sentence
            assert "postgresql_manage_packages" in sentence
        assert not from_nothing.primary.shell("ls -A /var/lib/postgresql/etc")
    finally:
        from_nothing.remove_everything()
        docker("rmi", "--force", image, check=False)
