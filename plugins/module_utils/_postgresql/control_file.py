# SPDX-License-Identifier: GPL-3.0-or-later
"""What `pg_controldata` says about a cluster's control file. Pure; the program must run in the C locale.

The control file is the one file that PostgreSQL itself trusts: it names the cluster (the system
identifier), where its history forks (the timeline) and how its server ended.
"""

from __future__ import annotations

from dataclasses import dataclass

ZERO_LSN = "0/0"


class Damaged(Exception):
    """The control file cannot be trusted; the message says why, in a few words."""


@dataclass(frozen=True)
class ControlData:
    """The part of a control file that decisions are made on."""

    system_identifier: str
    state: str
    timeline: int
    control_version: int
    catalog_version: int
    checkpoint_lsn: str
    redo_lsn: str
    minimum_recovery_lsn: str | None
    minimum_recovery_timeline: int | None
    data_checksums: bool
    wal_segment_bytes: int

    @property
    def newest_timeline(self) -> int:
        """The newest timeline that this cluster is known to have reached.

        A standby that crosses to a new timeline shows that first in its minimum recovery location: its
        checkpoint stays on the old timeline until the next restart point.
        """
        return max(self.timeline, self.minimum_recovery_timeline or 0)


def parse(rc: int, stdout: str, stderr: str) -> ControlData:
    """Read the output of `pg_controldata`; raise `Damaged` unless everything in it can be trusted.

    A failed checksum is only a warning for the program, which then prints garbage and exits with 0.
    Up to 16 the warning is on standard output, from 17 on it is on standard error.
    """
    said = f"{stdout}\n{stderr}".lower()
    if "crc checksum does not match" in said:
        raise Damaged("its checksum does not match its contents")
    if rc != 0:
        raise Damaged(_reason(stderr or stdout))
    if "warning" in stderr.lower() or stdout.startswith("WARNING"):
        raise Damaged(_reason(stderr or stdout))
    fields = _fields(stdout)
    try:
        minimum = fields["Minimum recovery ending location"]
        return ControlData(
            system_identifier=str(int(fields["Database system identifier"])),
            state=fields["Database cluster state"],
            timeline=int(fields["Latest checkpoint's TimeLineID"]),
            control_version=int(fields["pg_control version number"]),
            catalog_version=int(fields["Catalog version number"]),
            checkpoint_lsn=fields["Latest checkpoint location"],
            redo_lsn=fields["Latest checkpoint's REDO location"],
            minimum_recovery_lsn=None if minimum == ZERO_LSN else minimum,
            minimum_recovery_timeline=int(fields["Min recovery ending loc's timeline"]) or None,
            data_checksums=int(fields["Data page checksum version"]) > 0,
            wal_segment_bytes=int(fields["Bytes per WAL segment"]),
        )
    except KeyError as missing:
        raise Damaged(f"pg_controldata does not print {missing}") from None
    except ValueError:
        raise Damaged("pg_controldata prints a word where a number belongs") from None


def _fields(stdout: str) -> dict[str, str]:
    """Labels and values; some labels leave no space before their value."""
    pairs = (line.partition(":") for line in stdout.splitlines())
    return {label.strip(): value.strip() for label, colon, value in pairs if colon}


def _reason(text: str) -> str:
    lines = text.strip().splitlines()
    if not lines:
        return "pg_controldata fails without a word"
    return lines[0].split(": ", 2)[-1].strip()
