# SPDX-License-Identifier: GPL-3.0-or-later
"""libpq's password file (manual, "The Password File"): its lines, and writing it so that nobody else can read it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User, group_id
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import read_file

MODE = 0o600
"""libpq ignores a password file that its group or others may read."""

DEFAULT_PORT = 5432

ENTRY_OPTIONS: dict[str, dict[str, Any]] = {
    "host": {"type": "str", "default": "*"},
    "port": {"type": "str", "default": "*"},
    "database": {"type": "str", "default": "*"},
    "user": {"type": "str", "default": "*"},
    "password": {"type": "str", "required": True, "no_log": True},
}
"""One entry, as a module's option describes it."""

_KEY_FIELDS = re.compile(r"(?:(?:[^:\\]|\\.)*:){4}")


@dataclass(frozen=True)
class Entry:
    """One line of a password file; `*` as a field matches anything."""

    password: str
    host: str = "*"
    port: str = "*"
    database: str = "*"
    user: str = "*"

    def line(self) -> str:
        """The line as libpq reads it: `\\` and `:` escaped by a backslash."""
        return ":".join((*self._key(), _escaped("password", self.password)))

    def masked(self) -> str:
        """The line to show."""
        return ":".join((*self._key(), "********"))

    def _key(self) -> list[str]:
        return [_escaped(field, getattr(self, field)) for field in ("host", "port", "database", "user")]


def _escaped(field: str, value: str) -> str:
    if not value:
        raise WalstreamError(f"an entry of a password file has an empty {field}")
    if any(character in value for character in "\n\r\0"):
        raise WalstreamError(f"a line of a password file cannot hold the line break or NUL in this {field}")
    escaped = value.replace("\\", "\\\\").replace(":", "\\:")
    return f"\\{escaped}" if escaped.startswith("#") else escaped  # a line that starts with # is a comment


def text_of(entries: Iterable[Entry]) -> str:
    """A whole password file. The order of the entries is kept, because the first match wins."""
    return "".join(f"{entry.line()}\n" for entry in entries)


def text_for(keywords: Mapping[str, Any], password: str) -> str:
    """A whole password file for the one replication login that these libpq keywords describe."""
    place = str(keywords.get("host") or keywords.get("hostaddr") or "*")
    entry = Entry(
        password,
        place,
        str(keywords.get("port") or DEFAULT_PORT),
        "replication",
        str(keywords.get("user") or "*"),
    )
    return text_of([entry])


def masked(text: str) -> str:
    """The text of any password file with each password hidden, also in lines that are not ours."""
    return "".join(f"{_masked_line(line)}\n" for line in text.split("\n") if line)


def _masked_line(line: str) -> str:
    key = _KEY_FIELDS.match(line)
    return f"{key[0]}********" if key and not line.startswith("#") else "(not an entry)"


@dataclass(frozen=True)
class Change:
    """From the file as it is to the file as it should be; None stands for no file."""

    path: str
    before: str | None
    after: str | None
    attributes: tuple[str, ...] = ()

    @property
    def needed(self) -> bool:
        return self.before != self.after or bool(self.attributes)

    @property
    def replaces_contents(self) -> bool:
        return None not in (self.before, self.after) and self.before != self.after

    def diff(self) -> dict[str, str]:
        """For people: entries with their passwords masked, marked where only the password changes."""
        before, after = masked(self.before or ""), masked(self.after or "")
        if self.before != self.after and self.before is not None and before == after:
            after += "# the password of an entry changes\n"
        notes = "".join(f"# {attribute}\n" for attribute in self.attributes)
        return {
            "before_header": self.path,
            "after_header": self.path,
            "before": notes + before,
            "after": after,
        }


@dataclass(frozen=True)
class Passfile:
    """A password file on disk."""

    path: str
    owner: User
    group: str | None = None

    def change_to(self, wanted: str | None) -> Change:
        """What has to happen. A link, or a file that others may read, is as wrong as wrong contents."""
        try:
            state = os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return Change(self.path, None, wanted)
        if stat.S_ISDIR(state.st_mode):
            raise WalstreamError(
                f"{self.path} is a directory where a password file should be: name another path"
            )
        if not stat.S_ISREG(state.st_mode):
            return Change(self.path, None, wanted, ("is not a regular file, and is replaced",))
        # With the owner's rights: another file that a link brings here in this moment stays unread.
        with self.owner.effective():
            before = read_file(self.path)
        return Change(self.path, before, wanted, () if wanted is None else tuple(self._disorder(state)))

    def apply(self, wanted: str | None) -> None:
        if wanted is None:
            files.remove(self.path, self.owner)
        else:
            files.make_directories(os.path.dirname(self.path), self.owner, 0o755)
            files.write(self.path, wanted, self.owner, MODE, self._gid())

    def _disorder(self, state: os.stat_result) -> list[str]:
        found = []
        if stat.S_IMODE(state.st_mode) != MODE:
            found.append(f"mode is {stat.S_IMODE(state.st_mode):04o}, not {MODE:04o}")
        if state.st_uid != self.owner.uid:
            found.append(f"does not belong to {self.owner.name}")
        if self.group and state.st_gid != self._gid():
            found.append(f"does not belong to the group {self.group}")
        return found

    def _gid(self) -> int | None:
        if not self.group:
            return None
        gid = group_id(self.group)
        if gid is None:
            raise WalstreamError(f"the group '{self.group}' does not exist on this host")
        return gid
