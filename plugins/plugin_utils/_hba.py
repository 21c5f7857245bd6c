# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of pg_hba.conf, from rules as community.postgresql's `postgresql_pg_hba` takes them.

Pure. Source of the syntax: PostgreSQL's manual, "The pg_hba.conf File".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError

CONNECTION_TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
METHODS = (
    *("cert", "gss", "ident", "ldap", "md5", "oauth", "pam", "password", "peer", "radius"),
    *("reject", "scram-sha-256", "sspi", "trust"),
)
KEYS = ("contype", "databases", "users", "address", "netmask", "method", "options", "comment")
ADDRESS_KEYWORDS = ("all", "samehost", "samenet")

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.$/+-]+")
_HOST_NAME = re.compile(r"\.?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")


def network(address: str) -> str:
    """An address as pg_hba.conf wants it: a lone IP address gets its full prefix; names and keywords stay."""
    try:
        return str(ipaddress.ip_network(address, strict=False))
    except ValueError:
        return address


def may_cover(networks: Iterable[str], address: str) -> bool:
    """Whether one of these fields lets `address` in, as far as can be known here: keywords and names might."""
    for network_or_name in networks:
        try:
            if ipaddress.ip_address(address) in ipaddress.ip_network(network_or_name, strict=False):
                return True
        except ValueError:
            return True
    return False


def quoted(name: str) -> str:
    """One name as a literal: keywords such as `all` or `replication` lose their meaning inside quotes.

    A slash at the beginning does not: since version 16 it makes a regular expression of the name.
    """
    if re.search(r"[\r\n\0]", name) or name.startswith("/"):
        raise WalstreamError(
            f"the name {name!r} cannot be written into pg_hba.conf: leave out line breaks, and a slash at its beginning"
        )
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def line(rule: Mapping[str, Any]) -> str:
    """One line of pg_hba.conf for `rule`, or `WalstreamError` for one that the server would not read."""
    unknown = sorted(set(rule) - set(KEYS))
    if unknown:
        raise _wrong(rule, f"'{unknown[0]}' is not one of {', '.join(KEYS)}")
    contype = str(rule.get("contype", ""))
    method = str(rule.get("method", ""))
    if contype not in CONNECTION_TYPES:
        raise _wrong(rule, f"'contype' must be one of {', '.join(CONNECTION_TYPES)}")
    if method not in METHODS:
        raise _wrong(rule, f"'method' must be one of {', '.join(METHODS)}")
    fields = [contype, _names(rule, "databases"), _names(rule, "users")]
    if contype != "local":
        fields.append(_address(rule))
    fields.append(method)
    if rule.get("options"):
        fields.append(_single_line(rule, "options"))
    if rule.get("comment"):
        fields.append("# " + _single_line(rule, "comment").lstrip("# "))
    return "  ".join(fields)


def _names(rule: Mapping[str, Any], key: str) -> str:
    """A comma-separated list; what is not plainly spelt must come quoted by the user already."""
    value = str(rule.get(key, "all"))
    items = re.findall(r'"(?:[^"\r\n]|"")*"|[^,"]+', value)
    if not items or ",".join(items) != value:
        raise _wrong(rule, f"'{key}' must be a comma-separated list of names")
    for item in items:
        if not item.startswith('"') and not _PLAIN_NAME.fullmatch(item):
            raise _wrong(rule, f"{item!r} in '{key}' needs double quotes around it")
    return value


def _address(rule: Mapping[str, Any]) -> str:
    address = str(rule.get("address", "samehost"))
    if rule.get("netmask"):
        address = f"{address}/{rule['netmask']}"
    if _is_network(address):
        return network(address)
    if address in ADDRESS_KEYWORDS or _HOST_NAME.fullmatch(address):
        return address
    raise _wrong(
        rule,
        f"{address!r} is no IP address, network or host name, nor one of {', '.join(ADDRESS_KEYWORDS)}",
    )


def _is_network(address: str) -> bool:
    try:
        ipaddress.ip_network(address, strict=False)
    except ValueError:
        return False
    return True


def _single_line(rule: Mapping[str, Any], key: str) -> str:
    value = str(rule[key])
    if re.search(r"[\r\n\0]", value) or value.endswith("\\"):
        raise _wrong(
            rule, f"'{key}' must not contain a line break, nor end with the backslash that joins lines"
        )
    return value


def _wrong(rule: Mapping[str, Any], reason: str) -> WalstreamError:
    return WalstreamError(f"the pg_hba rule {dict(rule)} cannot be used: {reason}")
