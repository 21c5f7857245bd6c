# SPDX-License-Identifier: GPL-3.0-or-later
"""The login options that every module that talks to a server has."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  login_db:
    description: Database to log in to.
    type: str
    default: postgres
    aliases: [db]
  login_host:
    description: Host name or address of the server. Empty means the Unix socket.
    type: str
    default: ''
    aliases: [host]
  login_port:
    description: Port of the server.
    type: int
    default: 5432
    aliases: [port]
  login_user:
    description:
      - Role to log in as.
      - Over a Unix socket a module that runs as root takes on the system account of this name, if there is one,
        as peer authentication expects. C(become_user) is not needed.
    type: str
    default: postgres
    aliases: [login]
  login_password:
    description: Password of the role. Not needed over a socket with peer authentication or with a password file.
    type: str
  login_unix_socket:
    description: Directory of the server's Unix socket where it is not the default one.
    type: str
    default: ''
    aliases: [unix_socket]
  ssl_mode:
    description: The C(sslmode) of libpq.
    type: str
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
    default: prefer
  ca_cert:
    description: File with the certificates of the authorities to trust (C(sslrootcert)).
    type: str
    aliases: [ssl_rootcert]
  ssl_cert:
    description: File with the client's certificate.
    type: path
  ssl_key:
    description: File with the client's private key.
    type: path
  connect_params:
    description: Further keywords of libpq's connection string. They win over the options above.
    type: dict
    default: {}
requirements:
  - psycopg2 on the host that runs the module
"""
