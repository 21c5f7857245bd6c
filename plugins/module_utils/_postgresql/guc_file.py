# SPDX-License-Identifier: GPL-3.0-or-later
"""The syntax of postgresql.conf, and the one settings file that this collection owns.

Pure: files are read by the functions that the caller passes in. The grammar is that of
PostgreSQL's guc-file.l (manual, section 20.1.2): names regardless of case, optional `=`,
quotes doubled or escaped, includes relative to the including file, the last setting wins.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError

HEADER = (
    "# Managed by Ansible (collection walstream.postgresql): what is changed here by hand is overwritten.\n"
    "# Change the inventory instead. Settings that the inventory does not name belong into files of their own.\n"
)

_MAX_INCLUDE_DEPTH = 10  # CONF_FILE_MAX_DEPTH of the server
_INCLUDES = {"include", "include_if_exists", "include_dir"}
_FIXED_BY_LAYOUT = {"data_directory", "config_file"}

# By what they leave out: classes that run to the end of Unicode take re a hundred times as long to compile.
_LETTER = r"[^\x00-@\[-^`{-\x7f]"  # A-Z, a-z, _ and all beyond ASCII
_WORD = r"[^\x00-/:-@\[-^`{-\x7f]"  # and digits
_PATH = r"[^\x00-,;-@\[-^`{-\x7f]"  # and -./:
_ID = rf"{_LETTER}{_WORD}*"
_NAME = re.compile(rf"{_ID}(?:\.{_ID})*")
_LINE = re.compile(
    rf"""\s*(?P<name>{_ID}(?:\.{_ID})*)
         (?:\s*=\s*|\s+|(?='))
         (?:'(?P<quoted>(?:[^'\\]|\\.|'')*)'
           |(?P<bare>{_LETTER}{_PATH}*
                    |[-+]?(?:0x[0-9A-Fa-f]+|\d+)[A-Za-z]*(?![\w.])
                    |[-+]?\d*\.\d*(?:[eE][-+]?\d+)?))
         \s*(?:\#.*)?""",
    re.VERBOSE,
)
_BLANK = re.compile(r"\s*(?:#.*)?")
_NEEDS_NO_QUOTES = re.compile(r"-?\d+(?:\.\d+)?|\d+[A-Za-z]+|[A-Za-z_][A-Za-z0-9_]*")
_ESCAPE = re.compile(r"\\([0-7]{1,3}|.)|''", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_SECRET = re.compile(
    r"((?:ssl)?password\s*=\s*)(?:''(?:[^'\\]|\\.)*''|'(?:[^'\\]|\\.)*'|[^\s']+)", re.IGNORECASE
)

Read = Callable[[str], Optional[str]]
"""The text of a file, or None where it does not exist."""
ListDirectory = Callable[[str], Optional[Sequence[str]]]
"""The names in a directory, or None where it does not exist."""


@dataclass(frozen=True)
class Setting:
    """One line `name = value` of a configuration file."""

    name: str
    value: str
    file: str
    line: int


@dataclass(frozen=True)
class Configuration:
    """Everything that a main configuration file says, in the order in which the server reads it."""

    settings: tuple[Setting, ...] = ()
    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def effective(self, without: Set[str] = frozenset()) -> dict[str, Setting]:
        """The setting that wins for each name, files in `without` left out."""
        return {setting.name: setting for setting in self.settings if setting.file not in without}

    def values(self) -> dict[str, str]:
        """The value that wins for each name."""
        return {name: setting.value for name, setting in self.effective().items()}

    def value(self, name: str, default: str = "") -> str:
        found = self.effective().get(name)
        return found.value if found else default


def load(path: str, read: Read, list_directory: ListDirectory) -> Configuration:
    """Read a configuration file and everything that it includes.

    What the server would refuse becomes an entry of `problems`, and reading goes on.
    """
    settings: list[Setting] = []
    files: list[str] = []
    directories: list[str] = []
    problems: list[str] = []

    def visit(file: str, depth: int, said_by: str, required: bool = True) -> None:
        if depth > _MAX_INCLUDE_DEPTH:
            problems.append(f"{said_by}: includes are nested too deeply")
            return
        text = read(file)
        if text is None:
            if required:
                problems.append(f"{said_by}: the file {file} does not exist")
            return
        files.append(file)
        for entry in parse(text, file, problems):
            where = f"{file} line {entry.line}"
            if entry.name not in _INCLUDES:
                settings.append(entry)
                continue
            target = posixpath.join(posixpath.dirname(file), entry.value)
            if entry.name != "include_dir":
                visit(target, depth + 1, where, required=entry.name == "include")
                continue
            directories.append(posixpath.normpath(target))
            names = list_directory(target)
            if names is None:
                problems.append(f"{where}: the directory {target} does not exist")
            for name in sorted(names or (), key=_as_bytes):
                if name.endswith(".conf") and not name.startswith("."):
                    visit(posixpath.normpath(posixpath.join(target, name)), depth + 1, where)

    visit(path, 0, path)
    return Configuration(tuple(settings), tuple(files), tuple(directories), tuple(problems))


def _as_bytes(name: str) -> bytes:
    """The server sorts by bytes, and names need not be UTF-8."""
    return name.encode(errors="surrogateescape")


def parse(text: str, file: str = "", problems: list[str] | None = None) -> list[Setting]:
    """The lines of one file, include directives among them. Unreadable lines go to `problems`."""
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match:
            quoted = match["quoted"]
            value = match["bare"] if quoted is None else unescape(quoted)
            found.append(Setting(match["name"].lower(), value, file, number))
        elif not _BLANK.fullmatch(line) and problems is not None:
            problems.append(f"{file} line {number}: syntax error")
    return found


def unescape(quoted: str) -> str:
    """The value between single quotes, as GUC_scanstr of the server reads it."""

    def one(match: re.Match[str]) -> str:
        escape = match[1]
        if escape is None:
            return "'"
        if escape[0] in "01234567":
            return chr(int(escape, 8) & 0xFF)
        return _ESCAPED.get(escape, escape)

    return _ESCAPE.sub(one, quoted)


def quote(value: str) -> str:
    """A value as it is written in a configuration file."""
    if _NEEDS_NO_QUOTES.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def text_of(name: str, value: Any) -> str:
    """A value from an inventory as the server's text: booleans become on/off, lists are joined by commas."""
    if getattr(value, "__ENCRYPTED__", False):  # vaulted, which is text only since ansible-core 2.19
        value = str(value)
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ", ".join(text_of(name, item) for item in value)
    if not isinstance(value, (str, int, float)):
        raise WalstreamError(
            f"setting '{name}': a {type(value).__name__} is not a value of a server parameter"
        )
    if "\0" in str(value):
        raise WalstreamError(f"setting '{name}': a NUL character cannot stand in a configuration file")
    return str(value)


def normalized(settings: Mapping[str, Any]) -> dict[str, str | None]:
    """An inventory's settings with lower-case names and text values; None stays and means 'not set by us'."""
    result: dict[str, str | None] = {}
    for given, value in settings.items():
        name = str(given).lower()
        if not _NAME.fullmatch(name) or name in _INCLUDES:
            raise WalstreamError(f"setting '{given}': this is not the name of a server parameter")
        if name in _FIXED_BY_LAYOUT:
            raise WalstreamError(
                f"setting '{name}' cannot be changed by an included file: use the option for it"
            )
        if name in result:
            raise WalstreamError(f"setting '{name}' is given twice, in different spellings")
        result[name] = None if value is None else text_of(name, value)
    return result


def render(settings: Mapping[str, str]) -> str:
    """The text of our settings file: the same settings give the same bytes."""
    return HEADER + "".join(f"{name} = {quote(settings[name])}\n" for name in sorted(settings))


def without(text: str, names: Set[str]) -> str:
    """The text of one file with the lines for these parameters taken out and every other byte kept."""
    drop = {setting.line for setting in parse(text) if setting.name in names}
    return "\n".join(line for number, line in enumerate(text.split("\n"), start=1) if number not in drop)


def masked(text: str) -> str:
    """Text to show: a password that somebody put into a connection string is not for logs and diffs."""
    return _SECRET.sub(r"\1********", text)
