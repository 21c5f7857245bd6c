#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a password file of libpq."""

from __future__ import annotations

DOCUMENTATION = r"""
module: passfile
short_description: A password file for PostgreSQL's clients
description:
  - Writes the file that C(passfile) in a connection string names, so that a password stands neither in a connection
    string nor in a process list.
  - The file is readable by its owner alone from its first moment and is replaced in one step. A symbolic link in its
    place is replaced, not followed.
  - Passwords never appear in results or differences. A difference shows which entries changed.
version_added: 0.1.0
options:
  path:
    description:
      - The file. It is this module's alone, and other lines in it are removed.
      - Folders that are missing above it are created for O(owner). Nobody else but root should be able to write there.
    type: path
    required: true
  entries:
    description:
      - The entries, in the order in which libpq tries them. The first that matches decides.
      - Required with O(state=present).
    type: list
    elements: dict
    suboptions:
      host:
        description: Host name or address as the connection string spells it.
        type: str
        default: '*'
      port:
        description: Port.
        type: str
        default: '*'
      database:
        description: Database. Replication connections look for V(replication).
        type: str
        default: '*'
      user:
        description: Role.
        type: str
        default: '*'
      password:
        description: The password. Every character is allowed except a line break.
        type: str
        required: true
  upstream:
    description:
      - The server that the first entry is for, as libpq keywords. Before another password replaces the one in the file,
        both are tried in a replication login there, and a password that works is not given up for one that does not.
      - Not looked at in check mode, because the role's password may be about to change as well.
    type: dict
  owner:
    description: Account that the file belongs to.
    type: str
    default: postgres
  group:
    description: Group of the file. By default the owner's.
    type: str
  state:
    description: Whether the file is to exist.
    type: str
    choices: [absent, present]
    default: present
author:
  - The walstream authors (@walstream)
extends_documentation_fragment:
  - walstream.postgresql.attributes.changes
"""

EXAMPLES = r"""
- name: Store the password for the upstream
  walstream.postgresql.passfile:
    path: /var/lib/postgresql/15/main.pgpass
    entries:
      - host: db1.example.com
        port: "5432"
        database: replication
        user: replicator
        password: "{{ replication_password }}"
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
  sample: /var/lib/postgresql/15/main.pgpass
entries:
  description: The entries with their passwords masked.
  returned: success
  type: list
  elements: str
  sample: ["db1.example.com:5432:replication:replicator:********"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials import passfile
from ansible_collections.walstream.postgresql.plugins.module_utils._module import Module, run
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import owner_for
from ansible_collections.walstream.postgresql.plugins.module_utils._upstream import trial_login


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    entries = [passfile.Entry(**entry) for entry in params["entries"] or ()]
    file = passfile.Passfile(params["path"], owner_for(params["owner"], module.check_mode), params["group"])
    wanted = None if params["state"] == "absent" else passfile.text_of(entries)
    change = file.change_to(wanted)
    if change.needed and not module.check_mode:
        if params["upstream"] and entries and change.replaces_contents:
            login = trial_login.replication_login(file.owner)
            trial_login.refuse_worse_password(file.path, params["upstream"], entries[0].password, login)
        file.apply(wanted)
    return {
        "changed": change.needed,
        "path": file.path,
        "entries": [entry.masked() for entry in entries] if wanted is not None else [],
        "diff": change.diff(),
    }


def main() -> None:
    module = Module(
        argument_spec={
            "path": {"type": "path", "required": True},
            "entries": {
                "type": "list",
                "elements": "dict",
                "options": passfile.ENTRY_OPTIONS,
                "no_log": False,
            },
            "upstream": {"type": "dict"},
            "owner": {"type": "str", "default": "postgres"},
            "group": {"type": "str"},
            "state": {"type": "str", "default": "present", "choices": ["absent", "present"]},
        },
        required_if=[("state", "present", ["entries"])],
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
