# SPDX-License-Identifier: GPL-3.0-or-later
"""`passfile`: libpq reads from it what was put in, and nobody else reads it."""

from __future__ import annotations

import json

import pytest

PASSWORD = "a b:c\\d'e\"f%g#h\tü$(i){x}"
PATH = "/srv/walstream/data.pgpass"


@pytest.mark.suites("bookworm")
def test_a_password_of_every_kind_of_character(servers, suite):
    node = servers(suite)
    node.set_password("replicator", PASSWORD)
    entry = {"host": "127.0.0.1", "port": node.port, "user": "replicator", "password": PASSWORD}
    arguments = {"path": PATH, "entries": [{**entry, "host": "elsewhere", "password": "other"}, entry]}
    foreseen = node.run_module("passfile", arguments, check=True, diff=True)
    assert foreseen["changed"]
    assert node.run("ls", "/srv/walstream").split() == ["data", "log"]
    made = node.run_module("passfile", arguments, diff=True, verbose=4)
    assert made["changed"]
    assert "c\\d" not in json.dumps({**made, "invocation": None}, ensure_ascii=False).replace("\\\\", "\\")
    assert node.run("stat", "--format=%U %a", PATH) == "postgres 600"
    shown = node.run(
        *("psql", "-XAtw", "-c", "SELECT current_user"),
        f"host=127.0.0.1 port={node.port} user=replicator dbname=postgres passfile={PATH}",
        user="postgres",
    )
    assert shown == "replicator"
    assert not node.run_module("passfile", arguments)["changed"]
    rotated = node.run_module("passfile", {**arguments, "entries": [{**entry, "password": "new"}]}, diff=True)
    assert rotated["changed"]
    assert "new" not in json.dumps(rotated["diff"])
    assert node.run_module("passfile", {"path": PATH, "state": "absent"})["changed"]
    assert not node.run_module("passfile", {"path": PATH, "state": "absent"})["changed"]
