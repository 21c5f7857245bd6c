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
SELECT rolname AS name, rolcanlogin AS login, rolreplication OR rolsuper AS replication, rolpassword AS password
  FROM pg_authid WHERE rolname = ANY (%s)
"""
_PRIVILEGES = """
SELECT rolname AS name, array_remove(ARRAY[
         CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
         CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL) AS more
  FROM pg_roles WHERE rolname = ANY (%s)
"""
_EXPIRED = """
SELECT rolname AS name, rolvaliduntil::text AS valid_until
  FROM pg_roles WHERE rolname = ANY (%s) AND rolvaliduntil < now()
"""


@dataclass(frozen=True)
class DeclaredLogin:
    """A role that must be able to log in. Without a password it is known by a certificate."""

    name: str
    password: str | None = field(default=None, repr=False)
    replication: bool = False


def stale(server: Server, declared: Iterable[DeclaredLogin]) -> list[str]:
    """The names of those roles that are missing or not as declared, as far as can be told without trying."""
    declared = list(declared)
    found = {row["name"]: row for row in server.rows(_ROLES, [[one.name for one in declared]])}
    return [one.name for one in declared if not _is_as_declared(one, found.get(one.name))]


def privileged(server: Server, declared: Iterable[DeclaredLogin]) -> dict[str, list[str]]:
    """The attributes beyond logging in and replicating, of those roles that have any."""
    rows = server.rows(_PRIVILEGES, [[one.name for one in declared]])
    return {row["name"]: row["more"] for row in rows if row["more"]}


def expired(server: Server, declared: Iterable[DeclaredLogin]) -> dict[str, str]:
    """Until when the passwords of those roles were valid that no longer are. Who has a certificate is not concerned."""
    rows = server.rows(_EXPIRED, [[one.name for one in declared if one.password]])
    return {row["name"]: row["valid_until"] for row in rows}


def _is_as_declared(declared: DeclaredLogin, row: dict[str, object] | None) -> bool:
    if row is None or not row["login"] or (declared.replication and not row["replication"]):
        return False
    verifier = row["password"]
    return not declared.password or scram.is_of(
        None if verifier is None else str(verifier), declared.password
    )
