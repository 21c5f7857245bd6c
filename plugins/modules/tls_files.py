#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: the certificates and keys with which a node proves who it is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_files
short_description: Certificates and keys of a PostgreSQL server and of its replication
description:
  - Installs C(ca.pem), C(server.pem) and, where wanted, C(client.pem) in a directory that only the server's user can
    enter.
  - C(server.pem) holds a certificate and its key. It is named by both C(ssl_cert_file) and C(ssl_key_file), and
    C(client.pem) by C(sslcert) and C(sslkey), so that a certificate and a key that do not fit can never be read.
  - Before anything is written, the node shakes hands with itself as the other nodes will. What they would not accept is
    refused.
  - A running server reads C(server.pem) and C(ca.pem) when it is reloaded, libpq reads its files with each new
    connection. M(walstream.postgresql.cluster) reloads the server where the files are newer.
version_added: 0.1.0
options:
  directory:
    description: The directory. It is made if it is missing, with folders above it.
    type: path
    required: true
  authority:
    description: Certificates of the authorities to trust, in PEM form. Required with O(state=present).
    type: str
  server:
    description: What the server proves itself with. Required with O(state=present).
    type: dict
    suboptions: &identity
      certificate:
        description: The certificate in PEM form, followed by those between it and its authority.
        type: str
        required: true
      private_key:
        description: Its key in PEM form, without a passphrase.
        type: str
        required: true
  client:
    description: What the node proves itself with to its upstream. Without it C(client.pem) is removed.
    type: dict
    suboptions: *identity
  host:
    description: Name or address under which others connect to the server. Unset means that they do not compare it.
    type: str
  owner:
    description: Account that runs the server.
    type: str
    default: postgres
  state:
    description: Whether the files are to exist.
    type: str
    choices: [absent, present]
    default: present
seealso:
  - module: walstream.postgresql.cluster
  - module: community.crypto.x509_certificate
author:
  - The walstream authors (@walstream)
extends_documentation_fragment:
  - walstream.postgresql.attributes.changes
"""

EXAMPLES = r"""
- name: What this node proves itself with
  walstream.postgresql.tls_files:
    directory: /var/lib/postgresql/15/main.tls
    authority: "{{ lookup('ansible.builtin.file', 'pki/ca.crt') }}"
    server:
      certificate: "{{ lookup('ansible.builtin.file', 'pki/' ~ inventory_hostname ~ '.crt') }}"
      private_key: "{{ lookup('ansible.builtin.file', 'pki/' ~ inventory_hostname ~ '.key') }}"
    host: "{{ ansible_host }}"
  become: true
"""

RETURN = r"""
tls_files:
  description: The files.
  returned: success
  type: dict
  contains:
    directory:
      description: Where they are.
      type: str
      sample: /var/lib/postgresql/15/main.tls
    fingerprints:
      description: SHA-256 of the first certificate in each file.
      type: dict
      sample: {ca.pem: 8b1f..., server.pem: 40c2...}
    expires:
      description: When the server's certificate expires, in UTC.
      type: str
      sample: "2027-03-01T12:00:00Z"
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials import tls
from ansible_collections.walstream.postgresql.plugins.module_utils._module import Module, run
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import owner_for

IDENTITY = {
    "certificate": {"type": "str", "required": True},
    "private_key": {"type": "str", "required": True, "no_log": True},
}


def material_of(params: dict[str, Any]) -> tls.Material:
    client = params["client"]
    return tls.Material(
        tls.authority(params["authority"]),
        tls.identity("server", **params["server"]),
        tls.identity("client", **client) if client else None,
    )


def present(params: dict[str, Any], folder: tls.Folder, check_mode: bool) -> dict[str, Any]:
    material = material_of(params)
    expires = tls.rehearse(material, params["host"])
    wanted = material.files()
    pending = folder.pending(wanted)
    if pending and not check_mode:
        folder.apply(wanted)
    return {
        "changed": bool(pending),
        "tls_files": {
            "directory": folder.path,
            "fingerprints": {name: tls.fingerprint(text) for name, text in wanted.items()},
            "expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires)),
        },
        "diff": {"before": "", "after": "".join(f"{one}\n" for one in pending)},
    }


def absent(folder: tls.Folder, check_mode: bool) -> dict[str, Any]:
    pending = folder.leftovers()
    if pending and not check_mode:
        folder.remove()
    return {
        "changed": bool(pending),
        "tls_files": {"directory": folder.path, "fingerprints": {}, "expires": None},
        "diff": {"before": "", "after": "".join(f"remove {one}\n" for one in pending)},
    }


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    folder = tls.Folder(params["directory"], owner_for(params["owner"], module.check_mode))
    if params["state"] == "absent":
        return absent(folder, module.check_mode)
    return present(params, folder, module.check_mode)


def main() -> None:
    module = Module(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "authority": {"type": "str"},
            "server": {"type": "dict", "options": IDENTITY},
            "client": {"type": "dict", "options": IDENTITY},
            "host": {"type": "str"},
            "owner": {"type": "str", "default": "postgres"},
            "state": {"type": "str", "default": "present", "choices": ["absent", "present"]},
        },
        required_if=[("state", "present", ["authority", "server"])],
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
