# SPDX-License-Identifier: GPL-3.0-or-later
"""What people are told about a node before anything happens to it: what is due and why, and what is proved. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def of(desired: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """Empty where there is nothing to say. `desired` is a node with its proof, `here` what was found there."""
    said = {"due": desired["due"], "proved": desired["proved"], "privileges": _excess(desired, here)}
    return {key: value for key, value in said.items() if value}


def _excess(desired: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Where the replication user may do more than replicate.

    Nobody is deprived of a right: the role may be somebody's who needs it. Where the superuser replicates, that is what
    the inventory says.
    """
    user = desired["user"]
    attributes = (here.get("privileged_logins") or {}).get(user)
    if not attributes or user == here.get("owner"):
        return ""
    return (
        f"The role '{user}' on '{desired['name']}' may do more than replicate: it is {', '.join(attributes)}. "
        "Take that away with ALTER ROLE, or let replication_user be a role of its own."
    )
