# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles that log in: whether they are there with the password and the attributes that were declared. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._credentials import scram
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import Server

LOGIN_OPTIONS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "password": {"type": "str", "no_log": True},
    "replication": {"type": "bool", "default": False},
}
"""One role, as a module's option describes it."""

_ROLES = """
SELECT rolname AS name, rolcanlogin AS login, rolreplication OR rolsuper AS replication, rolpassword AS password,
       CASE WHEN rolvaliduntil < now() THEN rolvaliduntil::text END AS expired,
       array_remove(ARRAY[
         CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
         CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL) AS more
  FROM pg_authid WHERE rolname = ANY (%s)
"""


@dataclass(frozen=True)
class DeclaredLogin:
    """A role that must be able to log in. Without a password it is known by a certificate."""

    name: str
    password: str | None = field(default=None, repr=False)
    replication: bool = False


def look(server: Server, declared: Iterable[DeclaredLogin]) -> dict[str, Any]:
    """What `cluster_info` returns of these roles.

    `stale_logins`: names of those that are missing or not as declared, as far as can be told without trying.
    `expired_logins`: until when passwords were valid that no longer are; who has a certificate is not concerned.
    `privileged_logins`: attributes beyond logging in and replicating.
    """
    declared = list(declared)
    found = {row["name"]: row for row in server.rows(_ROLES, [[one.name for one in declared]])}
    with_password = {one.name for one in declared if one.password}
    return {
        "stale_logins": [one.name for one in declared if not _is_as_declared(one, found.get(one.name))],
        "expired_logins": {
            name: row["expired"] for name, row in found.items() if row["expired"] and name in with_password
        },
        "privileged_logins": {name: row["more"] for name, row in found.items() if row["more"]},
    }


def _is_as_declared(declared: DeclaredLogin, row: dict[str, object] | None) -> bool:
    if row is None or not row["login"] or (declared.replication and not row["replication"]):
        return False
    verifier = row["password"]
    return not declared.password or scram.is_of(
        None if verifier is None else str(verifier), declared.password
    )
