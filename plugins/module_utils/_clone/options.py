# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module `basebackup`, in the types that are worked with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._clone.plan import Desired
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials.passfile import (
    Passfile,
    text_for,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.conninfo import to_string
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.programs import Copy
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.identity import Identity
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.walsender import keywords_from


@dataclass(frozen=True)
class Options:
    """The module's options, in the types that are worked with."""

    data_directory: str
    upstream: Mapping[str, Any]
    owner: User
    desired: Desired
    copy: Copy
    passfile: Passfile | None = None
    """The password file to write, for a password that was given; else there is one, or none is needed."""
    secret: str | None = field(default=None, repr=False)
    """What it is to hold."""
    verify: bool = True
    bin_directory: str | None = None
    source_bytes: int | None = None
    source_tablespaces: list[str] | None = None
    foreseen: Identity | None = None
    """What the upstream is, for a check that may not be let in yet."""
    timeout: float | None = None
    wait: float | None = None
    job: str | None = None

    @classmethod
    def from_params(cls, params: Mapping[str, Any], check_mode: bool = False) -> Options:
        owner = User.named(params["owner"])
        keywords = keywords_from(params["upstream"])
        password, file = params["password"], str(keywords.get("passfile") or "")
        if password and not file:
            raise WalstreamError(
                "'password' needs a file to be stored in: name it with 'passfile' in 'upstream'"
            )
        copy = Copy(
            conninfo=to_string({key: value for key, value in keywords.items() if key != "dbname"}),
            target="",
            slot=params["slot"],
            wal_directory=_normal(params["wal_directory"]),
            tablespace_mapping={
                os.path.normpath(old): os.path.normpath(new)
                for old, new in (params["tablespace_mapping"] or {}).items()
            },
            max_rate=params["max_rate"],
            checkpoint=params["checkpoint"],
            compression=params["compression"],
        )
        return cls(
            data_directory=params["data_directory"],
            upstream=_login(keywords, password, owner, check_mode),
            owner=owner,
            passfile=Passfile(file, owner) if password else None,
            secret=text_for(keywords, password) if password else None,
            desired=Desired(params["standby"], params["replace"], params["verify"]),
            copy=copy,
            verify=params["verify"],
            bin_directory=params["bin_directory"],
            source_bytes=params["source_bytes"],
            source_tablespaces=params["source_tablespaces"],
            foreseen=_foreseen(params["foreseen"]) if check_mode else None,
            timeout=params["timeout"] or None,
            wait=params["wait"],
            job=params["job"],
        )


def _login(
    keywords: Mapping[str, Any], password: str | None, owner: User, check_mode: bool
) -> Mapping[str, Any]:
    """How we log in ourselves: by the password that was given, which no other process sees.

    A check comes before the run that makes the upstream take it, so a file that is there already goes first.
    """
    with owner.effective():
        if not password or (check_mode and os.path.exists(keywords["passfile"])):
            return keywords
    return {**keywords, "password": password}


def _foreseen(said: Mapping[str, Any] | None) -> Identity | None:
    return Identity(said["system_identifier"], said["timeline"], said["version"]) if said else None


def _normal(path: str | None) -> str | None:
    return os.path.normpath(path) if path else None
