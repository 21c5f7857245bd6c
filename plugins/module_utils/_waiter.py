# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way in which this collection waits: look, and look again soon, until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.25
GROWTH = 1.5

Seen = TypeVar("Seen")


class Clock(Protocol):
    """Seconds on a clock that never goes back, and sleeping on it."""

    def now(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The real one."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def wait_until(
    look: Callable[[], Seen], enough: Callable[[Seen], bool], timeout: float, clock: Clock | None = None
) -> Seen:
    """Call `look` until `enough` accepts what it saw, and return what was seen last, accepted or not.

    Looks at once, then after pauses that grow from 20 to 250 ms, and a last time at the deadline,
    which is `timeout` seconds away and never slept past. A timeout of 0 means one look.
    """
    clock = clock or SystemClock()
    deadline = clock.now() + timeout
    pause = FIRST_PAUSE
    while True:
        seen = look()
        left = deadline - clock.now()
        if enough(seen) or left <= 0:
            return seen
        clock.sleep(min(pause, left))
        pause = min(pause * GROWTH, LONGEST_PAUSE)
