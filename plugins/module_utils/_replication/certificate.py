# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server shows the certificate that its settings name.

A server that cannot load a new one goes on with the old one until that expires, and says so in its log alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import ssl
import struct

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import (
    QueryFailed,
    Server,
)

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""What a client says before TLS (PostgreSQL's manual, "Message Formats", SSLRequest)."""

_SETTINGS = """
SELECT current_setting('ssl') = 'on' AS encrypts, current_setting('listen_addresses') AS listens,
       current_setting('port')::int AS port, current_setting('data_directory') AS directory,
       current_setting('ssl_cert_file') AS file
"""
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def objection(server: Server) -> str | None:
    """A sentence if the server of this host shows another certificate than its file holds; None if that is hidden."""
    try:
        told = server.rows(_SETTINGS)[0]
    except QueryFailed:  # not everybody may know where the files are
        return None
    address = address_of(told["listens"])
    if not told["encrypts"] or address is None:
        return None
    file = os.path.join(told["directory"], told["file"])
    installed, shown = _installed(file), _shown(address, told["port"])
    if installed is None or shown is None or installed == shown:
        return None
    return (
        f"the server shows an older certificate (SHA-256 {shown[:16]}...) than {file} holds ({installed[:16]}...): "
        "reload it, and see in its log why it cannot load that file"
    )


def address_of(listen_addresses: str) -> str | None:
    """An address by which this host reaches its own server; None where it listens on sockets only."""
    first = listen_addresses.split(",", maxsplit=1)[0].strip()
    return {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(first, first) or None  # noqa: S104


def _installed(file: str) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        with open(file, encoding="utf-8", errors="replace") as opened:
            found = _CERTIFICATE.search(opened.read(1_000_000))
        if found:
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(found[0])).hexdigest()
    return None


def _shown(address: str, port: int) -> str | None:
    """The fingerprint of the certificate that a handshake brings, whoever has signed it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is only compared
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=2) as plain:
        plain.sendall(SSL_REQUEST)
        if plain.recv(1) == b"S":
            with context.wrap_socket(plain) as encrypted:
                return hashlib.sha256(encrypted.getpeercert(binary_form=True) or b"").hexdigest()
    return None
