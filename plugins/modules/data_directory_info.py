#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: what a data directory on disk is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: data_directory_info
short_description: What a data directory on disk is
description:
  - Tells from the control file and the signal files whether a directory is absent, empty, the rest of an interrupted
    copy, a primary or a standby, without asking a server and without changing anything.
  - C(PG_VERSION) is not believed, since an interrupted C(pg_basebackup) leaves it behind.
  - Also tells whether a server runs on it, and how far a clone into it is (M(walstream.postgresql.basebackup)).
version_added: 0.1.0
options:
  data_directory:
    description: Absolute path of the data directory.
    type: str
    required: true
  owner:
    description: System account of the server.
    type: str
    default: postgres
  bin_directory:
    description: Folder of C(pg_controldata). By default the packages' for the directory's version, or from C(PATH).
    type: str
seealso:
  - module: walstream.postgresql.basebackup
author:
  - The walstream authors (@walstream)
extends_documentation_fragment:
  - walstream.postgresql.attributes.reads
notes:
  - A server that runs in another container on the same volume cannot be seen from here, unless the containers share
    their processes.
"""

EXAMPLES = r"""
- name: Look at a data directory
  walstream.postgresql.data_directory_info:
    data_directory: /var/lib/postgresql/17/main
  register: _found

- name: Show how far its clone is
  ansible.builtin.debug:
    msg: "{{ _found.data_directory_info.clone.text | default('no clone') }}"
"""

RETURN = r"""
data_directory_info:
  description: What was found.
  returned: success
  type: dict
  contains:
    path:
      description: The path that was asked about.
      type: str
      sample: /var/lib/postgresql/17/main
    real_path:
      description: Where it leads, symbolic links resolved.
      type: str
      sample: /data/17
    state:
      description:
        - V(absent), V(empty) (apart from C(lost+found)), V(partial) (the rest of an interrupted copy, without a
          control file), V(primary) (a cluster that is no standby), V(standby), or V(unknown).
        - V(unknown) is everything that must not be overwritten because it is not understood, such as a damaged
          control file, foreign files, a file in the place of the directory, a symbolic link that leads nowhere.
      type: str
      sample: standby
    reason:
      description: The state in words that go on after the path.
      type: str
      sample: holds a standby
    version:
      description: Major version of the cluster.
      type: int
      sample: 17
    system_identifier:
      description: Identifies the cluster. The same on a primary and on each of its standbys.
      type: str
      sample: "7288214098123412345"
    timeline:
      description: The newest timeline that it is known to have reached.
      type: int
      sample: 1
    control_state:
      description: How its server was last seen.
      type: str
      sample: in archive recovery
    checkpoint_lsn:
      description: Position of the latest checkpoint record.
      type: str
      sample: 0/5000098
    minimum_recovery_lsn:
      description: The position to which a standby must at least recover. Null on a primary.
      type: str
      sample: 0/6000148
    data_checksums:
      description: Whether its pages have checksums.
      type: bool
      sample: true
    running:
      description: Whether a process of a server works in it.
      type: bool
      sample: false
    stale_pid_file:
      description: Whether a C(postmaster.pid) names a server that does not run here.
      type: bool
      sample: false
    backup_label:
      description: Whether it is a base backup that no server has recovered yet.
      type: bool
      sample: true
    recovery_signal:
      description: Whether C(recovery.signal) is there.
      type: bool
      sample: false
    standby_signal:
      description: Whether C(standby.signal) is there.
      type: bool
      sample: true
    is_mount_point:
      description: Whether a file system is mounted there, so that it cannot be renamed.
      type: bool
      sample: false
    wal_directory:
      description: Where C(pg_wal) leads, if it is a symbolic link.
      type: str
      sample: /wal/17
    tablespaces:
      description: Where each tablespace is, by its OID.
      type: dict
      sample: {"16385": /ssd/reports}
    clone:
      description: A clone into it that runs, or the rest of one. Null if there is none.
      type: dict
      contains:
        state:
          description: V(running), V(interrupted), V(complete) (waits to be put into its place) or V(ended).
          type: str
          sample: running
        path:
          description: The folder in which the copy is made.
          type: str
          sample: /var/lib/postgresql/17/.main.clone
        phase:
          description: What it is doing.
          type: str
          sample: copying
        bytes_done:
          description: Bytes copied so far.
          type: int
          sample: 1073741824
        bytes_total:
          description: The upstream's estimate of all bytes, or null.
          type: int
          sample: 2147483648
        percent:
          description: The part that is done.
          type: int
          sample: 50
        bytes_per_second:
          description: The rate so far.
          type: int
          sample: 104857600
        seconds_left:
          description: At this rate, or null.
          type: float
          sample: 10.2
        upstream:
          description: Where it copies from.
          type: str
          sample: primary.example.com, port 5432
        details:
          description: The same as the clone itself keeps it, with its times in seconds since the epoch.
          type: dict
          sample: {phase: copying, started: 1769860800.0, updated: 1769860810.5}
        text:
          description: All of it in a line.
          type: str
          sample: copying 1.0 GiB of 2.0 GiB (50 %), 100 MiB/s, 10 s left
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.reporter import read_progress
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.inspection import inspect
from ansible_collections.walstream.postgresql.plugins.module_utils._module import Module, run
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User


def work(module: AnsibleModule) -> dict[str, Any]:
    owner = User.named(module.params["owner"])
    disk = inspect(module.params["data_directory"], owner, module.params["bin_directory"])
    clone = read_progress(disk.real_path, owner, time.time())
    return {"changed": False, "data_directory_info": {**disk.as_dict(), "clone": clone}}


def main() -> None:
    spec: dict[str, dict[str, Any]] = {
        "data_directory": {"type": "str", "required": True},
        "owner": {"type": "str", "default": "postgres"},
        "bin_directory": {"type": "str"},
    }
    run(Module(spec, supports_check_mode=True), work)


if __name__ == "__main__":
    main()
