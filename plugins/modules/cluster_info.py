#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: everything about one PostgreSQL cluster of a host, read in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_info
short_description: What a host has of a PostgreSQL cluster
description:
  - Reads in one call what is installed, where a cluster's files are, what its data directory holds and what its
    server says.
  - Does not fail because something is missing. A host without PostgreSQL gives the packages that it needs. Only the
    plain layout, outside the RHEL family, needs to be told O(data_directory).
  - The server is asked over its local socket, as the account O(owner). Where that does not work, it says why.
version_added: 0.1.0
options:
  cluster:
    description: Name of the cluster in Debian's layout.
    type: str
    default: main
    aliases: [name]
  port:
    description: Port to report where the configuration does not name one.
    type: int
  towards:
    description: Another host, by name or address. RV(cluster_info.source_address) is how it sees this one.
    type: str
  logins:
    description: Roles that should be able to log in, for RV(cluster_info.stale_logins).
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
    suboptions:
      name:
        description: Name of the role.
        type: str
        required: true
      password:
        description: Its password. Without one only the role and its attributes are looked at.
        type: str
      replication:
        description: Whether it must be allowed to replicate.
        type: bool
        default: false
  passfile:
    description:
      - Lines of the password file C(<data_directory>.pgpass), as M(walstream.postgresql.passfile) takes them, for
        RV(cluster_info.passfile_current). An empty list means that there should be no such file.
    type: list
    elements: dict
    version_added: 0.2.0
    suboptions:
      host:
        description: Host name.
        type: str
        default: "*"
      port:
        description: Port.
        type: str
        default: "*"
      database:
        description: Database. A replication login asks for C(replication).
        type: str
        default: "*"
      user:
        description: Role.
        type: str
        default: "*"
      password:
        description: The password.
        type: str
        required: true
seealso:
  - module: walstream.postgresql.cluster
  - module: walstream.postgresql.data_directory_info
author:
  - The walstream authors (@walstream)
extends_documentation_fragment:
  - walstream.postgresql.attributes.reads
  - walstream.postgresql.layout
"""

EXAMPLES = r"""
- name: Discover
  walstream.postgresql.cluster_info:
  become: true
  register: discovered

- name: Show what runs
  ansible.builtin.debug:
    msg: "{{ discovered.cluster_info.data.state }}, timeline {{ discovered.cluster_info.data.timeline }}"
"""

RETURN = r"""
cluster_info:
  description: Everything that was found.
  returned: success
  type: dict
  contains:
    layout:
      description: V(debian) or V(plain).
      type: str
      sample: debian
    version:
      description: Major version of the cluster that is meant, or that the distribution would install, or null.
      type: int
      sample: 15
    cluster:
      description: Name of the cluster in Debian's layout.
      type: str
      sample: main
    installed_versions:
      description: Major versions whose server is installed.
      type: list
      elements: int
      sample: [15]
    missing_packages:
      description: The distribution's packages that a server and the modules of this collection still need.
      type: list
      elements: str
      sample: [python3-psycopg2]
    distribution:
      description: C(ID) of os-release.
      type: str
      sample: debian
    distribution_codename:
      description: C(VERSION_CODENAME) of os-release.
      type: str
      sample: bookworm
    owner:
      description: The server's account.
      type: str
      sample: postgres
    owner_exists:
      description: Whether the host has this account.
      type: bool
      sample: true
    bin_directory:
      description: Folder with the server's programs, or empty.
      type: str
      sample: /usr/lib/postgresql/15/bin
    data_directory:
      description: The data directory.
      type: str
      sample: /var/lib/postgresql/15/main
    config_directory:
      description: Folder of the main configuration file.
      type: str
      sample: /etc/postgresql/15/main
    config_file:
      description: The main configuration file.
      type: str
      sample: /etc/postgresql/15/main/postgresql.conf
    settings_file:
      description: The one file that this collection writes settings to.
      type: str
      sample: /etc/postgresql/15/main/conf.d/walstream.conf
    hba_file:
      description: The file with the rules for logins.
      type: str
      sample: /etc/postgresql/15/main/pg_hba.conf
    ident_file:
      description: The file with the maps of user names.
      type: str
      sample: /etc/postgresql/15/main/pg_ident.conf
    log_file:
      description: The log that the server is started with.
      type: str
      sample: /var/log/postgresql/postgresql-15-main.log
    configured:
      description: Whether the main configuration file exists.
      type: bool
      sample: true
    configuration_problems:
      description: What the server would refuse to read in its configuration files.
      type: list
      elements: str
      sample: []
    managed_settings:
      description: What our settings file says.
      type: dict
      sample: {wal_level: replica}
    overridden_settings:
      description: Parameters of our settings file that a later line, or C(ALTER SYSTEM), gives another value.
      type: list
      elements: str
      sample: []
    managed_hba:
      description: The rules of our block at the top of RV(cluster_info.hba_file).
      type: list
      elements: str
      sample: ['host  replication  "replicator"  192.0.2.12/32  scram-sha-256']
    settings_beneath:
      description: What other files say of RV(cluster_info.settings), and what holds wherever ours does not speak.
      type: dict
      sample: {max_connections: "100"}
    service:
      description: What starts and stops the server, C(pg_ctl) or a systemd unit. Null where no server is installed.
      type: str
      sample: pg_ctl
    port:
      description: The port as configured.
      type: int
      sample: 5432
    socket_directory:
      description: Where the server listens for local logins. Empty for its built-in default.
      type: str
      sample: /var/run/postgresql
    own_slots:
      description:
        - Slots that O(walstream.postgresql.replication_slot#module:record) names beside the data directory, in
          C(<data_directory>.slots).
      type: list
      elements: str
      sample: [replica1]
    passfile_current:
      description: Whether C(<data_directory>.pgpass) is exactly what O(passfile) declares. Null without that option.
      type: bool
      sample: true
    clone_leftovers:
      description: Folders that a base backup of ours has left beside the data directory or in it, or works in now.
      type: list
      elements: str
      sample: []
    data:
      description: What the data directory is, as in M(walstream.postgresql.data_directory_info).
      type: dict
      sample: {state: primary, running: true, system_identifier: "7301234567890123456"}
    running:
      description: Whether a server runs on the data directory.
      type: bool
      sample: true
    reachable:
      description:
        - Whether the server could be asked. What follows is returned only then, except RV(cluster_info.settings)
          and RV(cluster_info.source_address).
      type: bool
      sample: true
    unreachable_because:
      description: Why a running server could not be asked.
      type: str
      returned: when the server runs and could not be asked
      sample: "cannot log in to PostgreSQL at /var/run/postgresql, port 5432, as user 'postgres': ..."
    server_version:
      description: The server's version.
      type: str
      sample: "15.10"
    in_recovery:
      description: Whether the server is in recovery, as standbys are.
      type: bool
      sample: false
    system_identifier:
      description: The system identifier.
      type: str
      sample: "7301234567890123456"
    timeline:
      description: The timeline that the server is on.
      type: int
      sample: 1
    lsn:
      description: The end of the WAL that is flushed, on a standby of what is replayed.
      type: str
      sample: 0/3000148
    received_lsn:
      description: The end of the WAL that a standby has received since it was started, or null.
      type: str
      sample: 0/3000148
    wal_block_size:
      description: Size of a page of WAL in bytes.
      type: int
      sample: 8192
    wal_segment_size:
      description: Size of a WAL file in bytes.
      type: int
      sample: 16777216
    replay:
      description:
        - How a standby replays. Null on a primary.
        - C(apply_delay) is C(recovery_min_apply_delay) in seconds, C(startup_wait) what the process that replays waits
          for, as C(pg_stat_activity) names it.
      type: dict
      sample: {pause_state: not paused, apply_delay: 0.0, startup_wait: RecoveryWalStream}
    bytes:
      description: Size of all databases and the shared catalogue.
      type: int
      sample: 23456789
    settings:
      description: Parameters that matter for replication. As configured where the server could not be asked.
      type: dict
      sample: {max_connections: "100", wal_level: replica}
    pending_restart:
      description: Parameters whose new value waits for a restart.
      type: list
      elements: str
      sample: []
    unloaded_files:
      description: Configuration, rules and certificates that are newer than what the server has loaded.
      type: list
      elements: str
      sample: []
    stale_logins:
      description: Roles of O(logins) that are missing or not as declared, as far as can be told without logging in.
      type: list
      elements: str
      sample: []
    expired_logins:
      description: Roles of O(logins) with a password whose C(VALID UNTIL) has passed, with that time.
      type: dict
      sample: {replicator: "2026-01-01 00:00:00+00"}
    privileged_logins:
      description: Roles of O(logins) that may do more than log in and replicate, with these attributes.
      type: dict
      sample: {postgres: [SUPERUSER, CREATEROLE, CREATEDB, BYPASSRLS]}
    receiver:
      description:
        - The WAL receiver of a standby, from C(pg_stat_wal_receiver) without C(conninfo). Null where there is none.
        - C(heard) says whether its upstream has answered, or would have refused by now.
      type: dict
      sample: {status: streaming, sender_host: db1, sender_port: 5432, slot_name: replica1, heard: true}
    standbys:
      description: Standbys and base backups that are connected.
      type: list
      elements: dict
      sample: [{application_name: replica1, state: streaming, sync_state: async, client_address: 192.0.2.11}]
    slots:
      description: The replication slots.
      type: list
      elements: dict
      sample: [{slot_name: replica1, slot_type: physical, active: true, restart_lsn: 0/3000060, wal_status: reserved}]
    upstream:
      description: C(primary_conninfo) as keywords of libpq, without secrets.
      type: dict
      sample: {host: db1, port: "5432", user: replicator}
    source_address:
      description:
        - The address of this host that O(towards) sees when this host connects to it. Null where that is not known.
        - Found by asking the kernel for its route. Nothing is sent.
      type: str
      sample: 192.0.2.12
    tablespaces:
      description: Tablespaces outside the data directory.
      type: list
      elements: dict
      sample: [{name: fast, location: /srv/fast}]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster.facts import Questions, facts
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials.logins import (
    LOGIN_OPTIONS,
    DeclaredLogin,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials.passfile import (
    ENTRY_OPTIONS,
    Entry,
    text_of,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.base import LAYOUT_OPTIONS, Wish
from ansible_collections.walstream.postgresql.plugins.module_utils._module import Module, run


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    asked = Questions(
        port=params["port"],
        towards=params["towards"],
        logins=tuple(DeclaredLogin(**login) for login in params["logins"]),
        passfile=None if params["passfile"] is None else text_of(Entry(**one) for one in params["passfile"]),
    )
    return {"changed": False, "cluster_info": facts(Wish.from_params(params, params["cluster"]), asked)}


def main() -> None:
    module = Module(
        argument_spec={
            **LAYOUT_OPTIONS,
            "cluster": {"type": "str", "default": "main", "aliases": ["name"]},
            "port": {"type": "int"},
            "towards": {"type": "str"},
            "logins": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": LOGIN_OPTIONS,
                "no_log": True,
            },
            "passfile": {"type": "list", "elements": "dict", "options": ENTRY_OPTIONS, "no_log": True},
        },
        supports_check_mode=True,
    )
    run(module, work, unreturned=("logins", "passfile"))


if __name__ == "__main__":
    main()
