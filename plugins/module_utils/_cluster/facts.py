# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host knows about one cluster: its files, its data directory, and what its server says. Reads only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import Workspace
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster import live
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster.location import (
    SETTINGS,
    local_login,
    located,
    look_around,
    owner_of,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials import logins
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials.logins import DeclaredLogin
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials.passfile import Passfile
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory import inspection
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.base import Paths, Wish
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.choice import resolve
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.host import source_address
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import conninfo
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.postmaster import (
    Postmaster,
    running_postmaster,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import (
    CannotConnect,
    QueryFailed,
    Server,
    connect,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.observation import Observation
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.on_server import observe
from ansible_collections.walstream.postgresql.plugins.module_utils._slot import record
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User, current_user

REPLAY = ("pause_state", "apply_delay", "startup_wait")
STANDBY = ("application_name", "state", "sync_state")
SLOT = ("slot_name", "slot_type", "active", "restart_lsn", "wal_status")
"""What is returned of an observation's replay, and of its rows: the rest changes from look to look."""

_SIZE = """
SELECT (sum(pg_database_size(oid)) + pg_tablespace_size('pg_global'))::bigint AS bytes FROM pg_database
"""
_PARAMETERS = """
SELECT lower(name) AS name, current_setting(name) AS value FROM pg_settings WHERE lower(name) = ANY (%s)
"""
_TABLESPACES = """
SELECT spcname AS name, pg_tablespace_location(oid) AS location
  FROM pg_tablespace WHERE pg_tablespace_location(oid) <> '' ORDER BY spcname
"""


@dataclass(frozen=True)
class Questions:
    """What else somebody wants to know about a cluster."""

    port: int | None = None
    towards: str | None = None
    logins: Sequence[DeclaredLogin] = ()
    passfile: str | None = field(default=None, repr=False)


def facts(wish: Wish, asked: Questions) -> dict[str, Any]:
    """The return value of `cluster_info`."""
    host = look_around()
    layout = resolve(wish, host)
    owner = owner_of(wish)
    paths = layout.paths
    data = inspection.inspect(paths.data_directory, owner or current_user(), paths.bin_directory or None)
    result = {
        "installed_versions": sorted(host.installed),
        "missing_packages": host.missing_packages(paths.version, paths.bin_directory),
        "distribution": host.distribution,
        "distribution_codename": host.codename,
        "source_address": source_address(asked.towards),
        "owner": paths.owner,
        "owner_exists": owner is not None,
        **located(layout, owner, asked.port),
        "own_slots": record.read(f"{paths.data_directory}.slots"),
        "passfile_current": _is_current(f"{paths.data_directory}.pgpass", asked.passfile, owner),
        "clone_leftovers": _leftovers(data.real_path, owner or current_user()),
        "data": data.as_dict(),
        "running": data.running,
    }
    postmaster = running_postmaster(paths.data_directory)
    result.update(_server_facts(postmaster, owner, paths, asked) if data.running else {"reachable": False})
    if "settings" not in result:
        configured = paths.configuration().effective()
        result["settings"] = {name: configured[name].value for name in SETTINGS if name in configured}
    return result


def _is_current(path: str, wanted: str | None, owner: User | None) -> bool | None:
    if wanted is None:
        return None
    return owner is not None and not Passfile(path, owner).change_to(wanted or None).needed


def _leftovers(real_path: str, owner: User) -> list[str]:
    workspaces = [Workspace.of(real_path, in_place, owner) for in_place in (False, True)]
    return [workspace.path for workspace in workspaces if os.path.lexists(workspace.path)]


def _server_facts(
    postmaster: Postmaster | None, owner: User | None, paths: Paths, asked: Questions
) -> dict[str, Any]:
    if postmaster is None or owner is None:
        return {"reachable": False, "unreachable_because": "its postmaster.pid does not say where it listens"}
    try:
        with connect(local_login(postmaster, owner.name)) as server:
            return {"reachable": True, **server_facts(server, paths, asked)}
    except (CannotConnect, QueryFailed, WalstreamError) as error:
        return {"reachable": False, "unreachable_because": str(error)}


def server_facts(server: Server, paths: Paths, asked: Questions) -> dict[str, Any]:
    """What the server says about itself."""
    seen = observe(server)
    return {
        **replication_facts(seen),
        "bytes": server.value(_SIZE),
        "settings": {row["name"]: row["value"] for row in server.rows(_PARAMETERS, [list(SETTINGS)])},
        "pending_restart": sorted(name.lower() for name in seen.pending_restart),
        "unloaded_files": live.newer_files(server, paths.loaded_files(), live.look(server)),
        **logins.look(server, asked.logins),
        "upstream": conninfo.to_keywords(str(server.value("SELECT current_setting('primary_conninfo')"))),
        "tablespaces": server.rows(_TABLESPACES),
    }


def replication_facts(seen: Observation) -> dict[str, Any]:
    """One moment of its replication, from which the controller can tell what that proves."""
    return {
        "server_version": seen.version,
        "in_recovery": seen.in_recovery,
        "system_identifier": seen.system_identifier,
        "timeline": seen.timeline,
        "lsn": str(seen.lsn),
        "received_lsn": str(seen.received) if seen.received else None,
        "wal_block_size": seen.wal_block_size,
        "wal_segment_size": seen.wal_segment_size,
        "replay": {name: getattr(seen, name) for name in REPLAY} if seen.in_recovery else None,
        "receiver": seen.receiver,
        "standbys": [
            {**{name: row.get(name) for name in STANDBY}, "client_address": row.get("client_addr")}
            for row in seen.senders
        ],
        "slots": [{name: row.get(name) for name in SLOT} for row in seen.slots],
    }
