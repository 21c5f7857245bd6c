# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running server has loaded of its configuration, and making it load the rest.

Everything is derived from the server and from the files: whether a reload is due does not depend on
who changed a file, or on a run that was killed before it could reload.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.driver import psycopg2
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import Server
from ansible_collections.walstream.postgresql.plugins.module_utils._waiter import wait_until

CLOCK_STEP = 0.01
"""Seconds. The kernel stamps files with a clock that moves every few milliseconds."""

_FIRST_WITH_HBA_INCLUDES = 16
_FIRST_WITH_IDENT_VIEW = 15

_LOADED_AT = "SELECT extract(epoch FROM pg_conf_load_time())::float8"
_FILES = r"""
SELECT setting FROM pg_settings
 WHERE name IN ('hba_file', 'ident_file')
    OR (name ~ '^ssl_.*_(file|dir)$' AND setting <> '' AND current_setting('ssl')::bool)
"""
# A value that only waits for a restart, or its removal, is listed here as an error too.
_FILE_ERRORS = """
SELECT file.sourcefile AS file, file.sourceline AS line, file.name, file.error
  FROM pg_file_settings AS file LEFT JOIN pg_settings AS known ON lower(known.name) = lower(file.name)
 WHERE file.error IS NOT NULL
   AND NOT (known.name IS NOT NULL AND known.context = 'postmaster' AND file.error = 'setting could not be applied')
   AND file.error !~ '^parameter ".*" cannot be changed without restarting the server$'
"""
# A rule for encrypted connections is listed as an error while TLS is off. It does no harm, and may wait for TLS.
_RULE_ERRORS = """
SELECT {file} AS file, line_number AS line, error FROM {view}
 WHERE error IS NOT NULL AND error !~ '^hostssl record cannot match'
"""


@dataclass(frozen=True)
class Loaded:
    """What the server runs with."""

    at: float
    pending_restart: tuple[str, ...]
    in_recovery: bool
    system_identifier: str


def look(server: Server) -> Loaded:
    row = server.rows(
        f"SELECT ({_LOADED_AT}) AS at, pg_is_in_recovery() AS in_recovery,"
        " (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,"
        " array(SELECT name FROM pg_settings WHERE pending_restart ORDER BY name) AS pending_restart"
    )[0]
    return Loaded(row["at"], tuple(row["pending_restart"]), row["in_recovery"], row["system_identifier"])


def newer_files(server: Server, configuration_files: Iterable[str], loaded: Loaded) -> list[str]:
    """Files and folders that changed after the server read them: its configuration, rules and certificates."""
    data_directory = str(server.value("SELECT current_setting('data_directory')"))
    others = [os.path.join(data_directory, str(row["setting"])) for row in server.rows(_FILES)]
    if server.major >= _FIRST_WITH_HBA_INCLUDES:
        rows = server.rows("SELECT DISTINCT file_name FROM pg_hba_file_rules WHERE file_name IS NOT NULL")
        others += [str(row["file_name"]) for row in rows]
    every = dict.fromkeys(
        [*configuration_files, os.path.join(data_directory, "postgresql.auto.conf"), *others]
    )
    return [path for path in every if changed_at(path) > loaded.at - CLOCK_STEP]


def changed_at(path: str) -> float:
    """When a file was last changed or put into its place; a copied one may carry an old modification time."""
    try:
        state = os.stat(path)
    except OSError:
        return 0.0
    return max(state.st_mtime, state.st_ctime)


def let_clock_pass(paths: Iterable[str]) -> None:
    """Wait until what is loaded from now on is seen to be newer than these files."""
    newest = max(map(changed_at, paths), default=0.0)
    rest = newest + 2 * CLOCK_STEP - time.time()
    if 0 < rest <= 2 * CLOCK_STEP:
        time.sleep(rest)


def refuse_unreadable(server: Server) -> None:
    """Raise with file, line and reason for everything that the server could not load as it stands on disk."""
    errors = [
        f"{row['file']} line {row['line']}: {row['name'] + ': ' if row['name'] else ''}{row['error']}"
        for row in server.rows(_FILE_ERRORS)
    ]
    with_file = server.major >= _FIRST_WITH_HBA_INCLUDES
    views = [("pg_hba_file_rules", "hba_file")]
    if server.major >= _FIRST_WITH_IDENT_VIEW:
        views.append(("pg_ident_file_mappings", "ident_file"))
    for view, parameter in views:
        file = "file_name" if with_file else f"current_setting('{parameter}')"
        for row in server.rows(_RULE_ERRORS.format(file=file, view=view)):
            errors.append(f"{row['file']} line {row['line']}: {row['error']}")
    if errors:
        raise WalstreamError(
            f"the server cannot load its configuration: {'; '.join(errors)}; correct that, it still runs with what "
            "it loaded before"
        )


def reload(server: Server, timeout: float) -> None:
    """Make the server load its files, and wait until it has."""
    refuse_unreadable(server)
    before = server.value(_LOADED_AT)
    server.rows("SELECT pg_reload_conf()")
    after = wait_until(lambda: server.value(_LOADED_AT), lambda loaded: loaded > before, timeout)
    if after == before:
        refuse_unreadable(server)
        raise WalstreamError(
            f"the server did not load its configuration within {timeout:g} seconds: its log says why"
        )


def contexts(server: Server, names: Sequence[str]) -> dict[str, str]:
    """When a parameter's change takes effect, by name: 'postmaster' means at a restart."""
    rows = server.rows(
        "SELECT lower(name) AS name, context FROM pg_settings WHERE lower(name) = ANY (%s)", [list(names)]
    )
    return {row["name"]: row["context"] for row in rows}


def running_values(server: Server, names: Sequence[str]) -> dict[str, str]:
    """What the server runs with now."""
    rows = server.rows(
        "SELECT lower(name) AS name, current_setting(name) AS value FROM pg_settings WHERE lower(name) = ANY (%s)",
        [list(names)],
    )
    return {row["name"]: row["value"] for row in rows}


def reset_system_setting(server: Server, name: str) -> None:
    """Take a parameter out of postgresql.auto.conf."""
    server.rows(psycopg2.sql.SQL("ALTER SYSTEM RESET {}").format(psycopg2.sql.Identifier(*name.split("."))))
