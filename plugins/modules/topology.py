#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: topology
short_description: Check the declared replication topology, and plan each node of it
description:
  - Reads the inventory groups C(primary) and C(replica) and the variables of their hosts, and fails with
    one sentence where they contradict each other, such as two primaries, an unknown upstream, or two
    replicas on one slot.
  - With O(found) it also holds them against what M(walstream.postgresql.cluster_info) discovered and
    refuses where going on could cost data, such as a live primary that is listed as replica.
  - A result with the key C(outside) set to true is one of a host that this run does nothing to. What it could not tell
    about that host is not taken for absent.
  - Runs on the controller and touches no host. It never returns a password.
version_added: 0.1.0
author: Walstream contributors (@walstream)
options:
  found:
    description: Name of the variable under which the results of M(walstream.postgresql.cluster_info) are registered.
    type: str
attributes:
  check_mode:
    support: full
    description: Reads only, so it does the same in check mode.
  diff_mode:
    support: none
    description: Reads only, so there is no difference to show.
  platform:
    support: full
    description: Runs on the controller, whatever the hosts are.
    platforms: all
seealso:
  - module: walstream.postgresql.cluster_info
"""

EXAMPLES = r"""
- name: Discover what each host has
  walstream.postgresql.cluster_info:
  become: true
  register: discovered

- name: Hold the inventory against what was found
  walstream.postgresql.topology:
    found: discovered
  register: plan
"""

RETURN = r"""
topology:
  description: The declared topology.
  returned: success
  type: dict
  contains:
    primary:
      description: Inventory name of the primary.
      type: str
      sample: postgres-primary
    levels:
      description: The replicas in the order in which they can be built; each level streams from the one before.
      type: list
      elements: list
      sample: [[postgres-replica]]
    synchronous_standby_names:
      description: The value of C(synchronous_standby_names) once all synchronous replicas stream.
      type: str
      sample: ANY 1 ("replica-1")
    synchronous_is_due:
      description: Whether a synchronous replica is not among those that commits wait for now.
      type: bool
      sample: false
    is_as_declared:
      description: With O(found), whether nothing is due on any node, apart from looking at certificates.
      type: bool
      sample: true
    nodes:
      description:
        - For each node its C(role), C(port), C(slot), C(upstream) (libpq keywords), C(upstream_name),
          C(application_name), C(downstreams), C(settings), C(defaults) and C(hba) lines.
        - With O(found), C(due) has the steps to come, each with its reason, and C(proved) what this look has proved.
        - C(at_own_pace) is true for a new replica of the primary that needs nothing but a clone.
        - C(depends_on) names the nodes that must be looked at to plan for it, and C(place) says where its cluster is.
      type: dict
      sample:
        postgres-replica:
          role: replica
          port: 5432
          slot: replica_physical_slot
          upstream_name: postgres-primary
    report:
      description:
        - With O(found), what there is to say of each host of the play, or of this host alone unless
          C(cluster_play_is_whole) is true.
        - C(due) has the steps to come, each with its reason. C(proved) says what this look has proved.
        - C(privileges) says what the replication user may do beyond replicating.
      type: dict
      sample:
        postgres-replica:
          due:
            slot: "'postgres-primary' has no slot 'replica_physical_slot'"
"""
