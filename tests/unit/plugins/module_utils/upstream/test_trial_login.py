# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal, WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.trial_login import (
    refuse_worse_password,
)

UPSTREAM = {"host": "db1", "user": "replicator"}


def attempt(old_works, new_works):
    def login(keywords):
        assert keywords["passfile"] == "/p"
        if not (new_works if "password" in keywords else old_works):
            raise WalstreamError("no")

    refuse_worse_password("/p", UPSTREAM, "new", login)


@pytest.mark.parametrize(("old_works", "new_works"), [(True, True), (False, True), (False, False)])
def test_nothing_is_lost(old_works, new_works):
    attempt(old_works, new_works)


def test_a_working_password_is_kept():
    with pytest.raises(
        Refusal, match="takes the password of 'replicator' that /p holds, and refuses the new one"
    ):
        attempt(old_works=True, new_works=False)
