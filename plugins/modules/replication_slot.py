#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a physical replication slot that really keeps WAL, or none."""

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_slot
short_description: Physical replication slots that keep WAL
description:
  - Makes sure that a physical replication slot exists and keeps the WAL that its replica needs, or that there is
    no such slot.
  - A slot that exists but protects nothing is never reported as fine. One that never reserved WAL is made anew,
    which loses nothing; one whose WAL is lost fails, because its replica may need a new base backup.
  - Takes the options of M(community.postgresql.postgresql_slot) for physical slots and can stand in for it. Here
    WAL is reserved by default.
  - Works on a primary and, for cascading, on a standby.
version_added: 0.1.0
options:
  name:
    description: Name of the slot. Lower-case letters, digits and underscores, at most 63.
    type: str
    required: true
    aliases: [slot_name]
  state:
    description: Whether the slot is to exist.
    type: str
    choices: [absent, present]
    default: present
  slot_type:
    description:
      - Only V(physical) is supported. Logical slots are the business of M(community.postgresql.postgresql_slot).
      - A logical slot of this O(name) is never touched.
    type: str
    choices: [logical, physical]
    default: physical
  immediately_reserve:
    description:
      - Reserve WAL when the slot is made, so that nothing that a base backup needs can go before its replica connects.
      - With V(false) nothing is kept until a replica first connects.
    type: bool
    default: true
  recreate_lost:
    description:
      - Make a slot anew whose WAL is lost (C(wal_status) C(lost), or invalidated).
      - It keeps WAL from then on. What was removed before does not come back.
    type: bool
    default: false
  force:
    description:
      - Drop a slot that is in use, after ending its consumer's session with C(pg_terminate_backend).
      - A replica that loses its slot this way keeps trying to connect, and fails until the slot exists again.
    type: bool
    default: false
  record:
    description:
      - File on the host that runs the module, in which it notes the slots that it makes. Its folder must exist.
      - With O(state=absent) only a slot that is noted there is dropped, so that nobody else's is.
    type: path
  session_role:
    description: Role to switch to after the login.
    type: str
  output_plugin:
    description: Accepted for compatibility. Means nothing for a physical slot.
    type: str
    default: test_decoding
  trust_input:
    description: Accepted for compatibility. Values never become part of the SQL text.
    type: bool
    default: true
seealso:
  - name: Replication slots
    description: PostgreSQL's manual about what slots are for and what they cost.
    link: https://www.postgresql.org/docs/current/warm-standby.html#STREAMING-REPLICATION-SLOTS
  - module: community.postgresql.postgresql_slot
author:
  - The walstream authors (@walstream)
extends_documentation_fragment:
  - walstream.postgresql.attributes.changes
  - walstream.postgresql.login
"""

EXAMPLES = r"""
- name: Keep WAL for a replica
  walstream.postgresql.replication_slot:
    name: replica_physical_slot

- name: Make the slot anew where its WAL was given up
  walstream.postgresql.replication_slot:
    name: replica_physical_slot
    recreate_lost: true

- name: Drop the slot of a replica that is gone
  walstream.postgresql.replication_slot:
    name: old_replica
    state: absent
"""

RETURN = r"""
slot:
  description:
    - The row of C(pg_replication_slots) after the module's work (before it, in check mode), with the columns that
      the server's version has.
    - Null where there is no such slot.
  returned: success
  type: dict
  sample:
    slot_name: replica_physical_slot
    slot_type: physical
    active: true
    active_pid: 4711
    restart_lsn: 0/3000060
    wal_status: reserved
    safe_wal_size: 1073741824
    temporary: false
name:
  description: Name of the slot.
  returned: success
  type: str
  sample: replica_physical_slot
queries:
  description: The statements that changed something, with their values. Empty in check mode.
  returned: success
  type: list
  elements: str
  sample: ["SELECT pg_create_physical_replication_slot('replica_physical_slot', true)"]
reason:
  description: Why the slot was changed or left as it is.
  returned: success
  type: str
  sample: there is no such slot
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal
from ansible_collections.walstream.postgresql.plugins.module_utils._module import Module, run
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import require_slot_name
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import (
    Login,
    connect,
    login_argument_spec,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._slot import record
from ansible_collections.walstream.postgresql.plugins.module_utils._slot.on_server import SlotServer
from ansible_collections.walstream.postgresql.plugins.module_utils._slot.plan import (
    Action,
    Wanted,
    difference,
    plan,
)


def ensure(module: AnsibleModule) -> dict[str, Any]:
    """Make the slot what it should be; in check mode, say what that would take."""
    wanted = _wanted(module.params)
    with connect(Login.from_params(module.params)) as session:
        record_file = module.params["record"]
        server = SlotServer(session, module.params["session_role"], record_file)
        limits, row = server.observe(wanted.name)
        decided = plan(wanted, row, limits)
        if decided.action is Action.REFUSE:
            raise Refusal(decided.reason, slot=row, name=wanted.name)
        if decided.warning:
            module.warn(decided.warning)
        changed = decided.action is not Action.NOTHING
        shown = row
        if changed and record_file and not wanted.present and wanted.name not in record.read(record_file):
            raise Refusal(
                f"the slot '{wanted.name}' was not made by us, says {record_file}: leave it, or drop it by hand"
            )
        if changed and not module.check_mode:
            server.apply(decided.action, wanted)
            _limits, shown = server.observe(wanted.name)
        return {
            "changed": changed,
            "name": wanted.name,
            "slot": shown,
            "queries": server.queries,
            "reason": decided.reason,
            "diff": difference(decided, wanted, row),
        }


def _wanted(params: Mapping[str, Any]) -> Wanted:
    if params["slot_type"] == "logical":
        raise Refusal(
            "this module is about physical slots: use community.postgresql.postgresql_slot for a logical one"
        )
    require_slot_name(params["name"])
    return Wanted(
        name=params["name"],
        present=params["state"] == "present",
        reserve=params["immediately_reserve"],
        recreate_lost=params["recreate_lost"],
        force=params["force"],
    )


def main() -> None:
    """Spec, build, run, exit."""
    module = Module(
        argument_spec={
            **login_argument_spec(),
            "name": {"type": "str", "required": True, "aliases": ["slot_name"]},
            "state": {"type": "str", "default": "present", "choices": ["absent", "present"]},
            "slot_type": {"type": "str", "default": "physical", "choices": ["logical", "physical"]},
            "immediately_reserve": {"type": "bool", "default": True},
            "recreate_lost": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
            "record": {"type": "path"},
            "session_role": {"type": "str"},
            "output_plugin": {"type": "str", "default": "test_decoding"},
            "trust_input": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    run(module, ensure)


if __name__ == "__main__":
    main()
