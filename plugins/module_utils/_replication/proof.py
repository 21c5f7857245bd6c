# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that a server is what was expected: what was seen of it, or one sentence with what is missing and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.driver import require_psycopg2
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import Login
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.expectations import Expected
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.observation import described
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.watch import (
    Watcher,
    likely_causes,
    obstacles,
)


def prove(login: Login, expected: Expected, timeout: float) -> dict[str, Any]:
    """Watch a server until it is as `expected`, for `timeout` seconds at most, and return what was seen."""
    require_psycopg2()
    look = Watcher(login, expected).watch(timeout)
    state = {**(described(look.seen) if look.seen else {}), "unmet": list(look.unmet)}
    if not look.unmet and look.seen and look.seen.held_back and not look.seen.streaming:
        # What it does not prove by streaming it proves by a login like the one that it will try.
        state["unmet"] = obstacles(look.seen)
        look = replace(look, unmet=tuple(state["unmet"]))
    if not look.unmet:
        return state
    causes = likely_causes(look)
    waited = "" if look.hopeless or not timeout else f" after {timeout:g} seconds"
    because = f". Likely cause: {'; '.join(causes)}" if causes else ""
    kind = "standby" if expected.standby else "primary"
    raise WalstreamError(
        f"the server at {login.description} is not the {kind} that was expected{waited}: "
        f"{'; '.join(look.unmet)}{because}",
        recovery_state=state,
        unmet=list(look.unmet),
        causes=causes,
    )
