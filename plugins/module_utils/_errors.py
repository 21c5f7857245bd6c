# SPDX-License-Identifier: GPL-3.0-or-later
"""The one small family of exceptions that this collection raises for its users."""

from __future__ import annotations

from typing import Any


class WalstreamError(Exception):
    """What is wrong, where, and what to do about it, in one sentence.

    `details` become further return values of the failed module: data that the
    sentence cannot carry, never a secret.
    """

    def __init__(self, sentence: str, **details: Any) -> None:
        super().__init__(sentence)
        self.details = details


class Refusal(WalstreamError):
    """Going on could lose data or be taken for success, so nothing was changed."""
