# SPDX-License-Identifier: GPL-3.0-or-later
"""The waiter on a clock of our own."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._waiter import wait_until


class FakeClock:
    def __init__(self, seconds_per_look=0.0):
        self.time = 1000.0
        self.pauses = []
        self.seconds_per_look = seconds_per_look

    def now(self):
        return self.time

    def sleep(self, seconds):
        assert seconds > 0
        self.pauses.append(seconds)
        self.time += seconds

    def look(self):
        self.time += self.seconds_per_look
        return self.time


def test_success_at_the_first_look_costs_no_sleep():
    clock = FakeClock()
    assert wait_until(lambda: "ready", lambda seen: seen == "ready", 30, clock) == "ready"
    assert clock.pauses == []


def test_pauses_grow_from_20_to_250_ms():
    clock = FakeClock()
    wait_until(clock.look, lambda _seen: False, 5, clock)
    assert clock.pauses[0] == pytest.approx(0.02)
    assert clock.pauses[1] == pytest.approx(0.03)
    assert max(clock.pauses) == pytest.approx(0.25)


@pytest.mark.parametrize("timeout", [0.01, 0.5, 3.3])
def test_never_sleeps_past_the_deadline_and_looks_there_once_more(timeout):
    clock = FakeClock()
    last = wait_until(clock.look, lambda _seen: False, timeout, clock)
    assert last == pytest.approx(1000 + timeout)
    assert clock.now() == pytest.approx(1000 + timeout)


@pytest.mark.parametrize("timeout", [0, -1])
def test_no_time_means_one_look(timeout):
    clock = FakeClock()
    looks = []
    wait_until(lambda: looks.append(1), lambda _seen: False, timeout, clock)
    assert len(looks) == 1
    assert clock.pauses == []


def test_what_takes_longer_than_the_timeout_is_not_repeated():
    clock = FakeClock(seconds_per_look=10)
    assert wait_until(clock.look, lambda _seen: False, 5, clock) == pytest.approx(1010)
