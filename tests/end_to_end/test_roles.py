# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles that log in: what they may, who watches while they are made, and names and passwords of all kinds."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.tests.end_to_end.harness import Topology, wait_until

ODD_USER = "Repli.cator's $1 ü"
PASSWORDS = (
    "planted a b:c\\d'e\"f%g#h ü$(i){x}`y`",
    "planted \\\\:':\"%s%%(x)s $$ -- ; *:*  end",
    "planted " + "long:" * 38 + "é",
)
LOOK = "SELECT query FROM pg_stat_activity WHERE query LIKE '%planted%' AND pid <> pg_backend_pid();"


@pytest.mark.faults
def test_passwords_of_all_kinds_rotate(disposable: Topology) -> None:
    """Each reaches both ends in one run, also where an earlier run was killed between them; streaming goes on."""
    started = [node.started for node in disposable.nodes]
    for number, password in enumerate(PASSWORDS):
        inventory = disposable.inventory(replication_user=ODD_USER, replication_password=password)
        if number:
            assert disposable.site(inventory=inventory, kill="Store the password for the upstream").killed
            assert disposable.streams, "a rotation does not end the connection that there is"
        disposable.site(inventory=inventory).succeeded()
        disposable.primary.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        wait_until(lambda: disposable.streams, what="streaming with the new password")
        disposable.site(inventory=inventory).settled()
        disposable.verify(inventory=inventory).settled()
    literal = ODD_USER.replace("'", "''")
    assert (
        disposable.primary.psql(f"SELECT count(*) FROM pg_stat_replication WHERE usename = '{literal}'")
        == "1"
    )
    attributes = "rolcanlogin, rolreplication, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls"
    assert (
        disposable.primary.psql(f"SELECT {attributes} FROM pg_roles WHERE rolname = '{literal}'")
        == "t|t|f|f|f|f"
    )
    assert [node.started for node in disposable.nodes] == started


def test_who_watches_sees_no_password(disposable: Topology) -> None:
    """Monitoring sees the statements of superusers while they run: here it looks thousands of times."""
    primary = disposable.primary
    primary.psql("CREATE ROLE watcher LOGIN IN ROLE pg_monitor")
    script = f'{{ echo "SET ROLE watcher;"; yes "{LOOK}"; }} | timeout 300 psql -XAtq -d postgres >/tmp/watched 2>&1 &'
    primary.shell(script, user="postgres")
    wait_until(
        lambda: primary.psql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_back%'") == "2"
    )
    primary.psql("SELECT 'planted as a proof', pg_sleep(0.2)")
    for number in range(3):
        secret = f"planted secret {number}"
        inventory = disposable.inventory(replication_user="replicator", replication_password=secret)
        disposable.site(inventory=inventory).succeeded()
    primary.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_back%'", check=False
    )
    seen = primary.shell("sort -u /tmp/watched")
    assert "planted as a proof" in seen
    assert "planted secret" not in seen


@pytest.mark.parametrize("name", ['a"b', "50%"])
def test_a_role_that_cannot_be_made_is_refused(topology: Topology, name: str) -> None:
    inventory = topology.inventory(replication_user=name)
    topology.site(inventory=inventory).sentence("replication_user", "double quotes and percent signs")


def test_a_password_that_a_policy_refuses(disposable: Topology) -> None:
    disposable.primary.psql("ALTER SYSTEM SET session_preload_libraries = 'passwordcheck'")
    disposable.primary.psql("SELECT pg_reload_conf()")
    inventory = disposable.inventory(replication_user="replicator", replication_password="short")
    said = disposable.site(inventory=inventory).sentence("password is too short")
    assert "'short'" not in said


def test_a_replication_user_with_more_rights_is_named(disposable: Topology) -> None:
    disposable.primary.psql("CREATE ROLE replicator SUPERUSER CREATEDB")
    inventory = disposable.inventory(replication_user="replicator")
    for run in (
        disposable.site(inventory=inventory).succeeded(),
        disposable.site(inventory=inventory).settled(),
    ):
        assert "may do more than replicate: it is SUPERUSER, CREATEDB" in " ".join(run.output.split())
    disposable.primary.psql("ALTER ROLE replicator NOSUPERUSER NOCREATEDB")
    assert "it is SUPERUSER" not in disposable.site(inventory=inventory).settled().output
