# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the layouts a host has."""

from __future__ import annotations

from ansible_collections.walstream.postgresql.plugins.module_utils._layout.base import Layout, Wish
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.debian import DebianLayout
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.host import Host
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.plain import PlainLayout


def resolve(wish: Wish, host: Host) -> Layout:
    """The layout that was asked for, or else the host's own, with every path settled."""
    if (wish.layout or host.default_layout) == "debian":
        return DebianLayout.resolve(wish, host)
    return PlainLayout.resolve(wish, host)
