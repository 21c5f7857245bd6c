# SPDX-License-Identifier: GPL-3.0-or-later
"""Never give up a password that works for one that does not: a running standby would notice only when it reconnects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal, WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.walsender import (
    Upstream,
    keywords_from,
)

Login = Callable[[Mapping[str, Any]], None]
"""Logs in with these libpq keywords and out again, or raises WalstreamError."""


def replication_login(owner: User) -> Login:
    """Logins to a walsender, as the server of this account makes them."""

    def login(keywords: Mapping[str, Any]) -> None:
        with Upstream(keywords, owner).session():
            pass

    return login


def refuse_worse_password(path: str, upstream: Mapping[str, Any], password: str, login: Login) -> None:
    """Raise if the upstream takes the password in the file at `path` and refuses the new one.

    Where neither gets in, or nobody answers, nothing is known about the new one, and nothing is lost by it.
    """
    keywords = {**keywords_from(upstream), "passfile": path}
    if _works(login, {**keywords, "password": password}) or not _works(login, keywords):
        return
    raise Refusal(
        f"the upstream {upstream.get('host')} takes the password of '{upstream.get('user')}' that {path} holds, and "
        "refuses the new one: correct replication_password, or change the role's password on the primary first; "
        "nothing was changed"
    )


def _works(login: Login, keywords: Mapping[str, Any]) -> bool:
    try:
        login(keywords)
    except WalstreamError:
        return False
    return True
