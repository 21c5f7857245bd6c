# SPDX-License-Identifier: GPL-3.0-or-later
"""What an upstream is, as far as a copy or a standby of it is concerned. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """What the upstream says it is."""

    system_identifier: str
    timeline: int
    major: int
