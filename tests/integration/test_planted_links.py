# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's user puts links in the places of its own folders: root must not follow where that user may not go.

Whoever gets a file of his own into /etc/modprobe.d, say, is root with the next module that is loaded.
"""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.tests.certificates import authority, issue, pem

pytestmark = pytest.mark.suites("bookworm")

OWN = "/srv/walstream"
FORBIDDEN = "/etc/modprobe.d"


@pytest.fixture
def node(servers, suite):
    made = servers.empty(suite)
    made.run("mkdir", "-p", FORBIDDEN)
    made.run("ln", "-s", FORBIDDEN, f"{OWN}/led", user="postgres")
    return made


def passfile(path):
    return {"path": path, "entries": [{"password": "s3cret"}]}


def tls_files(path):
    certificate, key = issue()
    server = {"certificate": certificate, "private_key": key}
    return {"directory": path, "authority": pem(authority("ours")[1]), "server": server}


@pytest.mark.parametrize("below", ["data", "made/data"])
def test_passwords_and_keys(node, below):
    for module, arguments in (
        ("passfile", passfile(f"{OWN}/led/{below}.pgpass")),
        ("tls_files", tls_files(f"{OWN}/led/{below}.tls")),
    ):
        refused = node.run_module(module, arguments)
        assert refused.get("failed"), refused
        assert "a link that root did not make leads to where 'postgres' may not write" in refused["msg"]
        assert "\n" not in refused["msg"]
    assert node.run("ls", "-A", FORBIDDEN) == ""


def test_what_is_taken_away(node):
    """A password file, or the folder of certificates, that the way leads to is not ours to remove."""
    node.run("touch", f"{FORBIDDEN}/data.pgpass")
    refused = node.run_module("passfile", {"path": f"{OWN}/led/data.pgpass", "state": "absent"})
    assert "a link that root did not make" in refused["msg"]
    assert node.run("ls", "-A", FORBIDDEN) == "data.pgpass"


def test_settings_and_the_record_of_slots(servers, suite):
    node = servers(suite)
    declared = {"data_directory": node.data_directory, "layout": "plain", "state": "started"}
    made = node.run_module("cluster", {**declared, "settings": {"work_mem": "4MB"}})
    assert not made.get("failed"), made
    folder = made["cluster"]["settings_file"].rsplit("/", 1)[0]
    assert folder.startswith(OWN)
    node.run("mkdir", "-p", FORBIDDEN)
    node.run("mv", folder, f"{folder}.away", user="postgres")
    node.run("ln", "-s", FORBIDDEN, folder, user="postgres")
    refused = node.run_module("cluster", {**declared, "settings": {"work_mem": "5MB"}})
    assert refused.get("failed"), refused
    assert "a link that root did not make" in refused["msg"]

    node.run("ln", "-s", FORBIDDEN, f"{OWN}/led", user="postgres")
    refused = node.run_module("replication_slot", {"name": "s1", "record": f"{OWN}/led/data.slots"})
    assert "Permission denied" in refused["msg"]
    assert node.psql("SELECT count(*) FROM pg_replication_slots") == "0"
    assert node.run("ls", "-A", FORBIDDEN) == ""


@pytest.mark.parametrize(
    ("preparation", "path"),
    [
        # Root's own link, in a folder where only root can put one.
        ("install -d -o postgres /data/pg && ln -s /data/pg /srv/pg", "/srv/pg/data"),
        # Root's folder, as above a data directory that is a mount point.
        ("mkdir -p /data/of_root", "/data/of_root/data"),
        # Root's folder inside one of the server's user: no link leads there.
        (f"mkdir {OWN}/of_root", f"{OWN}/of_root/data"),
        # A link of the server's user to where that user may go.
        (f"install -d -o postgres /data && su postgres -c 'ln -s /data {OWN}/there'", f"{OWN}/there/data"),
        (f"install -d -o postgres '{OWN}/a b'", f"{OWN}/a b/'quoted' \"name\""),
    ],
)
def test_ways_that_are_fine(servers, suite, preparation, path):
    node = servers.empty(suite)
    node.run("sh", "-c", preparation)
    for module, arguments in (
        ("passfile", passfile(f"{path}.pgpass")),
        ("tls_files", tls_files(f"{path}.tls")),
    ):
        assert node.run_module(module, arguments).get("changed"), node.run_module(module, arguments)
        assert not node.run_module(module, arguments)["changed"]
    access = node.run("stat", "--format=%U %a", f"{path}.pgpass", f"{path}.tls", f"{path}.tls/server.pem")
    assert access.split("\n") == ["postgres 600", "postgres 700", "postgres 600"]
