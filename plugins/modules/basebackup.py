#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: a data directory that is a verified copy of its upstream, or the reason why not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: basebackup
short_description: A data directory that is a faithful copy of its upstream
description:
  - Makes a data directory a verified copy of an upstream server, ready to start as its standby, or explains why not.
  - Decides from the control file and the system identifier. An absent or empty directory is filled, the rest of an
    interrupted copy is removed or finished first, and a copy of this upstream's cluster is left as it is.
    Anything else (another cluster, a running server, a former primary, a damaged or unknown directory) is refused.
  - Copies with C(pg_basebackup) into a folder beside the data directory, verifies the copy with C(pg_verifybackup),
    makes it a standby and renames it into its place. Where the data directory is a mount point, that folder lies
    inside it, and the control file comes last. A failure leaves the data directory as it was.
  - The copy goes on when the connection to the host is lost. Another run waits for it and does not begin a second one.
    Killed anywhere, the next run cleans up and completes the job.
  - While it works, one line per host tells how far it is.
  - Works with the rights of O(owner). Root acts only in folders that O(owner) may not write, and only if nobody else
    could exchange a folder on the way there.
  - Does not write connection settings. Put C(primary_conninfo) and C(primary_slot_name) where your other settings are.
version_added: 0.1.0
options:
  data_directory:
    description: Absolute path of the data directory. Missing folders above it are made.
    type: str
    required: true
  upstream:
    description:
      - The server to copy from, as libpq keywords such as C(host), C(port), C(user), C(passfile), C(sslmode).
      - The role needs the right to replicate and nothing else.
      - C(password) is refused here. Name a password file with C(passfile); it belongs to O(owner) and has mode 0600.
    type: dict
    required: true
  password:
    description:
      - The role's password, to be stored in the file that C(passfile) in O(upstream) names. That file then holds this
        login and nothing else.
      - It is stored once the upstream has taken it and all else was found to be in order, before anything is copied.
      - In check mode nothing is stored, and a file that is there already is used for the login.
    type: str
  slot:
    description:
      - Physical replication slot on the upstream that keeps the WAL from the beginning of the copy on.
      - It must exist, reserve WAL and be free. Without one, WAL may be removed before the standby starts.
    type: str
  wal_directory:
    description:
      - Directory for C(pg_wal) outside of the data directory. It must be absent or empty, unless it is that of a
        cluster that is replaced (O(replace)), which it then follows.
    type: str
  tablespace_mapping:
    description:
      - Where each tablespace of the upstream goes, by its path there. Each directory must be absent or empty.
      - Each tablespace must be named, also if it goes to the same path.
    type: dict
    default: {}
  max_rate:
    description: The most that is copied in a second, as C(pg_basebackup) takes it, such as V(50M).
    type: str
  checkpoint:
    description:
      - V(fast) lets the upstream write its checkpoint at once, V(spread) takes it slowly and may wait for minutes.
    type: str
    choices: [fast, spread]
    default: fast
  compression:
    description: Compress on the way, with a method and maybe a level as in V(zstd:3). From version 15 on.
    type: str
  verify:
    description: Check every file of the copy against the manifest, and the WAL it needs, before it gets its place.
    type: bool
    default: true
  standby:
    description: Make it a standby (C(standby.signal)). With V(false) it is a copy that recovers and goes its own way.
    type: bool
    default: true
  owner:
    description: System account of the server, and owner of everything that is made.
    type: str
    default: postgres
  bin_directory:
    description: Folder of PostgreSQL's programs. By default the packages' for the upstream's version, or from C(PATH).
    type: str
  replace:
    description:
      - Consent to replace what is there, given as its system identifier. Any other identifier refuses.
      - What is replaced is moved aside to C(<data_directory>.replaced-<UTC time>) and never removed. Its WAL directory
        and tablespaces follow where the copy needs their places.
      - Nothing is moved before the copy is complete and verified, so both need room at the same time.
      - Never applies to a running server, nor to a directory whose history is newer than the upstream's.
      - A standby of this upstream is replaced only if the upstream no longer has the WAL that it needs.
    type: str
  source_bytes:
    description:
      - Size of the upstream's data, where somebody with more rights has measured it, so that the free space can be
        checked beforehand.
      - Without it the role in O(upstream) is tried for an ordinary login. If it may not, the size is checked as soon
        as the upstream tells it, before the copy begins.
    type: int
  source_tablespaces:
    description: Locations of the upstream's tablespaces, where somebody has asked. Like O(source_bytes).
    type: list
    elements: str
  foreseen:
    description:
      - For check mode, where earlier tasks only plan the upstream itself, or the rules, role or certificates that let
        this host in.
      - If the upstream lets nobody in yet, this is what it is taken for, and the login is not tried further.
      - Ignored by a run.
    type: dict
    version_added: 0.2.0
    suboptions:
      system_identifier:
        description: The upstream's system identifier. Empty where that server is yet to be made.
        type: str
        required: true
      timeline:
        description: Its timeline.
        type: int
        required: true
      version:
        description: Its major version.
        type: int
        required: true
  timeout:
    description: Seconds that the whole copy may take before it is ended and removed. 0 is without end.
    type: float
    default: 0
  wait:
    description:
      - Seconds after which this call returns though the copy still runs, with the action V(cloning).
      - By default it waits for the end.
    type: float
  job:
    description: The RV(basebackup.job) of an earlier call with O(wait). This call then waits for that copy.
    type: str
seealso:
  - module: walstream.postgresql.replication_slot
  - module: walstream.postgresql.data_directory_info
  - module: walstream.postgresql.recovery_state
author:
  - The walstream authors (@walstream)
extends_documentation_fragment:
  - walstream.postgresql.attributes.changes
requirements:
  - psycopg2 on the host that runs the module
  - C(pg_basebackup), C(pg_controldata) and C(pg_verifybackup) of the upstream's major version
"""

EXAMPLES = r"""
- name: Clone from the primary
  walstream.postgresql.basebackup:
    data_directory: /var/lib/postgresql/17/main
    upstream:
      host: primary.example.com
      user: replicator
      passfile: /var/lib/postgresql/17/main.pgpass
    slot: replica_1

- name: Replace a stopped former primary, and keep it
  walstream.postgresql.basebackup:
    data_directory: /var/lib/pgsql/17/data
    wal_directory: /wal/17
    tablespace_mapping:
      /fast/reports: /ssd/reports
    upstream: {host: primary.example.com, user: replicator, passfile: /var/lib/pgsql/17/data.pgpass}
    slot: replica_2
    max_rate: 100M
    replace: "7288214098123412345"
"""

RETURN = r"""
basebackup:
  description: What was done, or would be done, and why.
  returned: success
  type: dict
  contains:
    action:
      description:
        - V(cloned), V(finished) (a complete copy of an interrupted run got its place), V(unchanged), or V(cloning)
          (it still runs).
      type: str
      sample: cloned
    reason:
      description: Why.
      type: str
      sample: "'/var/lib/postgresql/17/main' is empty"
    data_directory:
      description: The data directory.
      type: str
      sample: /var/lib/postgresql/17/main
    upstream:
      description: Where it is a copy from.
      type: str
      sample: primary.example.com, port 5432
    system_identifier:
      description:
        - Identifies the cluster. The same on the upstream and on each of its standbys.
        - While a copy is still to be made, that of what is there now, or null.
      type: str
      sample: "7288214098123412345"
    timeline:
      description: Timeline of the copy, or while it is still to be made, of what is there now.
      type: int
      sample: 1
    start_lsn:
      description: WAL position at which the copy began. Null if none was made.
      type: str
      sample: 0/4000028
    bytes:
      description: Bytes copied. In check mode those that would be, or null if that is not known beforehand.
      type: int
      sample: 2147483648
    free_bytes:
      description: Bytes that are free where the copy would go.
      returned: in check mode, if a copy would be made
      type: int
      sample: 53687091200
    seconds:
      description: How long it took.
      type: float
      sample: 12.3
    moved_aside_to:
      description: Where the replaced data directory is now, or null.
      type: str
      sample: /var/lib/postgresql/17/main.replaced-20260131T120000Z
    job:
      description: What to give to O(job).
      returned: if the copy still runs
      type: str
      sample: 3f2b8c0de6a94b0f8a6cf8f2d7f0b4a1
    progress:
      description: How far it is, as RV(walstream.postgresql.data_directory_info#module:data_directory_info.clone).
      returned: if the copy still runs
      type: dict
      sample: {phase: copying, bytes_done: 1048576, bytes_total: 2147483648}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.flow import Basebackup
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.options import Options
from ansible_collections.walstream.postgresql.plugins.module_utils._module import Module, run

FORESEEN = {
    "system_identifier": {"type": "str", "required": True},
    "timeline": {"type": "int", "required": True},
    "version": {"type": "int", "required": True},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    return Basebackup(Options.from_params(module.params, module.check_mode), module.check_mode).run()


def main() -> None:
    spec: dict[str, dict[str, Any]] = {
        "data_directory": {"type": "str", "required": True},
        "upstream": {"type": "dict", "required": True},
        "password": {"type": "str", "no_log": True},
        "slot": {"type": "str"},
        "wal_directory": {"type": "str"},
        "tablespace_mapping": {"type": "dict", "default": {}},
        "max_rate": {"type": "str"},
        "checkpoint": {"type": "str", "choices": ["fast", "spread"], "default": "fast"},
        "compression": {"type": "str"},
        "verify": {"type": "bool", "default": True},
        "standby": {"type": "bool", "default": True},
        "owner": {"type": "str", "default": "postgres"},
        "bin_directory": {"type": "str"},
        "replace": {"type": "str"},
        "source_bytes": {"type": "int"},
        "source_tablespaces": {"type": "list", "elements": "str"},
        "foreseen": {"type": "dict", "options": FORESEEN},
        "timeout": {"type": "float", "default": 0},
        "wait": {"type": "float"},
        "job": {"type": "str"},
    }
    run(Module(spec, supports_check_mode=True), work, unreturned=("password",))


if __name__ == "__main__":
    main()
