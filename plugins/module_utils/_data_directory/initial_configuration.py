# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration files that initdb would have written, for a data directory that came without them.

A base backup of Debian's layout, or a volume whose container was replaced, holds data but no
configuration. It is made from the samples that PostgreSQL ships, with the values that initdb puts in.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.guc_file import quote

LOCAL_METHOD = "peer"
HOST_METHOD = "scram-sha-256"

FIRST_WITH_SCRAM = 14

_ENGLISH = ("C", "POSIX", "en")

_SUPERUSER_COMMENT = """\
# The superuser's login over the Unix socket. The distribution's maintenance jobs and Ansible rely on it:
# whoever changes it has to give them another way in.
"""


def initdb_values(version: int, locale: str, time_zone: str) -> dict[str, str]:
    """What initdb writes into postgresql.conf on a machine where its probes find nothing unusual."""
    values = {
        "max_connections": "100",
        "shared_buffers": "128MB",
        "dynamic_shared_memory_type": "posix",
        "max_wal_size": "1GB",
        "min_wal_size": "80MB",
        "log_timezone": time_zone,
        "datestyle": "iso, mdy",
        "timezone": time_zone,
        **{f"lc_{category}": locale for category in ("messages", "monetary", "numeric", "time")},
    }
    if locale.startswith(_ENGLISH):
        values["default_text_search_config"] = "pg_catalog.english"
    if version < FIRST_WITH_SCRAM:  # its default is md5, which no line of ours accepts
        values["password_encryption"] = HOST_METHOD
    return values


def with_values(text: str, values: Mapping[str, str]) -> str:
    """A main configuration file with these values put in: where it names a parameter, else at its end.

    The comments behind the values stay, as they do when initdb does it.
    """
    lines = text.splitlines()
    appended: list[str] = []
    for name, value in values.items():
        line = re.compile(rf"(#?)\s*{re.escape(name)}\s*=\s*(?:'(?:[^']|'')*'|\S+)(\s*#.*)?", re.IGNORECASE)
        matches = [(index, match) for index, match in enumerate(map(line.fullmatch, lines)) if match]
        if not matches:
            appended.append(f"{name} = {quote(value)}")
            continue
        index, match = next((found for found in matches if not found[1][1]), matches[0])
        lines[index] = f"{name} = {quote(value)}{match[2] or ''}"
    return "\n".join([*lines, *appended]) + "\n"


def with_include(text: str, folder: str) -> str:
    """A main file that reads this folder last, so that what it brought from elsewhere gives way."""
    if re.search(rf"^\s*include_dir\s*=?\s*'{re.escape(folder)}'", text, re.MULTILINE):
        return text
    return f"{text}\n# Read last, so it wins over everything above\ninclude_dir = {quote(folder)}\n"


def hba_from_sample(sample: str) -> str:
    """pg_hba.conf as initdb --auth-local=peer --auth-host=scram-sha-256 makes it from its sample."""
    return (
        sample.replace("@remove-line-for-nolocal@", "")
        .replace("@authmethodlocal@", LOCAL_METHOD)
        .replace("@authmethodhost@", HOST_METHOD)
        .replace("@authcomment@", "")
    )


def with_superuser_line(hba: str, superuser: str) -> str:
    """pg_hba.conf with Debian's first entry: its maintenance jobs log in as the superuser."""
    entry = f"{'local':<7} {'all':<15} {superuser:<39} {LOCAL_METHOD}\n\n"
    if re.search(rf"^local\s+all\s+{re.escape(superuser)}\s", hba, re.MULTILINE):
        return hba
    heading = re.search(r"^#\s*TYPE\s+DATABASE", hba, re.MULTILINE)
    at = heading.start() if heading else 0
    return f"{hba[:at]}{_SUPERUSER_COMMENT}{entry}{hba[at:]}"
