# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's modules log how they were called into the journal of their host, where more people read than root alone."""

from __future__ import annotations

import re
import time

import pytest
from ansible_collections.walstream.postgresql.tests.certificates import authority, issue, pem

PASSWORD = "planted \\ 'and' \"quoted\""


@pytest.mark.suites("bookworm")
def test_no_password_and_no_key_is_in_the_journal(servers, suite):
    node = servers.empty(suite, systemd=True)
    deadline = time.monotonic() + 60
    while node.run("systemctl", "is-active", "systemd-journald.socket", check=False) != "active":
        assert time.monotonic() < deadline
        time.sleep(0.2)

    certificate, key = issue()
    results = [
        node.run_module(
            "tls_files",
            {
                "directory": "/srv/walstream/data.tls",
                "authority": pem(authority("ours")[1]),
                "server": {"certificate": certificate, "private_key": key},
            },
            verbose=4,
        ),
        node.run_module(
            "passfile",
            {
                "path": "/srv/walstream/data.pgpass",
                "entries": [{"host": "db1", "user": "u", "password": PASSWORD}],
                "upstream": {"host": "db1", "password": "planted in keywords"},
            },
            verbose=4,
        ),
        node.run_module(
            "replication_info", {"connect_params": {"password": "planted in parameters"}}, verbose=4
        ),
        node.run_module(
            "cluster", {"settings": {"primary_conninfo": "password='planted in a setting'"}}, verbose=4
        ),
    ]
    assert not results[0].get("failed"), results[0]
    assert not results[1].get("failed"), results[1]
    assert "planted" not in str(results)

    journal = node.run("journalctl", "--no-pager", "--all", "--output=verbose")
    invoked = re.findall(r"SYSLOG_IDENTIFIER=ansible-(?:\w+\.)*(\w+)$", journal, re.MULTILINE)
    assert {"tls_files", "passfile", "replication_info", "cluster"} <= set(invoked), "it was logged at all"
    assert "planted" not in journal
    assert "PRIVATE KEY" not in journal
    assert key.split("\n")[1][20:] not in journal
