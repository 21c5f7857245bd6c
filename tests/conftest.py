# SPDX-License-Identifier: GPL-3.0-or-later
"""What takes minutes and rarely breaks runs only where WALSTREAM_FAULTS is set, as `make faults` does."""

from __future__ import annotations

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "faults: takes minutes; runs where WALSTREAM_FAULTS is set")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("WALSTREAM_FAULTS"):
        for item in items:
            if item.get_closest_marker("faults"):
                item.add_marker(pytest.mark.skip(reason="slow: make faults runs it"))
