# SPDX-License-Identifier: GPL-3.0-or-later
"""What people are told about a node."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.plugin_utils import _report

NODE = {"name": "p", "user": "replicator", "due": {}, "proved": ""}


def test_nothing_is_said_where_there_is_nothing_to_say():
    assert _report.of(NODE, {}) == {}


def test_what_is_due_and_what_is_proved_are_told_apart():
    due, proved = {"server": "it does not run"}, "streams from p"
    assert _report.of({**NODE, "due": due}, {}) == {"due": due}
    assert _report.of({**NODE, "proved": proved}, {}) == {"proved": proved}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"privileged_logins": {"replicator": ["SUPERUSER", "CREATEDB"]}, "owner": "postgres"}, True),
        ({"privileged_logins": {"other": ["SUPERUSER"]}, "owner": "postgres"}, False),
        ({"privileged_logins": {"replicator": ["SUPERUSER"]}, "owner": "replicator"}, False),
        ({"privileged_logins": None, "owner": "postgres"}, False),
    ],
)
def test_a_replication_user_that_may_do_more_is_named(found, told):
    said = _report.of(NODE, found)
    assert ("privileges" in said) is told
    if told:
        assert (
            "The role 'replicator' on 'p' may do more than replicate: it is SUPERUSER, CREATEDB."
            in said["privileges"]
        )
