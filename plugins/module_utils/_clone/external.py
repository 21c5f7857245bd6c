# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a copy lies outside its data directory: the WAL directory and the tablespaces.

They are emptied after an interrupted copy only where it is certain that the copy filled them: pg_basebackup
accepts empty directories alone, so what it has begun with is its own.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._clone.move_aside import links_in
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.rights import Rights
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import is_wal_name
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import remove_entries

_TABLESPACE_CONTENT = re.compile(r"^PG_\d+_\d+$")


def clean(filled: Iterable[str], made: Iterable[str], owner: User) -> None:
    """Empty what a copy filled that did not become one, and remove the directories that were made for it."""
    for path in filled:
        with owner.effective(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            remove_entries(path, [name for name in os.listdir(path) if is_copied_there(name)])
    for path in made:
        with Rights.over(os.path.dirname(path), owner).beside(), contextlib.suppress(OSError):
            os.rmdir(path)


def filled_by(record: Mapping[str, Any], copy: str) -> set[str]:
    """Which directories outside hold the rest of the copy in `copy`, whose job is `record`. Links resolved.

    What its links lead to is its own: pg_basebackup makes the one to the WAL directory once it has accepted that, and
    those to tablespaces, which nobody may have mapped, at the end. It accepts tablespaces, all at once, before the
    first byte; the job tells that it has come (`filling`). None that the cluster in its place uses.
    """
    wal = record.get("wal_directory")
    filled = {str(path) for path in _external(record) if record.get("filling") and path != wal}
    filled.update(links_in(copy))
    return set(map(os.path.realpath, filled)) - used_by(str(record.get("real_path", "")))


def made_for(record: Mapping[str, Any]) -> list[str]:
    """Which directories outside did not exist before."""
    return [str(path) for path, missing in _external(record).items() if missing]


def used_by(real_path: str) -> set[str]:
    """The WAL directory and tablespaces of the cluster in `real_path`; none where there is no whole cluster."""
    if not os.path.exists(os.path.join(real_path, "global", "pg_control")):
        return set()
    return {os.path.realpath(link) for link in links_in(real_path)}


def is_copied_there(name: str) -> bool:
    """Whether pg_basebackup puts something of this name into a WAL directory or a tablespace."""
    return is_wal_name(name) or bool(_TABLESPACE_CONTENT.match(name))


def _external(record: Mapping[str, Any]) -> Mapping[str, Any]:
    found = record.get("external")
    return found if isinstance(found, dict) else {}
