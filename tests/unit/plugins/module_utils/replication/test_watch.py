# SPDX-License-Identifier: GPL-3.0-or-later
"""Where to look when a server does not answer."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.watch import (
    Look,
    likely_causes,
    where_to_look,
)


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        (
            'connection to server on socket "/x/.s.PGSQL.5432" failed: No such file or directory',
            "not running",
        ),
        ("could not connect to server: Connection refused", "not running"),
        ("FATAL:  the database system is starting up", "running, but not ready"),
        ("FATAL:  the database system is not yet accepting connections", "running, but not ready"),
        ('FATAL:  role "x" does not exist', ""),
    ],
)
def test_where_to_look(sentence, words):
    found = where_to_look(sentence)
    assert (words in found) if words else (found == "")
    assert likely_causes(Look((sentence,))) == ([found] if words else [])
