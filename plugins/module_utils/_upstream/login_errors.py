# SPDX-License-Identifier: GPL-3.0-or-later
"""What libpq and a server answer to a login that should replicate, and the cure for it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class UpstreamNames:
    """Whom a standby was told to follow; the names that a sentence needs."""

    host: str
    port: str
    user: str
    passfile: str
    slot: str | None

    @classmethod
    def of(cls, conninfo: Mapping[str, Any], slot: str | None, account: str, home: str) -> UpstreamNames:
        return cls(
            host=str(conninfo.get("host") or conninfo.get("hostaddr") or "the local socket"),
            port=str(conninfo.get("port") or 5432),
            user=str(conninfo.get("user") or account),
            passfile=str(conninfo.get("passfile") or f"{home}/.pgpass"),
            slot=slot or None,
        )


@dataclass(frozen=True)
class Rule:
    """An answer of libpq or of a server, known by a code that means nothing else or by its words."""

    pattern: str
    sentence: str
    sqlstate: str | None = None

    def explains(self, sqlstate: str | None, message: str) -> bool:
        return (sqlstate is not None and sqlstate == self.sqlstate) or bool(re.search(self.pattern, message))


# First match wins. libpq hands on no code for a refused login, only words; a server may have translated them,
# and then they are shown as they are.
RULES = (
    Rule(
        r"could not translate host name|Name or service not known|Temporary failure in name resolution",
        "the host name '{host}' of the upstream cannot be resolved here: correct the name, or make it known to "
        "DNS or /etc/hosts",
    ),
    Rule(
        r"Connection refused",
        "nobody listens at {host}, port {port}: start the upstream, or correct its listen_addresses or the port",
    ),
    Rule(
        r"timeout expired|timed out|No route to host|Network is unreachable|Host is down",
        "{host}, port {port} does not answer: look for a firewall in between, a wrong address or a host that is down",
    ),
    Rule(
        r"No such file or directory.*\n?.*socket|socket.*No such file or directory",
        "no server listens on the socket at {host}, port {port}: start the upstream, or correct the host",
    ),
    Rule(
        r"password authentication failed",
        "the upstream refuses the password of '{user}': make the role's password on the primary and the one in "
        "{passfile} the same, and see that its VALID UNTIL has not passed",
        sqlstate="28P01",
    ),
    Rule(
        r"no password supplied",
        "there is no password for '{user}' at {host}, port {port}: {passfile} has no line for it, or is readable by "
        "others and therefore ignored",
    ),
    Rule(
        r"no pg_hba\.conf entry",
        "the upstream's pg_hba.conf has no line that lets '{user}' replicate from this host's address: add one "
        "(database 'all' does not match replication) and reload ({message})",
    ),
    Rule(
        r"pg_hba\.conf rejects",
        "a line of the upstream's pg_hba.conf rejects '{user}' from this host's address ({message})",
    ),
    Rule(
        r"role .* does not exist",
        "the role '{user}' does not exist on the upstream: create it on the primary with LOGIN and REPLICATION",
    ),
    Rule(r"not permitted to log in", "the role '{user}' may not log in: give it LOGIN on the primary"),
    Rule(
        r"must be superuser or replication role|permission denied to start WAL sender",
        "the role '{user}' may not replicate: give it REPLICATION on the primary",
        sqlstate="42501",
    ),
    Rule(
        r"max_wal_senders",
        "all walsenders of the upstream are taken: raise max_wal_senders there (on its standbys first), or end one",
    ),
    Rule(
        r"too many (clients|connections)|remaining connection slots",
        "the upstream has no free connection: raise max_connections there (on its standbys first), or end some",
    ),
    Rule(
        r"the database system is",
        "the upstream at {host}, port {port} does not accept logins now ({message}): wait for it, or look into its log",
    ),
    Rule(r"does not support SSL", "the upstream has no TLS, which sslmode asks for: set ssl = on there"),
    Rule(
        r"root certificate file .* does not exist",
        "there is no certificate of an authority here by which the upstream could be known ({message}): run the role "
        "again, or correct sslrootcert",
    ),
    Rule(
        r"alert unknown ca|alert bad certificate|certificate authentication failed|valid client certificate",
        "the upstream does not accept the client certificate of this host for '{user}' ({message}): its authority and "
        "its common name must be those that the upstream knows",
    ),
    Rule(
        r"certificate verify failed",
        "the server at {host}, port {port} shows a certificate that no authority of ours has signed ({message}): it is "
        "not the upstream that is meant, or somebody stands in between, or its certificate comes from elsewhere",
    ),
    Rule(
        r"server certificate for .* does not match host name",
        "the certificate of the server at {host}, port {port} is for another name ({message}): it is not the upstream "
        "that is meant, or its certificate lacks this name",
    ),
    Rule(
        r"certificate|SSL",
        "TLS with the upstream fails ({message}): check the certificates and sslmode of both ends",
    ),
    Rule(
        r"replication slot .* does not exist",
        "the slot '{slot}' does not exist on the upstream: create it (this replica may need a new base backup if "
        "WAL is missing by then)",
        sqlstate="42704",
    ),
    Rule(
        r"replication slot .* is active for PID",
        "the slot '{slot}' is in use by another consumer ({message}): give each replica a slot of its own, or end "
        "the other one",
        sqlstate="55006",
    ),
    Rule(
        r"requested WAL segment",
        "the upstream no longer has the WAL that this replica needs ({message}): unless an archive has it, the "
        "replica needs a new base backup, so stop it and consent to its replacement with replication_replace",
        sqlstate="58P01",
    ),
    Rule(
        r"is ahead of the WAL flush position",
        "this replica has WAL that its upstream does not have ({message}): it diverged, and must be rewound, or moved "
        "aside and cloned again",
    ),
    Rule(
        r"not in this server's history",
        "the timelines of this replica and its upstream diverged ({message}): it must be rewound, or moved aside and "
        "cloned again",
    ),
    Rule(
        r"logical replication slot",
        "'{slot}' is a logical slot on the upstream: choose another name for this replica's slot",
    ),
    Rule(
        r"replication slot",
        "the slot '{slot}' is lost or invalidated on the upstream ({message}): make it anew; this replica may need "
        "a new base backup",
        sqlstate="55000",
    ),
)


def explain(sqlstate: str | None, message: str, upstream: UpstreamNames) -> str:
    """Cause and cure, as one sentence, for what a login or a replication command was answered."""
    words = " ".join(message.split())
    rule = next((rule for rule in RULES if rule.explains(sqlstate, words)), None)
    if rule is None:
        return f"the upstream at {upstream.host}, port {upstream.port} answers: {words}"
    return rule.sentence.format(
        host=upstream.host,
        port=upstream.port,
        user=upstream.user,
        passfile=upstream.passfile,
        slot=upstream.slot,
        message=_server_words(words),
    )


def _server_words(message: str) -> str:
    """The server's part of a message: libpq puts `connection to server at … failed: FATAL:  ` before it."""
    return re.split(r"(?:FATAL|ERROR):\s+", message)[-1].strip()
