# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import getpass

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.options import Options

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
    ("exists", "check_mode", "uses_password"), [(0, 1, True), (1, 1, False), (0, 0, False)]
)
def test_the_password_stands_in_for_a_file_that_a_check_may_not_write(
    tmp_path, exists, check_mode, uses_password
):
    passfile = tmp_path / "passfile"
    if exists:
        passfile.touch()
    made = options(str(passfile), bool(check_mode))
    assert (made.upstream.get("password") == "pw") is uses_password
    assert ("passfile" in made.upstream) is not uses_password
    assert "pw" not in made.copy.conninfo
    assert f"passfile={passfile}" in made.copy.conninfo
