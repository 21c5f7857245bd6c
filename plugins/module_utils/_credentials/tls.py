# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates and keys on a node: rehearsed before they are installed, and installed so that none can be misread.

A certificate and its key share one file. Server and libpq both take the same file for both, and so a run that is
killed between two files, or a server that reads between two writes, never sees a pair that does not fit.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal, WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system import secret_file
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User, current_user
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import (
    OWNER_ONLY,
    read_file,
    take_directory,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.folders import entered

AUTHORITY, SERVER, CLIENT = "ca.pem", "server.pem", "client.pem"
MODE = 0o600
"""The server and libpq refuse a key that others may read."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----.*?-----END (?:[A-Z]+ )?PRIVATE KEY-----", re.DOTALL
)


@dataclass(frozen=True)
class Material:
    """PEM texts: whom to trust, and who we are as a server and as a client. `repr` shows no key."""

    authority: str
    server: str
    client: str | None = None

    def __repr__(self) -> str:
        return f"Material({', '.join(f'{name} {fingerprint(text)}' for name, text in self.files().items())})"

    def files(self) -> dict[str, str]:
        wanted = {AUTHORITY: self.authority, SERVER: self.server, CLIENT: self.client}
        return {name: text for name, text in wanted.items() if text is not None}


def authority(text: str) -> str:
    """The certificates of an authority and nothing else: its key, pasted in by mistake, must not travel."""
    found = _CERTIFICATE.findall(text)
    if not found:
        raise WalstreamError("the certificate of the authority holds no certificate in PEM form")
    return "".join(f"{one}\n" for one in found)


def identity(whose: str, certificate: str, private_key: str) -> str:
    """A certificate, the ones between it and its authority, and its key, as one file."""
    certificates, keys = _CERTIFICATE.findall(certificate), _PRIVATE_KEY.findall(private_key)
    if not certificates:
        raise WalstreamError(f"the certificate of the {whose} holds no certificate in PEM form")
    if len(keys) != 1:
        raise WalstreamError(f"the key of the {whose} holds {len(keys)} private keys in PEM form: give one")
    return "".join(f"{one}\n" for one in [*certificates, *keys])


def fingerprint(text: str) -> str:
    """SHA-256 of the first certificate, as openssl shows it but without colons; a key is not part of it."""
    found = _CERTIFICATE.search(text)
    if not found:
        return "(no certificate)"
    with contextlib.suppress(ValueError):
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(found[0])).hexdigest()
    return "(not readable)"


def rehearse(material: Material, host: str | None) -> float:
    """Shake hands with ourselves as the other nodes will, and return when the server's certificate expires.

    `host` is the name under which they connect, or None where they do not compare it. Seconds since the epoch.
    """
    accepting, connecting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    connecting.check_hostname = host is not None
    _trust(connecting, material.authority)
    _present(accepting, "server", material.server)
    if material.client is not None:
        accepting.verify_mode = ssl.CERT_REQUIRED
        _trust(accepting, material.authority)
        _present(connecting, "client", material.client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = connecting.wrap_bio(to_client, to_server, server_hostname=host)
    server = accepting.wrap_bio(to_server, to_client, server_side=True)
    for _flight in range(4):  # three carry a whole handshake
        _go_on(client, "server", host)
        _go_on(server, "client", None)
    # A verified certificate always says until when it holds.
    return float(ssl.cert_time_to_seconds(str((client.getpeercert() or {})["notAfter"])))


def _go_on(side: ssl.SSLObject, about: str, host: str | None) -> None:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or str(error)
        towards = f" for connections to {host}" if host else ""
        raise Refusal(
            f"the other nodes would not accept the certificate of the {about}{towards} ({reason.rstrip('.')}): "
            "give one that the authority has signed, for this name and for now; nothing was changed"
        ) from None


def _trust(context: ssl.SSLContext, text: str) -> None:
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise WalstreamError("the certificate of the authority cannot be read: give it in PEM form") from None


def _present(context: ssl.SSLContext, whose: str, text: str) -> None:
    """OpenSSL wants a path. This one leads to memory: a key that is only tried must not touch a disk."""
    with secret_file.in_memory(text, current_user()) as descriptor:
        if descriptor is None:
            raise WalstreamError(
                f"certificate and key of the {whose} cannot be tried: this host has no files in memory (memfd_create), "
                "which its kernel may forbid by vm.memfd_noexec"
            )
        try:
            context.load_cert_chain(secret_file.path_of(descriptor), password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "not readable"
            raise WalstreamError(
                f"certificate and key of the {whose} cannot be used together "
                f"({str(reason).lower().replace('_', ' ')}): they must belong together, and the key must need no "
                "passphrase"
            ) from None


@dataclass(frozen=True)
class Folder:
    """The directory of a node's certificates and keys, which nobody but the server's user can enter."""

    path: str
    owner: User

    def pending(self, wanted: Mapping[str, str]) -> list[str]:
        """What has to change, in words that hold no secret; `wanted` are the texts by file name."""
        self._refuse_strange()
        if not os.path.lexists(self.path):
            return [f"make {self.path}", *(f"write {name}, {fingerprint(wanted[name])}" for name in wanted)]
        found = [f"set the mode of {self.path} to 0700"] if self._is_open else []
        with self.owner.effective():
            for name, text in wanted.items():
                if not self._holds(name, text):
                    found.append(f"write {name}, {fingerprint(text)}")
            found.extend(f"remove {name}" for name in self._unwanted(wanted))
        return found

    def apply(self, wanted: Mapping[str, str]) -> None:
        files.make_directories(os.path.dirname(self.path), self.owner, 0o755)
        files.make_directory(self.path, self.owner, OWNER_ONLY)
        self._refuse_strange()
        if self._is_open:
            take_directory(self.path, self.owner, OWNER_ONLY, self.owner.uid)
        with self.owner.effective():
            unwanted = self._unwanted(wanted)
            pending = {name: text for name, text in wanted.items() if not self._holds(name, text)}
        for name, text in pending.items():
            files.write(os.path.join(self.path, name), text, self.owner, MODE)
        for name in unwanted:
            files.remove(os.path.join(self.path, name), self.owner)

    def leftovers(self) -> list[str]:
        """Our files that are there, and the directory itself."""
        self._refuse_strange()
        if not os.path.lexists(self.path):
            return []
        with self.owner.effective():
            return [*self._unwanted({}), self.path]

    def remove(self) -> None:
        """Remove our files, and the directory unless somebody else keeps something there."""
        for name in self.leftovers()[:-1]:
            files.remove(os.path.join(self.path, name), self.owner)
        above, name = os.path.split(self.path)
        with contextlib.suppress(OSError), entered(above, self.owner) as folder:
            os.rmdir(name, dir_fd=folder)

    @property
    def _is_open(self) -> bool:
        return bool(stat.S_IMODE(os.lstat(self.path).st_mode) & 0o077)

    def _refuse_strange(self) -> None:
        """A link, or a directory of somebody else, was not made by us: keys are not written there."""
        try:
            entry = os.lstat(self.path)
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(entry.st_mode) or entry.st_uid != self.owner.uid:
            raise Refusal(
                f"'{self.path}', where keys are kept, is not a directory of '{self.owner.name}': "
                "look who made it, and remove it; nothing was changed"
            )

    def _holds(self, name: str, text: str) -> bool:
        path = os.path.join(self.path, name)
        if read_file(path) != text:
            return False
        entry = os.lstat(path)
        return stat.S_IMODE(entry.st_mode) == MODE and entry.st_uid == self.owner.uid

    def _unwanted(self, wanted: Mapping[str, str]) -> list[str]:
        ours = (AUTHORITY, SERVER, CLIENT)
        return [
            name for name in ours if name not in wanted and os.path.lexists(os.path.join(self.path, name))
        ]
