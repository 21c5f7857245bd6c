# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's programs: where they are, and the argument list of each that we call."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.control_file import (
    ControlData,
    Damaged,
    parse,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import Runner

_PLACES = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin", "/usr/lib64/pgsql/bin")
_VERSION = re.compile(r"\b(\d+)(?:\.\d+|devel|beta\d+|rc\d+)")


def find_bin_directory(configured: str | None, major: int | None, program: str) -> str | None:
    """The folder that holds `program` of version `major`: as configured, where packages put it, or on PATH."""
    if configured:
        return configured
    places = [place.format(major=major) for place in _PLACES] if major else []
    for place in places:
        if os.access(os.path.join(place, program), os.X_OK):
            return place
    found = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/local/pgsql/bin")
    return os.path.dirname(found) if found else None


@dataclass(frozen=True)
class Copy:
    """What pg_basebackup is asked for. `conninfo` holds no password."""

    conninfo: str
    target: str
    slot: str | None = None
    wal_directory: str | None = None
    tablespace_mapping: Mapping[str, str] = field(default_factory=dict)
    max_rate: str | None = None
    checkpoint: str = "fast"
    compression: str | None = None
    sync: bool = True


class Programs:
    """The programs of one folder. Every method that runs one takes what it means and builds the argument list."""

    def __init__(self, directory: str, run: Runner) -> None:
        self.directory = directory
        self._run = run
        self._majors: dict[str, int] = {}

    def path(self, program: str) -> str:
        return os.path.join(self.directory, program)

    def require(self, program: str) -> None:
        """Raise the sentence that says which package brings a program that is missing."""
        if not os.access(self.path(program), os.X_OK):
            raise WalstreamError(
                f"the program '{program}' is not in '{self.directory}': install PostgreSQL's packages of this "
                "version (server and client) or point 'bin_directory' at the folder that holds its programs"
            )

    def major(self, program: str) -> int:
        """The major version of a program."""
        if program not in self._majors:
            printed = self._run([self.path(program), "--version"]).stdout
            found = _VERSION.search(printed)
            if not found:
                raise WalstreamError(
                    f"'{self.path(program)} --version' prints no version: '{printed.strip()}'"
                )
            self._majors[program] = int(found.group(1))
        return self._majors[program]

    def control_data(self, data_directory: str) -> ControlData:
        """Read a control file, or raise `Damaged`."""
        result = self._run([self.path("pg_controldata"), "-D", data_directory])
        control = parse(result.rc, result.stdout, result.stderr)
        if control.wal_segment_bytes <= 0:
            raise Damaged("its WAL segment size is impossible")
        return control

    def basebackup(self, copy: Copy) -> list[str]:
        """The argument list of pg_basebackup.

        Verbose, because that is how it tells its phases. Without `-R`: it would write the connection into
        postgresql.auto.conf, which beats every other settings file and cannot be verified any more.
        """
        argv = [self.path("pg_basebackup"), f"--dbname={copy.conninfo}", f"--pgdata={copy.target}"]
        argv += ["--format=plain", "--wal-method=stream", f"--checkpoint={copy.checkpoint}"]
        argv += ["--no-password", "--progress", "--verbose", "--label=walstream base backup"]
        if copy.slot:
            argv.append(f"--slot={copy.slot}")
        if copy.wal_directory:
            argv.append(f"--waldir={copy.wal_directory}")
        if copy.max_rate:
            argv.append(f"--max-rate={copy.max_rate}")
        if copy.compression:
            argv.append(f"--compress=server-{copy.compression}")
        if not copy.sync:
            argv.append("--no-sync")
        for old, new in sorted(copy.tablespace_mapping.items()):
            argv.append(f"--tablespace-mapping={_escape(old)}={_escape(new)}")
        return argv

    def verifybackup(self, directory: str) -> list[str]:
        """The argument list of pg_verifybackup, which reads every file and parses the WAL that the copy needs."""
        return [self.path("pg_verifybackup"), "--quiet", directory]


def _escape(path: str) -> str:
    """pg_basebackup splits the mapping at '=' and takes '\\=' for the character itself."""
    return path.replace("=", "\\=")
