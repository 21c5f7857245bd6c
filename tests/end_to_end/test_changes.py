# SPDX-License-Identifier: GPL-3.0-or-later
"""What people change about a replica, where PostgreSQL does not take it at once."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.tests.end_to_end.harness import (
    SLOT,
    Topology,
    docker,
    wait_until,
)

CONFIGURATION = "/etc/postgresql/15/main/postgresql.conf"
RAISED = {"listen_addresses": "*", "max_connections": 150}


def test_a_new_slot_and_a_raised_parameter_in_one_run(disposable: Topology) -> None:
    """The replica restarts before its primary, and keeps the slot that it has until the new one is there."""
    renamed = {"replica": {"replication_slot": "renamed"}}
    inventory = disposable.inventory(hosts=renamed, postgresql_settings=RAISED)
    disposable.site(inventory=inventory).succeeded()
    disposable.site(inventory=inventory).settled()
    assert disposable.primary.psql("SELECT slot_name FROM pg_replication_slots") == "renamed"
    said = docker("logs", disposable.primary.name)
    assert 'replication slot "renamed" does not exist' not in said

    # And back: it is restarted with less only after it has followed and replayed that its primary has less.
    disposable.site().succeeded()
    disposable.site().settled()
    assert disposable.primary.psql("SELECT slot_name FROM pg_replication_slots") == SLOT
    for node in disposable.nodes:
        assert node.psql("SHOW max_connections") == "100"


@pytest.mark.faults
def test_a_replica_that_is_late_on_purpose(disposable: Topology) -> None:
    """It restarts, follows through another slot, and is lowered, without ever being early or taken for broken."""
    late = {"replication_apply_delay": "1h"}
    primary, replica = disposable.primary, disposable.replica

    def changed(settings: dict[str, object] | None = None, **of_replica: str) -> None:
        more = {"postgresql_settings": settings} if settings else {}
        inventory = disposable.inventory(hosts={"replica": {**late, **of_replica}}, **more)
        disposable.site(inventory=inventory).succeeded()
        disposable.site(inventory=inventory).settled()
        disposable.verify(inventory=inventory).settled()

    changed()
    primary.psql("INSERT INTO test_table (name) VALUES ('late')")
    waiting = "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'"
    wait_until(lambda: replica.psql(waiting) == "RecoveryApplyDelay")
    changed(replication_slot="renamed")
    assert SLOT in primary.psql("SELECT slot_name FROM pg_replication_slots WHERE active")
    changed(RAISED, replication_slot="renamed")
    assert replica.psql("SHOW max_connections") == "150"
    assert not replica.streams
    changed(replication_slot="renamed")
    assert primary.psql("SHOW max_connections") == "100"
    assert replica.psql("SHOW max_connections") == "150", "lowered before it has replayed"
    assert replica.psql("SELECT count(*) FROM test_table WHERE name = 'late'") == "0"

    late["replication_apply_delay"] = "0min"
    changed(replication_slot="renamed")
    assert replica.psql("SHOW max_connections") == "100"
    assert replica.psql("SELECT count(*) FROM test_table WHERE name = 'late'") == "1"
    assert primary.psql("SELECT slot_name FROM pg_replication_slots") == "renamed"


def test_a_clone_answers_as_its_primary_does(disposable: Topology) -> None:
    """Debian's layout keeps the configuration where no base backup goes."""
    line = "timezone = 'Asia/Kolkata'"
    disposable.primary.shell(f'echo "{line}" >> {CONFIGURATION}')
    disposable.primary.psql("SELECT pg_reload_conf()")
    disposable.replica.pg_ctl("stop", "-m", "fast")
    disposable.replica.shell("rm -rf /var/lib/postgresql/15 /etc/postgresql/15")
    disposable.site().succeeded()
    assert disposable.replica.psql("SHOW timezone") == "Asia/Kolkata"
    disposable.site().settled()
