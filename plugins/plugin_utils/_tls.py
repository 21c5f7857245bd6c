# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory declares about TLS between the nodes. Pure.

Managed means: we install certificates and keys on the nodes, the user's own or those of an authority that we keep on
the controller. Encryption alone (`require`) may also rest on a certificate that the server has already.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
ENCRYPTED = ("require", "verify-ca", "verify-full")
VERIFIED = ("verify-ca", "verify-full")

DEFAULTS: Mapping[str, Any] = {
    "ca_file": None,
    "certificate_file": None,
    "key_file": None,
    "client_certificates": False,
    "client_certificate_file": None,
    "client_key_file": None,
    "client_map": None,
    "directory": None,
    "valid_days": 365,
    "renew_days": 30,
}
"""The keys of `replication_tls`."""

_SERVERS_OWN = ("ssl", "ssl_cert_file", "ssl_key_file", "ssl_ca_file")
_OWN_FILES = ("ca_file", "certificate_file", "key_file")
_CLIENT_FILES = ("client_certificate_file", "client_key_file")
_MOST_DAYS = 1825  # half of what our authority lives, which is renewed before a certificate could outlive it
_DNS_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")


def settled(given: Any) -> dict[str, Any]:
    """`replication_tls` with its defaults."""
    if not isinstance(given, Mapping):
        raise WalstreamError(f"it is {given!r}: it must be a dictionary")
    unknown = sorted(set(map(str, given)) - set(DEFAULTS))
    if unknown:
        raise WalstreamError(f"it has no key '{unknown[0]}': its keys are {', '.join(DEFAULTS)}")
    return {**DEFAULTS, **{key: value for key, value in given.items() if value is not None}}


def is_managed(sslmode: str, settings: Mapping[str, Any]) -> bool:
    """Whether certificates are our business. With `require` a server may keep what it has."""
    own = {str(name).lower() for name in settings} & set(_SERVERS_OWN)
    return sslmode in VERIFIED or (sslmode in ENCRYPTED and not own)


def objections(sslmode: str, tls: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    """Why one node's variables cannot be meant so."""
    files = [key for key in _OWN_FILES if tls[key]]
    client_files = [key for key in _CLIENT_FILES if tls[key]]
    if sslmode not in ENCRYPTED and (files or tls["client_certificates"]):
        yield f"it means nothing with replication_sslmode '{sslmode}': set that to verify-full"
    if tls["client_certificates"] and sslmode in ENCRYPTED and not is_managed(sslmode, settings):
        yield "it has client_certificates, but postgresql_settings sets ssl parameters: leave them to replication_tls"
    if files and len(files) < len(_OWN_FILES):
        missing = [key for key in _OWN_FILES if not tls[key]]
        yield f"it lacks {missing[0]}: ca_file, certificate_file and key_file go together"
    if client_files and not tls["client_certificates"]:
        yield f"it has {client_files[0]} but not client_certificates: true"
    if files and tls["client_certificates"] and len(client_files) < len(_CLIENT_FILES):
        yield "with client_certificates it needs client_certificate_file and client_key_file beside ca_file"
    if client_files and not files:
        yield f"it has {client_files[0]}, but no ca_file: then the certificates are ours to make"
    if tls["client_map"] and not tls["client_certificates"]:
        yield "it has client_map but not client_certificates: true"
    yield from _wrong_days(tls)
    if not re.fullmatch(r"[A-Za-z0-9_.-]*", str(tls["client_map"] or "")):
        yield f"client_map is {tls['client_map']!r}: it must be the name of a map in pg_ident.conf"
    if is_managed(sslmode, settings):
        for name in settings:
            if str(name).lower() in _SERVERS_OWN:
                yield f"postgresql_settings sets {name} too: leave it to replication_tls"


def _wrong_days(tls: Mapping[str, Any]) -> Iterator[str]:
    for key in ("valid_days", "renew_days"):
        if not str(tls[key]).isdigit() or not 1 <= int(tls[key]) <= _MOST_DAYS:
            yield f"{key} is {tls[key]!r}: it must be a number of days from 1 to {_MOST_DAYS}"
            return
    if int(tls["renew_days"]) >= int(tls["valid_days"]):
        yield "renew_days must be less than valid_days, or every run would renew"


def names(host: str, inventory_name: str) -> list[str]:
    """Subject alternative names of a server, as community.crypto writes them.

    libpq before 15 looks for an address among the names, so it stands there as both.
    """
    wanted = []
    for name in dict.fromkeys((host, inventory_name)):
        try:
            wanted += [f"IP:{ipaddress.ip_address(name)}", f"DNS:{name}"]
        except ValueError:
            if _DNS_NAME.fullmatch(name):
                wanted.append(f"DNS:{name}")
    # A certificate of a version 6 address can hold no name that looks like it.
    return [name for name in wanted if not (name.startswith("DNS:") and name.count(":") > 1)]


def files(directory: str) -> dict[str, str]:
    """Where the material of a node lies on it."""
    return {kind: f"{directory}/{kind}.pem" for kind in ("ca", "server", "client")}


def stem(inventory_name: str) -> str:
    """An inventory name as part of a file's name."""
    return quote(inventory_name, safe="")
