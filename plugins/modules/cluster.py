#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a PostgreSQL cluster as declared, its settings and its server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster
short_description: A PostgreSQL cluster, its settings and its server
description:
  - Makes a cluster, or adopts one that exists, keeps the settings that you declare in one file of their own, and
    starts, reloads or restarts the server where that is due.
  - What is due is read from the files and from the server, so a run that was interrupted is finished by the next. No
    handlers are needed.
  - Settings are shown to the server's own program before they are installed. What it would not take is refused with its
    reason, and is not installed. Should a restart with one of them fail all the same, the former settings are put back
    and the server runs again.
  - Files of the distribution are not edited, except that the line C(include_dir 'conf.d') is added to a
    C(postgresql.conf) that has none.
  - C(ALTER SYSTEM) beats every file. A parameter that is declared here is taken out of C(postgresql.auto.conf), by
    C(ALTER SYSTEM RESET) where the server runs, others stay there.
version_added: 0.1.0
options:
  state:
    description:
      - V(present) makes or adopts the cluster and writes its settings, and leaves the server as it is.
      - V(started) moreover starts the server; one that runs is reloaded where a file is newer than what it loaded
        (settings, C(pg_hba.conf), C(pg_ident.conf), certificates), and restarted where a parameter waits for that.
      - V(reloaded) and V(restarted) do so in any case.
      - V(stopped) stops it in fast mode.
    type: str
    choices: [present, started, stopped, restarted, reloaded]
    default: present
  name:
    description: Name of the cluster in Debian's layout.
    type: str
    default: main
    aliases: [cluster]
  initialize:
    description:
      - Whether a new cluster may be made where the data directory is absent or empty.
      - A data directory that holds anything else is never touched by C(initdb).
    type: bool
    default: false
  encoding:
    description: Encoding of a new cluster.
    type: str
    default: UTF8
  locale:
    description: Locale of a new cluster, and of the configuration that an adopted one is given where it has none.
    type: str
    default: C.UTF-8
  data_checksums:
    description: Whether a new cluster has checksums on its data pages.
    type: bool
    default: true
  wal_directory:
    description: Where a new cluster keeps C(pg_wal). By default in the data directory.
    type: path
  superuser_password:
    description:
      - Password that a new cluster's superuser, whose name is that of O(owner), is made with. A cluster that exists
        already keeps its own.
      - It is set where C(initdb) takes it as it is, see RV(cluster.superuser_password_is_set). That reads one line, and
        before version 14 no more than 99 bytes.
    type: str
    version_added: 0.4.0
  slots:
    description:
      - Physical replication slots that a new cluster is made with, as soon as its server runs, so not with
        O(state=present). Each reserves WAL at once.
      - For a cluster that exists already use M(walstream.postgresql.replication_slot), also where a run was ended
        between the cluster and its slots.
    type: list
    elements: str
    default: []
    version_added: 0.5.0
  slot_record:
    description: A file in which the names of O(slots) are noted, as M(walstream.postgresql.replication_slot) does.
    type: path
    version_added: 0.5.0
  port:
    description: The server's port. By default as the settings file says, or else the server's own default.
    type: int
  settings:
    description:
      - Server parameters, exactly what our settings file is to say. Without this option it keeps what it says.
      - Null leaves a parameter to the cluster's other files. Lists are joined by commas.
      - V(port), V(primary_conninfo) and V(primary_slot_name) have options of their own.
    type: dict
  defaults:
    description: Server parameters that give way to whatever the cluster's other configuration files say.
    type: dict
    default: {}
  purge:
    description: Whether parameters are removed from our settings file that O(settings) does not name.
    type: bool
    default: true
  keep:
    description: Parameters that stay in our settings file though O(settings) does not name them.
    type: list
    elements: str
    default: []
  initial_settings:
    description:
      - Server parameters for the cluster's main configuration file, where this task has to make one from PostgreSQL's
        sample, in the place of what C(initdb) chooses for a host. Afterwards they are that file's, whoever changes it.
      - A clone in Debian's layout comes without its upstream's C(timezone), C(lc_messages) or
        C(default_text_search_config), and would give other answers than it does.
    type: dict
    default: {}
    version_added: 0.2.0
  upstream:
    description:
      - Where a standby streams from, as keywords of libpq (C(primary_conninfo)). An empty dictionary removes it.
      - C(password) is refused. Name a password file with C(passfile), see M(walstream.postgresql.passfile).
    type: dict
  slot:
    description: The slot on the upstream (C(primary_slot_name)). An empty text removes it.
    type: str
  proof:
    description:
      - What a standby has to prove once its server runs, as M(walstream.postgresql.recovery_state) would ask for it
        with C(caught_up) - that it streams from O(upstream) through O(slot), and has replayed what that has.
      - Where it does not come to that, the task fails with the reason and the server goes on.
    type: dict
    version_added: 0.6.0
    suboptions:
      system_identifier:
        description: The cluster's system identifier.
        type: str
      timeout:
        description: Seconds to wait.
        type: float
        default: 30
  hba:
    description:
      - Rules for logins, as lines of C(pg_hba.conf), in the order in which they are to be tried.
      - Without this option the file stays as it is. An empty list takes our rules out.
      - They stand in a block of their own at the top of the file, because the first rule that matches decides. Every
        other line stays.
      - A running server loads them. Where it would not, or would let O(owner) log in no more, the former ones are put
        back and the task fails.
    type: list
    elements: str
    version_added: 0.2.0
  restart:
    description: Whether a running server may be restarted. With V(false) RV(cluster.pending_restart) names what waits.
    type: bool
    default: true
  timeout:
    description: Seconds that starting and stopping may each take. A standby may have much to recover first.
    type: int
    default: 60
seealso:
  - module: walstream.postgresql.cluster_info
  - module: walstream.postgresql.basebackup
author:
  - The walstream authors (@walstream)
extends_documentation_fragment:
  - walstream.postgresql.attributes.changes
  - walstream.postgresql.layout
"""

EXAMPLES = r"""
- name: A primary
  walstream.postgresql.cluster:
    state: started
    initialize: true
    settings:
      wal_level: replica
      max_wal_senders: 10
      max_slot_wal_keep_size: 10GB
  become: true

- name: A standby on a data directory that was cloned before
  walstream.postgresql.cluster:
    state: started
    settings:
      hot_standby: true
    upstream:
      host: db1.example.com
      user: replicator
      passfile: /var/lib/postgresql/15/main.pgpass
    slot: db2
  become: true

- name: Change one parameter, leave the others, and restart nothing
  walstream.postgresql.cluster:
    state: started
    settings:
      work_mem: 16MB
    purge: false
    restart: false
  become: true
"""

RETURN = r"""
recovery_state:
  description:
    - What was seen of a standby for which O(proof) was asked, as
      RV(walstream.postgresql.recovery_state#module:recovery_state).
    - Null where nothing was asked for, and in check mode.
  returned: success, and where the proof fails
  type: dict
  sample: {role: standby, lsn: 0/3000060, unmet: []}
cluster:
  description: The cluster after the module's work (in check mode, as far as it can be known).
  returned: success
  type: dict
  contains:
    actions:
      description: What was done, or would be in check mode, in this order.
      type: list
      elements: str
      sample: [created, configured, started]
    changed_settings:
      description: Parameters whose value in our settings file changed.
      type: list
      elements: str
      sample: [max_wal_senders, wal_level]
    cleared_overrides:
      description: Parameters that were taken out of C(postgresql.auto.conf).
      type: list
      elements: str
      sample: []
    pending_restart:
      description: Parameters whose new value waits for a restart.
      type: list
      elements: str
      sample: []
    running:
      description: Whether the server runs.
      type: bool
      sample: true
    in_recovery:
      description: Whether it is a standby. Null where there is no cluster yet.
      type: bool
      sample: false
    superuser_password_is_set:
      description: Whether the cluster was made with O(superuser_password), or would be in check mode.
      type: bool
      sample: false
    made_slots:
      description: Those of O(slots) that the cluster was made with, or would be in check mode.
      type: list
      elements: str
      sample: []
    system_identifier:
      description: The system identifier. Null where there is no cluster yet.
      type: str
      sample: "7301234567890123456"
    service:
      description: What starts and stops the server.
      type: str
      sample: pg_ctl
    layout:
      description: V(debian) or V(plain).
      type: str
      sample: debian
    version:
      description: Major version.
      type: int
      sample: 15
    data_directory:
      description: The data directory.
      type: str
      sample: /var/lib/postgresql/15/main
    config_directory:
      description: Folder of the main configuration file.
      type: str
      sample: /etc/postgresql/15/main
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
    bin_directory:
      description: Folder with the server's programs.
      type: str
      sample: /usr/lib/postgresql/15/bin
    port:
      description: The port as configured.
      type: int
      sample: 5432
    config_file:
      description: The main configuration file.
      type: str
      sample: /etc/postgresql/15/main/postgresql.conf
    cluster:
      description: Name of the cluster in Debian's layout. Null in the plain one.
      type: str
      sample: main
    configured:
      description: Whether the cluster has a main configuration file.
      type: bool
      sample: true
    configuration_problems:
      description: Why the server could not read its configuration.
      type: list
      elements: str
      sample: []
    managed_settings:
      description: What our settings file says. Passwords are masked.
      type: dict
      sample: {port: "5432", wal_level: replica}
    managed_hba:
      description: The lines of our block in C(pg_hba.conf).
      type: list
      elements: str
      sample: ["host replication replicator 192.0.2.12/32 scram-sha-256"]
    overridden_settings:
      description: Parameters of our settings file that a later file overrules.
      type: list
      elements: str
      sample: []
    settings_beneath:
      description: What the cluster's other files say of the parameters that replication depends on.
      type: dict
      sample: {listen_addresses: "*"}
    socket_directory:
      description: Where the server listens for local logins. Empty for its built-in default.
      type: str
      sample: /var/run/postgresql
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster import location
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster.flow import (
    RUNNING_STATES,
    Cluster,
    Intent,
    Outcome,
    Proof,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster.plan import Declared
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.initdb import NewCluster
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.base import (
    LAYOUT_OPTIONS,
    Layout,
    Wish,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.choice import resolve
from ansible_collections.walstream.postgresql.plugins.module_utils._module import Module, run
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import conninfo, guc_file
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import require_slot_name
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.expectations import Expected
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User, owner_for


def intent_of(params: dict[str, Any], version: int | None) -> Intent:
    upstream, port = params["upstream"], params["port"]
    return Intent(
        state=params["state"],
        declared=Declared(
            settings=params["settings"],
            defaults=params["defaults"],
            keep=params["keep"],
            purge=params["purge"],
            options={
                "port": None if port is None else str(port),
                "primary_conninfo": None if upstream is None else conninfo.to_string(upstream),
                "primary_slot_name": params["slot"],
            },
        ),
        new=NewCluster(
            version=version or 0,
            encoding=params["encoding"],
            locale=params["locale"],
            data_checksums=params["data_checksums"],
            wal_directory=params["wal_directory"],
            superuser_password=params["superuser_password"],
        ),
        rules=params["hba"],
        initial_settings={
            name: value
            for name, value in guc_file.normalized(params["initial_settings"]).items()
            if value is not None
        },
        initialize=params["initialize"],
        slots=params["slots"],
        slot_record=params["slot_record"],
        restart=params["restart"],
        timeout=params["timeout"],
        proof=proof_of(params["proof"], upstream or {}, params["slot"]) if params["proof"] else None,
    )


def proof_of(asked: Mapping[str, Any], upstream: Mapping[str, Any], slot: str | None) -> Proof:
    """What the option asks for: that a standby streams from where it is told to, and has what that has."""
    expected = Expected(
        standby=True,
        streaming=True,
        host=upstream.get("host"),
        port=int(upstream["port"]) if upstream.get("port") else None,
        slot=slot or None,
        system_identifier=asked["system_identifier"] or None,
        caught_up=True,
    )
    return Proof(expected, asked["timeout"])


def _check_proof(params: dict[str, Any]) -> None:
    if params["proof"] and params["state"] not in RUNNING_STATES:
        raise WalstreamError(
            f"a 'proof' is given by a server that runs, and 'state' is '{params['state']}': set it to 'started'"
        )


def _check_slots(params: dict[str, Any]) -> None:
    for name in params["slots"]:
        require_slot_name(name)
    if len(set(params["slots"])) < len(params["slots"]):
        raise WalstreamError("'slots' names a slot twice: name each once")
    if params["slots"] and params["state"] not in RUNNING_STATES:
        raise WalstreamError(
            f"'slots' are made by a server that runs, and 'state' is '{params['state']}': set it to 'started'"
        )


def shown(layout: Layout, owner: User, outcome: Outcome) -> dict[str, Any]:
    found = location.located(layout, owner)
    before, after = guc_file.masked(outcome.before), guc_file.masked(outcome.after)
    differences = [
        {
            "before_header": found["settings_file"],
            "after_header": found["settings_file"],
            "before": before,
            "after": after + "".join(f"# {action}\n" for action in outcome.actions),
        }
    ]
    if outcome.rules and not outcome.rules.is_settled:
        differences.append(outcome.rules.difference())
    return {
        "changed": bool(outcome.actions),
        "cluster": {**found, **outcome.said()},
        "recovery_state": outcome.recovery_state,
        "diff": differences,
    }


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    _check_slots(params)
    _check_proof(params)
    owner = owner_for(params["owner"], module.check_mode)
    layout = resolve(Wish.from_params(params, params["name"]), location.look_around())
    cluster = Cluster(layout, owner, intent_of(params, layout.paths.version), module.check_mode)
    return shown(layout, owner, cluster.converge())


def main() -> None:
    states = ["present", "started", "stopped", "restarted", "reloaded"]
    module = Module(
        argument_spec={
            **LAYOUT_OPTIONS,
            "state": {"type": "str", "default": "present", "choices": states},
            "name": {"type": "str", "default": "main", "aliases": ["cluster"]},
            "initialize": {"type": "bool", "default": False},
            "encoding": {"type": "str", "default": "UTF8"},
            "locale": {"type": "str", "default": "C.UTF-8"},
            "data_checksums": {"type": "bool", "default": True},
            "wal_directory": {"type": "path"},
            "superuser_password": {"type": "str", "no_log": True},
            "slots": {"type": "list", "elements": "str", "default": []},
            "slot_record": {"type": "path"},
            "port": {"type": "int"},
            "settings": {"type": "dict"},
            "defaults": {"type": "dict", "default": {}},
            "purge": {"type": "bool", "default": True},
            "keep": {"type": "list", "elements": "str", "default": []},
            "initial_settings": {"type": "dict", "default": {}},
            "upstream": {"type": "dict"},
            "slot": {"type": "str"},
            "proof": {
                "type": "dict",
                "options": {
                    "system_identifier": {"type": "str"},
                    "timeout": {"type": "float", "default": 30},
                },
            },
            "hba": {"type": "list", "elements": "str"},
            "restart": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    run(module, work, unreturned=("superuser_password",))


if __name__ == "__main__":
    main()
