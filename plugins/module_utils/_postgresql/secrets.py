# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords in places that are not made for them: in libpq's keywords, and in connection strings in settings. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

SECRET_KEYWORDS = ("password", "sslpassword", "oauth_client_secret")
"""libpq keywords that may never stand in a file, a process list or a result of ours."""

_KEYWORD = r"(?:" + "|".join(SECRET_KEYWORDS) + r")\s*=\s*"
_IN_CONNINFO = re.compile(
    _KEYWORD + r"(?:''((?:[^'\\]|\\.)+)''|'((?:[^'\\]|\\.)+)'|([^\s'&]+))",
    re.IGNORECASE,
)
_IN_URI = re.compile(r"://[^\s:@/?]*:([^\s@/?]+)@")


def secrets_in(value: Any) -> Iterator[str]:
    """Every password in a value of any depth, as it is written there."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if str(key).lower() in SECRET_KEYWORDS and isinstance(item, (str, int, float)) and str(item):
                yield str(item)
            else:
                yield from secrets_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from secrets_in(item)
    elif isinstance(value, str):
        for pattern in (_IN_CONNINFO, _IN_URI):
            for match in pattern.finditer(value):
                yield from filter(None, match.groups())
