# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host brings along: its distribution, systemd, installed PostgreSQL versions, missing packages."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shlex
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Callable

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.driver import psycopg2
from ansible_collections.walstream.postgresql.plugins.module_utils._system import (
    configuration_files as files,
)

_BIN_DIRECTORIES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
_PLAIN_BIN_DIRECTORIES = ("/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin")
_VERSION_IN_PATH = re.compile(r"(?:postgresql/|pgsql-)(\d+)/bin$")
DOCUMENTATION_ADDRESSES = ("192.0.2.1", "2001:db8::1")
"""Somewhere else (RFC 5737 and RFC 3849), for asking which route leads out."""

_CANDIDATE = re.compile(r"^\s*Candidate: (\d+)", re.MULTILINE)
_VERSION_IN_WORDS = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True)
class Host:
    """Facts about a host, read once."""

    distribution: str = ""
    codename: str = ""
    families: frozenset[str] = frozenset()
    systemd: bool = False
    has_createcluster: bool = False
    has_psycopg2: bool = False
    installed: Mapping[int, str] = field(default_factory=dict)
    """Folder with the server's programs, by major version."""
    offered: int | None = None
    """The major version that the distribution would install, asked only where none is installed."""

    @property
    def usual_version(self) -> int | None:
        """The newest that is installed, or that would be."""
        return max(self.installed, default=self.offered)

    @property
    def default_layout(self) -> str:
        """Debian's layout where its tools are, or will be once its packages are installed."""
        return "debian" if self.has_createcluster or (self.is_debian and not self.installed) else "plain"

    @property
    def is_debian(self) -> bool:
        return "debian" in self.families

    @property
    def is_redhat(self) -> bool:
        return bool(self.families & {"rhel", "fedora"})

    def missing_packages(self, version: int | None, bin_directory: str = "") -> list[str]:
        """The distribution's packages that a server of this version (None: any) and our modules still need."""
        missing = []
        if not bin_directory and (version not in self.installed if version else not self.installed):
            missing.append(self._server_package(version))
        if not self.has_psycopg2:
            missing.append("python3-psycopg2")
        return missing

    def _server_package(self, version: int | None) -> str:
        if self.is_redhat:
            return f"postgresql{version}-server" if version else "postgresql-server"
        return f"postgresql-{version}" if version else "postgresql"


def discover(version_of: Callable[[str], int | None], apt_policy: Callable[[], str]) -> Host:
    """Look around.

    `version_of` tells the major version of the `postgres` program in a folder, `apt_policy` what apt says
    about Debian's package `postgresql`.
    """
    release = parse_os_release(files.read("/etc/os-release") or "")
    identifiers = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    installed = find_versions(_server_folders(), version_of)
    return Host(
        distribution=identifiers[0],
        codename=release.get("VERSION_CODENAME", ""),
        families=frozenset(filter(None, identifiers)),
        systemd=os.path.isdir("/run/systemd/system"),
        has_createcluster=os.access("/usr/bin/pg_createcluster", os.X_OK),
        has_psycopg2=psycopg2 is not None,
        installed=installed,
        offered=parse_candidate(apt_policy()) if "debian" in identifiers and not installed else None,
    )


def _server_folders() -> list[str]:
    versioned = [folder for pattern in _BIN_DIRECTORIES for folder in glob.glob(pattern)]
    candidates = [*versioned, *_PLAIN_BIN_DIRECTORIES, *os.environ.get("PATH", "").split(os.pathsep)]
    return [folder for folder in dict.fromkeys(candidates) if os.access(f"{folder}/postgres", os.X_OK)]


def find_versions(folders: Sequence[str], version_of: Callable[[str], int | None]) -> dict[int, str]:
    """Major version → folder. A program is asked for its version only where the folder's name does not tell."""
    installed: dict[int, str] = {}
    for folder in folders:
        named = _VERSION_IN_PATH.search(folder)
        version = int(named[1]) if named else version_of(folder)
        if version:
            installed.setdefault(version, folder)
    return dict(sorted(installed.items()))


def parse_version(words: str) -> int | None:
    """The major version in what `postgres --version` prints."""
    found = _VERSION_IN_WORDS.search(words)
    return int(found[1]) if found else None


def parse_candidate(policy: str) -> int | None:
    """The major version in what `apt-cache policy postgresql` prints: the package's version begins with it."""
    found = _CANDIDATE.search(policy)
    return int(found[1]) if found else None


def parse_os_release(text: str) -> dict[str, str]:
    """The variables of os-release(5)."""
    variables = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            try:
                variables[name.strip()] = " ".join(shlex.split(value))
            except ValueError:
                continue
    return variables


def source_address(towards: str | None) -> str | None:
    """The address of this host that `towards` sees, or the outside world without it.

    It is the kernel's choice of route; no packet is sent to find out.
    """
    for elsewhere in [towards] if towards else DOCUMENTATION_ADDRESSES:
        with contextlib.suppress(OSError):
            family, kind, protocol, _name, place = socket.getaddrinfo(elsewhere, 9, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind, protocol) as unsent:
                unsent.connect(place)
                return str(unsent.getsockname()[0])
    return None
