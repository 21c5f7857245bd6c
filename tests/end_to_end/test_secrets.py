# SPDX-License-Identifier: GPL-3.0-or-later
"""A password that occurs nowhere else is planted in the inventory, and looked for everywhere while and after runs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from pathlib import Path

from ansible_collections.walstream.postgresql.tests.end_to_end.harness import (
    IMAGE,
    Node,
    Run,
    Topology,
    docker,
)

FIRST, SECOND = "planted-4f1c9a", "planted-b83e07"
ADMIN = "planted-adm-77d2"
NEEDLE = "planted-"
PASSFILE = "./15/main.pgpass"


def processes() -> set[str]:
    """Command lines and environments on this machine, containers included, that contain a planted password."""
    found = set()
    for entry in (*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if NEEDLE in words:
                found.add(f"{entry.name}: {words}")
    return found


def watched(topology: Topology, *options: str, inventory: Path) -> Run:
    playing = topology.start("site", *options, inventory=inventory)
    while playing.is_running:
        seen = processes()
        assert not seen, seen
        time.sleep(0.02)
    run = playing.wait()
    assert NEEDLE not in run.output
    assert NEEDLE not in str(run.oks) + str(run.failures), "a task returned a password"
    return run


def files_with(node: Node, *places: str) -> set[str]:
    """Paths below the volume, and elsewhere in the container, whose bytes contain a planted password."""
    listing = f"cd /var/lib/postgresql && grep -rlaF {NEEDLE} . {' '.join(places)} 2>/dev/null || :"
    return set(node.shell(listing).splitlines())


def test_planted_passwords_are_nowhere(from_nothing: Topology) -> None:
    def inventory(password: str) -> Path:
        return from_nothing.inventory(
            replication_user="replicator",
            replication_password=password,
            postgresql_admin_password=ADMIN,
            postgresql_settings={
                "listen_addresses": "*",
                "log_statement": "all",
                "log_min_duration_statement": 0,
                "log_connections": "on",
                "log_replication_commands": "on",
                "log_min_duration_sample": 0,
                "log_statement_sample_rate": 1,
                "log_transaction_sample_rate": 1,
                "log_statement_stats": "on",
                "log_min_error_statement": "debug5",
                "log_min_messages": "debug2",
                "debug_print_parse": "on",
                "debug_print_rewritten": "on",
                "debug_print_plan": "on",
                "auto_explain.log_min_duration": 0,
                # It keeps the texts of statements in a file.
                "shared_preload_libraries": "pg_stat_statements,auto_explain",
            },
        )

    watched(from_nothing, "-vvvv", "--diff", inventory=inventory(FIRST)).succeeded()
    watched(from_nothing, "-vvvv", "--diff", inventory=inventory(FIRST)).settled()
    watched(from_nothing, "-vvvv", "--diff", "--check", inventory=inventory(SECOND)).succeeded()
    # Rotation: one run, and streaming goes on.
    before = from_nothing.replica.started
    watched(from_nothing, "-vvvv", "--diff", inventory=inventory(SECOND)).succeeded()
    from_nothing.verify(inventory=inventory(SECOND)).settled()
    assert from_nothing.replica.started == before

    elsewhere = ("/tmp", "/root", "/run", "/etc", "/var/log", "/var/tmp", "/home", "/dev/shm")
    assert files_with(from_nothing.primary, *elsewhere) == set()
    assert files_with(from_nothing.replica, *elsewhere) == {PASSFILE}
    access = from_nothing.replica.shell(f"cd /var/lib/postgresql && stat -c '%U %a' {PASSFILE}")
    assert access == "postgres 600"
    assert FIRST not in from_nothing.replica.shell(f"cat /var/lib/postgresql/{PASSFILE}")

    log = from_nothing.primary.shell("cat /var/log/postgresql/*.log")
    for proof in ("statement:", "parse tree:", "duration:", "Query Text:"):
        assert proof in log, f"{proof} was on"
    for node in from_nothing.nodes:
        for told in (
            ("logs", node.name),
            ("inspect", node.name),
            ("inspect", IMAGE),
            ("history", "--no-trunc", IMAGE),
        ):
            assert NEEDLE not in docker(*told)
        left = node.shell(
            "find /root /var/lib/postgresql /tmp /var/tmp -name 'ansible-tmp-*' -o -name 'AnsiballZ*'"
        )
        assert left == "", "what modules were given is packed there, where no search finds it"
    controller = subprocess.run(
        ["grep", "-rlaF", NEEDLE, str(Path.home() / ".ansible")], capture_output=True, text=True, check=False
    )
    assert not controller.stdout


def test_what_the_embedded_default_shows_to_outsiders(topology: Topology) -> None:
    """Its ports lead to the loopback address alone, and its processes are the server's user's."""
    for node in topology.nodes:
        bindings = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", node.name))
        published = [binding for found in bindings.values() for binding in found or ()]
        assert [binding["HostIp"] for binding in published] == ["127.0.0.1"]
        assert docker("inspect", "--format", "{{.HostConfig.Privileged}}", node.name) == "false"
        # What runs there for good; docker exec itself comes as root here.
        owners = docker("top", node.name, "-eo", "pid,uid,args").split("\n")[1:]
        assert {line.split()[1] for line in owners} == {"999"}, owners
