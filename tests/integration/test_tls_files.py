# SPDX-License-Identifier: GPL-3.0-or-later
"""`tls_files`: a server that starts with what was installed, and a client that gets in with it."""

from __future__ import annotations

import json

from ansible_collections.walstream.postgresql.tests.certificates import authority, issue, pem

PATH = "/srv/walstream/data.tls"


def given(**identities):
    pairs = {
        name: {"certificate": pair[0], "private_key": pair[1]} for name, pair in identities.items() if pair
    }
    return {"directory": PATH, "authority": pem(authority("ours")[1]), **pairs}


def test_server_and_client_prove_themselves(servers, suite):
    node = servers(suite)
    wanted = given(server=issue(host="db1", address="127.0.0.1"), client=issue(host="replicator"))
    foreseen = node.run_module("tls_files", wanted, check=True, diff=True)
    assert foreseen["changed"]
    assert "data.tls" not in node.run("ls", "/srv/walstream")
    made = node.run_module("tls_files", {**wanted, "host": "db1"}, diff=True, verbose=4)
    assert made["changed"]
    assert "PRIVATE" not in json.dumps(made)
    assert not node.run_module("tls_files", wanted)["changed"]
    listing = node.run("sh", "-c", f"cd {PATH} && stat -c '%n %U %a' . *").split("\n")
    assert listing == [". postgres 700", *(f"{name}.pem postgres 600" for name in ("ca", "client", "server"))]

    files = {"ssl_cert_file": "server", "ssl_key_file": "server", "ssl_ca_file": "ca"}
    node.configure({"ssl": "on", **{name: f"'{PATH}/{file}.pem'" for name, file in files.items()}})
    node.run("sed", "-i", "1ihostssl all replicator all cert", f"{node.data_directory}/pg_hba.conf")
    node.restart()
    proofs = f"sslmode=verify-ca sslrootcert={PATH}/ca.pem sslcert={PATH}/client.pem sslkey={PATH}/client.pem"
    login = f"host=127.0.0.1 port={node.port} user=replicator dbname=postgres {proofs}"
    ssl = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert node.run("psql", "-XAtw", "-c", ssl, login, user="postgres") == "t"

    assert node.run_module("tls_files", {"directory": PATH, "state": "absent"})["changed"]
    assert not node.run_module("tls_files", {"directory": PATH, "state": "absent"})["changed"]


def test_what_others_would_refuse_is_not_installed(servers, suite):
    node = servers.empty(suite)
    for wanted, words in (
        (given(server=issue(signed_by="theirs")), "would not accept the certificate of the server"),
        (given(server=issue(until=-1)), "expired"),
        ({**given(server=issue()), "host": "db2"}, "connections to db2"),
        (given(server=(issue()[0], issue(host="db2")[1])), "cannot be used together"),
        ({**given(server=issue()), "authority": "nothing"}, "no certificate in PEM form"),
    ):
        refused = node.run_module("tls_files", wanted)
        assert refused["failed"]
        assert words in refused["msg"]
        assert "PRIVATE" not in json.dumps(refused)
        assert "data.tls" not in node.run("ls", "-A", "/srv/walstream")


def test_a_server_that_goes_on_with_an_old_certificate_is_found_out(servers, suite):
    """Its log alone says that it could not load the new one."""
    node = servers(suite)
    renewed = given(server=issue(host="db1", until=60))
    assert node.run_module("tls_files", given(server=issue(host="db1")))["changed"]
    files = {"ssl_cert_file": "server", "ssl_key_file": "server"}
    node.configure({"ssl": "on", **{name: f"'{PATH}/{file}.pem'" for name, file in files.items()}})
    node.restart()

    def proved(**options):
        return node.run_module("recovery_state", {"state": "primary", "timeout": 0, **options})

    assert not proved(encrypted=True).get("failed")
    assert node.run_module("tls_files", renewed)["changed"]
    for _reason in range(2):  # not reloaded yet; and reloaded, but of a mode that the server refuses
        found = proved(encrypted=True)
        assert found.get("failed"), found
        assert "shows an older certificate" in found["msg"]
        assert f"{PATH}/server.pem" in found["msg"]
        assert not proved().get("failed"), "only where somebody asks"
        node.run("chmod", "0644", f"{PATH}/server.pem")
        node.reload()
    node.run("chmod", "0600", f"{PATH}/server.pem")
    node.reload()
    assert not proved(encrypted=True, timeout=10).get("failed")
    # A server without TLS, and one that listens nowhere, have nothing to show.
    for settings in ({"ssl": "off"}, {"ssl": "on", "listen_addresses": "''"}):
        node.configure(settings)
        node.restart()
        assert not proved(encrypted=True).get("failed")
