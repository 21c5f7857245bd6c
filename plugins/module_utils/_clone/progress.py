# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a clone is: read from what pg_basebackup prints, told in one line. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

KIB = 1024
MINUTE = 60
HOUR = 3600

STARTING = "starting"
CLEANING = "removing an interrupted copy"
CHECKPOINT = "waiting for the checkpoint on the upstream"
COPYING = "copying"
WAL = "waiting for the last WAL"
SYNCING = "writing to disk"
VERIFYING = "verifying"
FINISHING = "finishing"
DONE = "done"
FAILED = "failed"

_COUNT = re.compile(r"^\s*(\d+)/(\d+) kB \((\d+)%\), (\d+)/(\d+) tablespaces?\b")
_START = re.compile(r"write-ahead log start point: ([0-9A-F]+/[0-9A-F]+) on timeline (\d+)")
_PHASES = (
    ("waiting for checkpoint to complete", CHECKPOINT),
    ("checkpoint completed", COPYING),
    ("waiting for background process to finish streaming", WAL),
    ("syncing data to disk", SYNCING),
)


@dataclass(frozen=True)
class Progress:
    """Times are seconds since the epoch, sizes bytes. `bytes_total` is the upstream's estimate, and grows."""

    phase: str = STARTING
    started: float = 0.0
    phase_started: float = 0.0
    updated: float = 0.0
    bytes_done: int = 0
    bytes_total: int | None = None
    tablespaces: int = 1
    start_lsn: str | None = None
    timeline: int | None = None

    @classmethod
    def beginning(cls, now: float) -> Progress:
        return cls(started=now, phase_started=now, updated=now)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Progress:
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def enter(self, phase: str, now: float) -> Progress:
        if phase == self.phase:
            return replace(self, updated=now)
        return replace(self, phase=phase, phase_started=now, updated=now)

    @property
    def percent(self) -> int | None:
        if not self.bytes_total:
            return None
        return min(100, self.bytes_done * 100 // self.bytes_total)

    @property
    def rate(self) -> float:
        """Bytes per second, averaged over the copy so far."""
        seconds = self.updated - self.phase_started
        return self.bytes_done / seconds if seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        if self.phase != COPYING or not self.bytes_total or not self.rate:
            return None
        return max(0.0, (self.bytes_total - self.bytes_done) / self.rate)


def advance(progress: Progress, line: str, now: float) -> Progress | None:
    """The progress after a line of pg_basebackup, or None if the line does not speak of it."""
    count = _COUNT.match(line)
    if count:
        done, total = int(count[1]) * KIB, int(count[2]) * KIB
        moved = progress.enter(COPYING, now) if progress.phase in {STARTING, CHECKPOINT} else progress
        return replace(moved, bytes_done=done, bytes_total=total, tablespaces=int(count[5]), updated=now)
    start = _START.search(line)
    if start:
        return replace(progress, start_lsn=start[1], timeline=int(start[2]), updated=now)
    for words, phase in _PHASES:
        if words in line:
            return progress.enter(phase, now)
    return None


def sentence(progress: Progress, now: float) -> str:
    """One line for people, such as `copying 1.2 of 4.0 GiB (30 %), 85 MiB/s, 34 s left`."""
    if progress.phase != COPYING or not progress.bytes_total:
        waited = now - progress.phase_started
        return f"{progress.phase}, for {duration(waited)}" if waited >= 1 else progress.phase
    words = f"copying {size(progress.bytes_done)} of {size(progress.bytes_total)} ({progress.percent} %)"
    if progress.rate:
        words += f", {size(progress.rate)}/s"
    if progress.seconds_left is not None:
        words += f", {duration(progress.seconds_left)} left"
    return words


def worth_saying(said: Progress | None, current: Progress, live: bool) -> bool:
    """Whether a line about `current` is due after the one about `said`.

    Somebody who watches a terminal (`live`) gets one every few seconds. A log gets one for each phase that
    lasts, and one for every 10 % that took 30 s or more.
    """
    if said is None or said.phase != current.phase:
        return True
    passed = current.updated - said.updated
    if live:
        return passed >= 3  # noqa: PLR2004
    return passed >= 30 and (current.percent or 0) >= (said.percent or 0) + 10  # noqa: PLR2004


def size(count: float) -> str:
    """Bytes in the unit in which they are read most easily."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < KIB:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"  # noqa: PLR2004
        value /= KIB
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
