# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL positions, timelines and slot names: what PostgreSQL writes as text, and the rules about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")
_SLOT_NAME = re.compile(r"[a-z0-9_]{1,63}")
_HISTORY_LINE = re.compile(r"\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)")

SHORT_PAGE_HEADER = 24
"""Bytes at the start of a WAL page that belong to no record (`SizeOfXLogShortPHD`)."""

LONG_PAGE_HEADER = 40
"""The same for the first page of a segment (`SizeOfXLogLongPHD`)."""


@dataclass(frozen=True, order=True)
class Lsn:
    """A byte position in the write-ahead log; the difference of two is a number of bytes."""

    value: int

    @classmethod
    def parse(cls, text: str) -> Lsn:
        """From PostgreSQL's notation, such as `0/3000060`."""
        match = _LSN.fullmatch(text.strip())
        if match is None:
            raise WalstreamError(
                f"'{text}' is not a WAL position: PostgreSQL writes one as two hexadecimal numbers "
                "with a slash between them, such as 0/3000060"
            )
        return cls(int(match[1], 16) << 32 | int(match[2], 16))

    def __str__(self) -> str:
        return f"{self.value >> 32:X}/{self.value & 0xFFFFFFFF:X}"

    def __sub__(self, other: Lsn) -> int:
        return self.value - other.value

    def segment_start(self, segment_size: int) -> Lsn:
        """The start of the WAL segment around this position, which is where a standby asks to stream from."""
        return Lsn(self.value - self.value % segment_size)

    def record_end(self, block_size: int, segment_size: int) -> Lsn:
        """The end of the record before this position.

        `pg_current_wal_insert_lsn()` steps over the header of a page that has no record yet, so an
        idle primary can name a position that no standby ever reports as replayed.
        """
        if self.value % segment_size == LONG_PAGE_HEADER:
            return Lsn(self.value - LONG_PAGE_HEADER)
        if self.value % block_size == SHORT_PAGE_HEADER:
            return Lsn(self.value - SHORT_PAGE_HEADER)
        return self


@dataclass(frozen=True)
class TimelineHistory:
    """Where a server's timelines ended: pairs of a former timeline and the position at which it was left."""

    ends: tuple[tuple[int, Lsn], ...]

    @classmethod
    def parse(cls, text: str) -> TimelineHistory:
        """From the content of a `.history` file; lines that are none, such as comments, are skipped."""
        matches = (_HISTORY_LINE.match(line) for line in text.splitlines())
        return cls(tuple((int(found[1]), Lsn.parse(found[2])) for found in matches if found))

    def end_of(self, timeline: int) -> Lsn | None:
        """The position at which a timeline was left, or None where this server was never on it."""
        return dict(self.ends).get(timeline)

    def timeline_at(self, position: Lsn, newest: int) -> int:
        """The timeline of the WAL that ends at `position`, on a server whose newest timeline is `newest`."""
        return next((timeline for timeline, end in self.ends if position <= end), newest)


def timeline_of_wal_file(name: str) -> int:
    """The timeline that the first eight hexadecimal digits of a WAL file's name stand for."""
    return int(name[:8], 16)


def require_slot_name(name: str) -> None:
    """Raise unless PostgreSQL would accept the name for a replication slot (its manual, section 26.2.6)."""
    if not _SLOT_NAME.fullmatch(name):
        raise WalstreamError(
            f"'{name}' cannot be the name of a replication slot: only lower-case letters, digits and "
            f"underscores are allowed, at least one and at most 63 of them (this name has {len(name)})"
        )
