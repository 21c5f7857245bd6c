# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import getpass

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.options import Options
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError

NOT_GIVEN = (
    *(
        "slot",
        "wal_directory",
        "tablespace_mapping",
        "max_rate",
        "checkpoint",
        "compression",
        "standby",
        "replace",
    ),
    *("verify", "bin_directory", "source_bytes", "source_tablespaces", "foreseen", "timeout", "wait", "job"),
)


def options(passfile, check_mode):
    params = dict.fromkeys(NOT_GIVEN)
    given = {"data_directory": "/d", "owner": getpass.getuser(), "password": "pw"}
    return Options.from_params(
        {**params, **given, "upstream": {"host": "h", "passfile": passfile}}, check_mode
    )


@pytest.mark.parametrize(
    ("exists", "check_mode", "uses_password"),
    [(0, 1, True), (1, 1, False), (0, 0, True), (1, 0, True)],
)
def test_a_new_password_is_tried_before_it_is_stored(tmp_path, exists, check_mode, uses_password):
    passfile = tmp_path / "passfile"
    if exists:
        passfile.touch()
    made = options(str(passfile), bool(check_mode))
    assert (made.upstream.get("password") == "pw") is uses_password
    assert "pw" not in made.copy.conninfo
    assert f"passfile={passfile}" in made.copy.conninfo
    assert made.secret == "h:5432:replication:*:pw\n"


def test_a_password_needs_a_file():
    with pytest.raises(WalstreamError, match="name it with 'passfile' in 'upstream'"):
        options("", False)
