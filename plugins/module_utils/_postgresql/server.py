# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to one PostgreSQL server, and the option names under which users describe it.

The options are those of community.postgresql, so that its users feel at home.
"""

from __future__ import annotations

import getpass
import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.driver import (
    psycopg2,
    require_psycopg2,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User

CONNECT_TIMEOUT = 10
"""Seconds that a login may take unless `connect_params` says otherwise."""

SESSION_OPTIONS = "-c synchronous_commit=local"
"""Our own sessions never wait for a synchronous standby, which might be the one that is being repaired."""


class CannotConnect(WalstreamError):
    """The server did not accept the login; `str()` says why."""


class QueryFailed(WalstreamError):
    """The server refused a statement; `sqlstate` is its error code (PostgreSQL manual, appendix A)."""

    def __init__(self, sentence: str, sqlstate: str | None) -> None:
        super().__init__(sentence)
        self.sqlstate = sqlstate


def login_argument_spec() -> dict[str, dict[str, Any]]:
    """The login options of every module that talks to a server (documented in the fragment `login`)."""
    return {
        "login_db": {"type": "str", "default": "postgres", "aliases": ["db"]},
        "login_host": {"type": "str", "default": "", "aliases": ["host"]},
        "login_port": {"type": "int", "default": 5432, "aliases": ["port"]},
        "login_user": {"type": "str", "default": "postgres", "aliases": ["login"]},
        "login_password": {"type": "str", "no_log": True},
        "login_unix_socket": {"type": "str", "default": "", "aliases": ["unix_socket"]},
        "ssl_mode": {
            "type": "str",
            "default": "prefer",
            "choices": ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"],
        },
        "ca_cert": {"type": "str", "aliases": ["ssl_rootcert"]},
        "ssl_cert": {"type": "path"},
        "ssl_key": {"type": "path"},
        "connect_params": {"type": "dict", "default": {}},
    }


@dataclass(frozen=True)
class Login:
    """How to reach a server: libpq keywords, and the system account to connect as where a socket asks for one."""

    keywords: Mapping[str, Any]
    system_user: str | None = None
    description: str = field(default="")

    @property
    def is_local(self) -> bool:
        """Whether it goes through a Unix socket, to a server on this host."""
        return str(self.keywords.get("host", "/")).startswith(("/", "@"))

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Login:
        """From a module's parameters. Over a Unix socket root becomes `login_user`, as peer authentication expects."""
        socket_or_host = params["login_host"] or params["login_unix_socket"]
        keywords = {
            "dbname": params["login_db"],
            "host": socket_or_host,
            "port": params["login_port"],
            "user": params["login_user"],
            "password": params["login_password"],
            "sslmode": params["ssl_mode"],
            "sslrootcert": params["ca_cert"],
            "sslcert": params["ssl_cert"],
            "sslkey": params["ssl_key"],
            **params["connect_params"],
        }
        over_socket = not params["login_host"]
        where = socket_or_host if socket_or_host else "the local socket"
        return cls(
            {key: value for key, value in keywords.items() if value not in (None, "")},
            system_user=params["login_user"]
            if over_socket and _account_exists(params["login_user"])
            else None,
            description=f"{where}, port {params['login_port']}, as user '{params['login_user']}'",
        )

    @classmethod
    def local(cls, port: int, owner: str, socket_directory: str = "") -> Login:
        """The superuser's login through the server's own socket, as the server's system account."""
        keywords: dict[str, Any] = {"dbname": "postgres", "port": port, "user": owner}
        if socket_directory:
            keywords["host"] = socket_directory
        where = socket_directory or "the local socket"
        return cls(keywords, system_user=owner, description=f"{where}, port {port}, as user '{owner}'")


def _account_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


class Server:
    """An open autocommit session. Values go to the server as parameters, never as text."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def version(self) -> int:
        """`server_version_num`, such as 150018; its first two digits are the major version."""
        return int(self._connection.server_version)

    @property
    def major(self) -> int:
        return self.version // 10000

    def rows(self, sql: Any, values: Sequence[Any] | None = None) -> list[dict[str, Any]]:
        """All rows of a query, as dictionaries by column name."""
        try:
            with self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                cursor.execute(sql, values)
                return [dict(row) for row in cursor.fetchall()] if cursor.description else []
        except psycopg2.Error as error:
            raise QueryFailed(_one_line(error), error.pgcode) from None

    def row(self, sql: Any, values: Sequence[Any] | None = None) -> dict[str, Any] | None:
        """The first row of a query, or None."""
        found = self.rows(sql, values)
        return found[0] if found else None

    def value(self, sql: Any, values: Sequence[Any] | None = None) -> Any:
        """The first column of the first row, or None."""
        found = self.row(sql, values)
        return next(iter(found.values())) if found else None

    def rendered(self, sql: str, values: Sequence[Any] | None = None) -> str:
        """The statement with its values in it, quoted by the library, for people to read."""
        with self._connection.cursor() as cursor:
            text: bytes = cursor.mogrify(sql, values)
        return text.decode()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.close()


def connect(login: Login) -> Server:
    """Open a session, or raise `CannotConnect` with the server's own reason on one line."""
    require_psycopg2()
    keywords = {"connect_timeout": CONNECT_TIMEOUT, "options": SESSION_OPTIONS, **login.keywords}
    try:
        if login.system_user and login.system_user != _effective_account():
            with User.named(login.system_user).effective():
                connection = psycopg2.connect(**keywords)
        else:
            connection = psycopg2.connect(**keywords)
    except psycopg2.Error as error:
        raise CannotConnect(
            f"cannot log in to PostgreSQL at {login.description}: {_one_line(error)}"
        ) from None
    connection.set_session(autocommit=True)
    return Server(connection)


def _effective_account() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return getpass.getuser()


def _one_line(error: BaseException) -> str:
    """libpq spreads a reason over several lines; a user gets one."""
    return " ".join(str(error).split()) or type(error).__name__
