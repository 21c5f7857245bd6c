# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS between the nodes, one variable away: proved by the server, renewed without a restart, closed to a stranger."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.walstream.postgresql.tests.end_to_end.harness import (
    IMPATIENT,
    PREFIX,
    Node,
    Run,
    Topology,
    wait_until,
)

DATA = "/var/lib/postgresql/15/main"
VERIFIED = {"replication_user": "replicator", "replication_sslmode": "verify-full"}
BY_CERTIFICATE = {**VERIFIED, "replication_password": None, "replication_tls": {"client_certificates": True}}
CONNECTIONS = "SELECT string_agg(usename || ssl, ' ') FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)"
CONNINFO = "SELECT current_setting('primary_conninfo')"


class Tls:
    """A topology whose authority lies beside its inventories, as it does for a user."""

    def __init__(self, topology: Topology, directory: Path) -> None:
        self.topology = topology
        self.authority = directory / ".walstream-tls"
        self.primary, self.replica = topology.primary, topology.replica

    def site(self, *options: str, **variables: Any) -> Run:
        return self.topology.site(*options, inventory=self.topology.inventory(**variables))

    def verify(self, **variables: Any) -> Run:
        return self.topology.verify(inventory=self.topology.inventory(**variables))

    def red_verify(self, **variables: Any) -> Run:
        return self.topology.red_verify(inventory=self.topology.inventory(**variables))

    def reconnect(self) -> None:
        self.primary.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")


def fingerprint(node: Node) -> str:
    """Of the certificate that the server shows to a client."""
    script = f"openssl s_client -connect {node.name}:5432 -starttls postgres </dev/null 2>/dev/null"
    return node.shell(f"{script} | openssl x509 -noout -fingerprint -sha256")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    directory = tmp_path_factory.mktemp("tls")
    topology = Topology(directory, f"{PREFIX}-tls")
    topology.remove_everything()
    yield Tls(topology, directory)
    topology.remove_everything()


def test_from_nothing_with_one_variable(tls: Tls) -> None:
    planned = tls.site("--check", "--diff", **VERIFIED).succeeded()
    assert planned.changed > 0
    assert not tls.authority.exists()
    tls.site(**VERIFIED).succeeded()
    assert tls.primary.psql(CONNECTIONS) == "replicatortrue"
    conninfo = tls.replica.psql(CONNINFO)
    assert "sslmode=verify-full" in conninfo
    assert f"sslrootcert={DATA}.tls/ca.pem" in conninfo
    hba = tls.primary.shell("cat /etc/postgresql/15/main/pg_hba.conf")
    assert 'hostssl  replication  "replicator"' in hba
    assert 'host  replication  "replicator"' not in hba
    tls.site(**VERIFIED).settled()
    tls.verify(**VERIFIED).settled()


def test_keys_are_for_their_owners_alone(tls: Tls) -> None:
    for node in (tls.primary, tls.replica):
        listing = node.shell(f"cd {DATA}.tls && stat -c '%n %U %G %a' . *")
        assert listing.split("\n") == [
            ". postgres postgres 700",
            "ca.pem postgres postgres 600",
            "server.pem postgres postgres 600",
        ]
    assert stat.S_IMODE(tls.authority.stat().st_mode) == 0o700
    keys = sorted(tls.authority.glob("*.key"))
    assert len(keys) == 3
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_renewed_before_it_expires_and_nobody_is_restarted(tls: Tls) -> None:
    started = [node.started for node in (tls.primary, tls.replica)]
    before = fingerprint(tls.primary)
    soon = {**VERIFIED, "replication_tls": {"renew_days": 364}}  # of the 365 that ours are valid
    tls.site("--check", **soon).succeeded()
    assert fingerprint(tls.primary) == before
    # One day more than any of them has left.
    short = {**VERIFIED, "replication_tls": {"valid_days": 400, "renew_days": 366}}
    tls.site(**short).succeeded()
    assert fingerprint(tls.primary) != before
    tls.site(**short).settled()
    tls.reconnect()
    wait_until(lambda: tls.primary.psql(CONNECTIONS) == "replicatortrue")
    tls.verify(**short).settled()
    assert [node.started for node in (tls.primary, tls.replica)] == started


def test_a_stranger_with_a_certificate_of_his_own_is_refused(tls: Tls) -> None:
    """Whoever answers in the primary's place is not followed, and nothing is sent to him."""
    tls.primary.run("cp", "-p", f"{DATA}.tls/server.pem", "/tmp/kept.pem")
    forged = f"""
    cd /tmp && openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN={tls.primary.name} -keyout k -out c \
      -addext subjectAltName=DNS:{tls.primary.name} 2>/dev/null && cat c k >{DATA}.tls/server.pem && rm c k
    """
    tls.primary.shell(forged, user="postgres")
    tls.primary.psql("SELECT pg_reload_conf()")
    started = tls.primary.started
    tls.reconnect()
    wait_until(lambda: tls.primary.psql("SELECT count(*) FROM pg_stat_replication") == "0")
    try:
        tls.red_verify(**VERIFIED).sentence("stands in between|not attached")
        limited = ("--limit", f"{tls.replica.name},localhost")
        tls.site(*limited, *IMPATIENT, **VERIFIED).sentence("stands in between", "certificate verify failed")
    finally:
        tls.primary.run("rm", "/tmp/kept.pem")
    # The next whole run puts the certificate right, and replication goes on.
    tls.site(**VERIFIED).succeeded()
    tls.verify(**VERIFIED).settled()
    assert tls.primary.started == started


def test_a_login_without_encryption_is_refused(tls: Tls) -> None:
    script = f"""
    export PGPASSFILE={DATA}.pgpass
    psql "host={tls.primary.name} user=replicator dbname=postgres replication=true sslmode=$1" -c IDENTIFY_SYSTEM
    """
    login = script.replace("$1", "disable").rstrip() + " 2>&1"
    assert "no pg_hba.conf entry" in tls.replica.shell(login, user="postgres", check=False)


def test_verify_is_red_where_somebody_can_listen(tls: Tls) -> None:
    tls.replica.psql(
        f"ALTER SYSTEM SET primary_conninfo = 'host={tls.primary.name} user=replicator sslmode=disable "
        f"application_name={tls.replica.name} passfile={DATA}.pgpass'"
    )
    tls.primary.shell(
        "sed -i '1ihost replication replicator samenet scram-sha-256' /etc/postgresql/15/main/pg_hba.conf"
    )
    tls.primary.psql("SELECT pg_reload_conf()")
    tls.replica.psql("SELECT pg_reload_conf()")
    wait_until(lambda: tls.primary.psql(CONNECTIONS) == "replicatorfalse")
    tls.red_verify(**VERIFIED).sentence("not encrypted")
    tls.primary.shell("sed -i 1d /etc/postgresql/15/main/pg_hba.conf")
    tls.site(**VERIFIED).succeeded()
    tls.verify(**VERIFIED).settled()


def test_certificates_instead_of_passwords(tls: Tls) -> None:
    """Both ends change over in one run; the password and its file are gone."""
    tls.site(**BY_CERTIFICATE).succeeded()
    assert tls.primary.psql(CONNECTIONS) == "replicatortrue"
    conninfo = tls.replica.psql(CONNINFO)
    assert f"sslcert={DATA}.tls/client.pem" in conninfo
    assert "passfile" not in conninfo
    assert "main.pgpass" not in tls.replica.beside
    assert (
        tls.primary.psql("SELECT client_dn FROM pg_stat_ssl WHERE client_dn IS NOT NULL") == "/CN=replicator"
    )
    tls.site(**BY_CERTIFICATE).settled()
    tls.reconnect()
    wait_until(lambda: tls.primary.psql(CONNECTIONS) == "replicatortrue")
    tls.verify(**BY_CERTIFICATE).settled()


def test_a_new_replica_is_cloned_by_certificate(tls: Tls) -> None:
    tls.replica.pg_ctl("stop", "-m", "fast")
    tls.replica.shell("rm -rf /var/lib/postgresql/15 /etc/postgresql/15")
    tls.site("--check", **BY_CERTIFICATE).succeeded()
    run = tls.site(**BY_CERTIFICATE).succeeded()
    assert run.result("Base backup")["basebackup"]["action"] == "cloned"
    tls.site(**BY_CERTIFICATE).settled()


def test_certificates_of_the_users_own(tls: Tls, tmp_path: Path) -> None:
    """Here they are copies of ours under other names; what other nodes would refuse is refused first."""
    for role, node in (("primary", tls.primary), ("replica", tls.replica)):
        for kind in ("server.crt", "server.key"):
            shutil.copy(tls.authority / f"{node.name}.{kind}", tmp_path / f"{role}.{kind}")
    shutil.copy(tls.authority / "ca.crt", tmp_path)

    def given(of: str = "", **hosts: Any) -> dict[str, Any]:
        files = {"ca_file": str(tmp_path / "ca.crt")}
        return {
            "hosts": {
                role: {
                    "replication_tls": {
                        **files,
                        "certificate_file": str(tmp_path / f"{of or role}.server.crt"),
                        "key_file": str(tmp_path / f"{of or role}.server.key"),
                    }
                }
                for role in ("primary", "replica")
            },
            **VERIFIED,
        }

    tls.site(**given(of="replica")).sentence("would not accept the certificate", tls.primary.name)
    tls.site(**given()).succeeded()
    tls.site(**given()).settled()
    assert tls.primary.psql(CONNECTIONS) == "replicatortrue"


def test_without_it_again(tls: Tls) -> None:
    plain = {"replication_user": "replicator"}
    tls.site(**plain).succeeded()
    tls.site(**plain).settled()
    tls.verify(**plain).settled()
    assert "host  replication" in tls.primary.shell("cat /etc/postgresql/15/main/pg_hba.conf")
