# SPDX-License-Identifier: GPL-3.0-or-later
"""The time zone of this host."""

from __future__ import annotations

import os

_LOCAL_TIME = "/etc/localtime"
_ZONES = "/zoneinfo/"


def of_this_host(local_time: str = _LOCAL_TIME) -> str | None:
    """Its name in the time zone database, or None where the host's link to it does not tell (see localtime(5))."""
    target = os.path.realpath(local_time)
    return target.split(_ZONES, 1)[1] if _ZONES in target else None
