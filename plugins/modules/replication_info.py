#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: what a server says about its upstream, its standbys and its slots."""

from __future__ import annotations

DOCUMENTATION = r"""
module: replication_info
short_description: Upstream, standbys and slots of a PostgreSQL server
description:
  - Reads in one session what a server says about its part in replication. Changes nothing.
  - A superuser or a member of C(pg_monitor) sees everything. For other roles PostgreSQL hides some values, which
    are null then.
  - Fails with the reason where the server cannot be reached.
version_added: 0.1.0
seealso:
  - module: walstream.postgresql.recovery_state
  - module: walstream.postgresql.data_directory_info
author:
  - The walstream authors (@walstream)
extends_documentation_fragment:
  - walstream.postgresql.attributes.reads
  - walstream.postgresql.login
"""

EXAMPLES = r"""
- name: Ask a server about its replication
  walstream.postgresql.replication_info:
  register: server

- name: Show which standbys are attached, and how far they are behind
  ansible.builtin.debug:
    msg: "{{ item.application_name }} {{ item.state }}, {{ item.lag_bytes }} bytes behind"
  loop: "{{ server.replication_info.standbys }}"
"""

RETURN = r"""
replication_info:
  description: The server at one moment.
  returned: success
  type: dict
  contains:
    role:
      description: V(standby) for a server in recovery, else V(primary).
      type: str
      sample: standby
    version:
      description: Version of the server.
      type: str
      sample: "15.18"
    major_version:
      description: Its major version.
      type: int
      sample: 15
    system_identifier:
      description: The same on all servers of one topology. A string, because it is too large for some tools' numbers.
      type: str
      sample: "7711510154694615063"
    timeline:
      description: The timeline that a primary writes or a standby has replayed to.
      type: int
      sample: 1
    lsn:
      description:
        - The position up to which a primary has flushed WAL, or a standby has replayed it.
        - A primary's value is what O(walstream.postgresql.recovery_state#module:replayed_lsn) takes.
      type: str
      sample: 0/3000060
    received_lsn:
      description: The position up to which a standby has received WAL. Null on a primary.
      type: str
      sample: 0/3000060
    upstream:
      description: What a standby was told to follow, and whether it does. Null on a primary.
      type: dict
      contains:
        host:
          description: Host of C(primary_conninfo).
          type: str
          sample: db1.example.org
        port:
          description: Port of C(primary_conninfo).
          type: int
          sample: 5432
        user:
          description: User of C(primary_conninfo).
          type: str
          sample: replicator
        application_name:
          description: Name under which the upstream knows this standby, where C(primary_conninfo) sets one.
          type: str
          sample: replica1
        slot:
          description: Slot on the upstream (C(primary_slot_name)).
          type: str
          sample: replica_physical_slot
        status:
          description: State of the WAL receiver. Null where none runs.
          type: str
          sample: streaming
        streaming:
          description: Whether the WAL receiver streams and has heard from the upstream since it connected.
          type: bool
          sample: true
        receiver:
          description: The row of C(pg_stat_wal_receiver) without its connection string. Null where none runs.
          type: dict
          sample: {status: streaming, sender_host: db1.example.org, sender_port: 5432, latest_end_lsn: 0/3000060}
    replay:
      description: How a standby replays. Null on a primary.
      type: dict
      contains:
        pause_state:
          description: V(not paused), V(pause requested) or V(paused).
          type: str
          sample: not paused
        held_back:
          description: Whether replay stands still because of C(recovery_min_apply_delay).
          type: bool
          sample: false
        apply_delay:
          description: C(recovery_min_apply_delay) in seconds.
          type: float
          sample: 0.0
        delay:
          description: Seconds by which the standby shows the past at most. 0 where it has all that its upstream has.
          type: float
          sample: 0.0
        lag_bytes:
          description: WAL that the standby knows of and has not replayed. Null where no receiver streams.
          type: int
          sample: 0
    standbys:
      description:
        - The rows of C(pg_stat_replication), with C(slot_name), C(ssl) (whether the connection is encrypted), and
          C(lag_bytes) between this server's WAL and what the standby has replayed. Lags are in seconds.
      type: list
      elements: dict
      sample: [{application_name: replica1, state: streaming, sync_state: async, replay_lsn: 0/3000060, lag_bytes: 0}]
    slots:
      description:
        - The rows of C(pg_replication_slots), with C(retained_bytes), C(health) (V(good), V(endangered),
          V(unreserved) or V(lost)) and C(health_reason).
      type: list
      elements: dict
      sample: [{slot_name: replica_physical_slot, active: true, health: good, health_reason: in use, retained_bytes: 0}]
    synchronous_standby_names:
      description: The parameter of this name.
      type: str
      sample: ''
    settings:
      description: The parameters that decide whether and how the server replicates, in PostgreSQL's notation.
      type: dict
      sample: {wal_level: replica, max_wal_senders: "10", max_slot_wal_keep_size: 1GB}
    pending_restart:
      description: Parameters whose new value waits for a restart.
      type: list
      elements: str
      sample: [max_connections]
    base_backups:
      description: The rows of C(pg_stat_progress_basebackup), one for each base backup that is being taken from here.
      type: list
      elements: dict
      sample: [{phase: streaming database files, backup_total: 2147483648, backup_streamed: 104857600}]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.walstream.postgresql.plugins.module_utils._module import Module, run
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import (
    Login,
    connect,
    login_argument_spec,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.observation import described
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.on_server import observe


def read(module: AnsibleModule) -> dict[str, Any]:
    """One session, one observation."""
    with connect(Login.from_params(module.params)) as server:
        return {"changed": False, "replication_info": described(observe(server))}


def main() -> None:
    """Spec, build, run, exit."""
    run(Module(argument_spec=login_argument_spec(), supports_check_mode=True), read)


if __name__ == "__main__":
    main()
