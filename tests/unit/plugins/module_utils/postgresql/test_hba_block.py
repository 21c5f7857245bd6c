# SPDX-License-Identifier: GPL-3.0-or-later
"""Our rules at the top of pg_hba.conf, and nobody else's touched."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.hba_block import (
    BEGIN,
    END,
    rules_of,
    with_rules,
)

OTHERS = "# TYPE DATABASE\nlocal all postgres peer\n\nhost all all all reject\n"
OURS = f"{BEGIN}\nhost a\nhost b\n{END}\n"


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        pytest.param(OURS + OTHERS, ["host a", "host b"], id="at the top"),
        pytest.param(OTHERS, [], id="none"),
        pytest.param("", [], id="an empty file"),
        pytest.param(OTHERS + OURS, [], id="behind rules that decide first"),
        pytest.param(f"{BEGIN}\nhost a\n", [], id="without an end"),
    ],
)
def test_what_is_ours(text, rules):
    assert rules_of(text) == rules


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(OTHERS, id="none before"),
        pytest.param(f"{BEGIN}\nold\n{END}\n{OTHERS}", id="others before"),
        pytest.param(OTHERS + f"{BEGIN}\nold\n{END}\n", id="at the bottom before"),
        pytest.param(f"{BEGIN}\nx\n{END}\n{OTHERS}{BEGIN}\ny\n{END}\n", id="twice before"),
        pytest.param(f"{END}\n{OTHERS}", id="an end without a beginning"),
        pytest.param(f"{OTHERS}{BEGIN}\n", id="a beginning without an end"),
    ],
)
def test_the_block_moves_to_the_top_and_the_rest_stays(text):
    assert with_rules(text, ["host a", "host b"]) == OURS + OTHERS
    assert with_rules(text, []) == OTHERS
    assert rules_of(with_rules(text, ["host a"])) == ["host a"]


def test_rules_beside_a_mark_without_a_partner_are_kept():
    torn = f"host theirs\n{BEGIN}\nhost unknown\n"
    assert with_rules(torn, ["host a"]) == f"{BEGIN}\nhost a\n{END}\nhost theirs\nhost unknown\n"


def test_a_second_time_changes_nothing():
    once = with_rules(OTHERS, ["host a"])
    assert with_rules(once, ["host a"]) == once
