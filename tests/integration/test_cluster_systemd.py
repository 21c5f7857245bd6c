# SPDX-License-Identifier: GPL-3.0-or-later
"""`cluster` where systemd runs the servers: Debian's units, and a unit of any name."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.suites("bookworm")

UNIT = """\
[Service]
Type=notify
User=postgres
Environment=PGDATA={data}
ExecStart={bin}/postgres -D {data}
KillMode=mixed
KillSignal=SIGINT
"""


@pytest.fixture
def node(servers, suite):
    """A container in which systemd is up."""
    made = servers.empty(suite, systemd=True)
    deadline = time.monotonic() + 60
    while made.run("systemctl", "is-system-running", check=False) not in ("running", "degraded"):
        assert time.monotonic() < deadline, made.run("systemctl", "list-jobs", check=False)
        time.sleep(0.2)
    return made


def is_active(node, unit):
    return node.run("systemctl", "is-active", unit, check=False)


def test_debians_units(node):
    unit = f"postgresql@{node.major}-alpha.service"

    def declared(state="started", **options):
        return node.run_module("cluster", {"name": "alpha", "version": node.major, "state": state, **options})

    made = declared(initialize=True, settings={})
    assert made["cluster"]["actions"] == ["created", "started"], made
    assert made["cluster"]["service"] == f"systemd unit {unit}"
    assert is_active(node, unit) == "active"
    assert not declared()["changed"]
    restarted = declared(settings={"max_connections": 60})
    assert restarted["cluster"]["actions"] == ["configured", "reloaded", "restarted"]
    assert node.psql("SHOW max_connections") == "60"
    failed = declared(settings={"listen_addresses": "203.0.113.9"})
    assert "could not bind" in failed["msg"]
    assert "its former settings are in force again" in failed["msg"]
    assert is_active(node, unit) == "active"
    assert declared("stopped")["cluster"]["running"] is False
    assert is_active(node, unit) == "inactive"
    # A server that systemd did not start is taken over by the next restart.
    node.run("pg_ctlcluster", "--skip-systemctl-redirect", str(node.major), "alpha", "start")
    assert not declared()["changed"]
    assert declared("restarted")["cluster"]["actions"] == ["restarted"]
    assert is_active(node, unit) == "active"


def test_a_unit_of_any_name(node):
    unit = UNIT.format(data=node.data_directory, bin=node.bin_directory)
    node.write("/etc/systemd/system/mine.service", unit, "root", "0644")
    node.run("systemctl", "daemon-reload")
    which = {"layout": "plain", "version": node.major, "data_directory": node.data_directory}

    def declared(state="started", unit="mine", **options):
        return node.run_module("cluster", {**which, "service_unit": unit, "state": state, **options})

    made = declared(initialize=True, settings={"max_connections": 50})
    assert made["cluster"]["actions"] == ["created", "configured", "started"], made
    assert is_active(node, "mine") == "active"
    assert declared(settings={"max_connections": 60})["cluster"]["actions"][-1] == "restarted"
    failed = declared(settings={"listen_addresses": "203.0.113.9"})
    assert "could not bind" in failed["msg"]
    assert is_active(node, "mine") == "active"
    assert "unit 'theirs' is not-found" in declared("restarted", unit="theirs")["msg"]
    assert is_active(node, "mine") == "active"
    declared("stopped")
    assert is_active(node, "mine") == "inactive"
    # The unit of the RHEL family's packages needs no name: it says which data directory it is about.
    node.run("mv", "/etc/systemd/system/mine.service", f"/etc/systemd/system/postgresql-{node.major}.service")
    node.run("systemctl", "daemon-reload")
    found = node.run_module("cluster", {**which, "state": "started"})
    assert found["cluster"]["service"] == f"systemd unit postgresql-{node.major}.service"
