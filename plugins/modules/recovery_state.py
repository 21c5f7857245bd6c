#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module: asserts that a server is the standby or the primary it should be, and waits for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_state
short_description: Assert and wait for the state of a standby or a primary
description:
  - Succeeds as soon as the server meets everything that is asked of it, all at the same moment. Changes nothing.
  - Fails when O(timeout) is over. The message names each expectation that is not met, what was seen instead, and, on
    the standby's own host, why it cannot stream. For that the module tries a replication login as the server would,
    and only when it has already failed.
version_added: 0.1.0
options:
  state:
    description: Whether the server is to be in recovery (V(standby)) or not (V(primary)).
    type: str
    choices: [primary, standby]
    default: standby
  streaming:
    description: Whether a standby's WAL receiver must be streaming. V(false) does not ask.
    type: bool
    default: true
  upstream:
    description: From whom a standby must receive WAL. Compared with what the receiver reports, word for word.
    type: dict
    suboptions:
      host:
        description: Host name or address, as in C(primary_conninfo).
        type: str
      port:
        description: Port.
        type: int
  slot:
    description: The slot through which a standby must receive WAL.
    type: str
  system_identifier:
    description: The cluster's system identifier. Another one fails at once, because no waiting changes it.
    type: str
  timeline:
    description: The timeline that a primary writes, or a standby has replayed to.
    type: int
  replayed_lsn:
    description:
      - A WAL position that the server must have replayed (a standby) or written (a primary).
      - Given RV(recovery_state.lsn) of its primary, it proves that data arrives.
    type: str
  received_lsn:
    description: A WAL position that a standby must have received. The proof for one with C(recovery_min_apply_delay).
    type: str
  caught_up:
    description:
      - Whether a standby must have replayed what its upstream had when it was first seen to meet everything else. With
        C(recovery_min_apply_delay), it must have received that.
      - The upstream is asked by a login like the standby's own, so the module has to run on the standby's host, as root
        or as the server's user, and O(login_user) has to see C(primary_conninfo).
      - With O(replayed_lsn) the primary itself is the witness, also for a standby that follows another standby.
    type: bool
    default: false
    version_added: 0.6.0
  max_lag_bytes:
    description:
      - How much WAL may be left to replay of what the standby's upstream has, as far as the standby knows.
      - With C(recovery_min_apply_delay), how much may be left to receive.
    type: int
  max_replay_delay:
    description:
      - By how many seconds a standby may show the past, on top of its C(recovery_min_apply_delay).
      - A standby that has replayed all that its upstream has is not late, however long ago the last commit was.
    type: float
  allow_paused:
    description: Whether replay may be paused.
    type: bool
    default: false
  allow_held_back:
    description:
      - Whether a standby may be without its connection while C(recovery_min_apply_delay) holds back WAL that it already
        has, as after a restart, or still have one that O(upstream) and O(slot) do not speak of but its configuration
        does. The server itself connects only after that.
      - Its upstream is then asked by a login like its own, through its slot.
    type: bool
    default: false
    version_added: 0.2.0
  replicas:
    description: Names (C(application_name)) of standbys that must be attached to the server and streaming.
    type: list
    elements: str
    default: []
  encrypted:
    description:
      - Whether the connections of O(replicas) must be encrypted, as the server sees it (C(pg_stat_ssl)).
      - Over a local socket it is looked at, too, whether the server shows the certificate that C(ssl_cert_file) holds
        now. One that could not load a renewed certificate goes on with the old one until that expires.
    type: bool
    default: false
  slots:
    description: Slots of the server that must be in use.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait. V(0) looks once.
    type: float
    default: 30
seealso:
  - module: walstream.postgresql.replication_info
author:
  - The walstream authors (@walstream)
extends_documentation_fragment:
  - walstream.postgresql.attributes.reads
  - walstream.postgresql.login
"""

EXAMPLES = r"""
- name: The primary is one, and its replica is attached through its slot
  walstream.postgresql.recovery_state:
    state: primary
    replicas: [replica1]
    slots: [replica_physical_slot]
  register: primary

- name: The replica follows it, and what the primary has written has arrived
  walstream.postgresql.recovery_state:
    upstream:
      host: db1.example.org
      port: 5432
    slot: replica_physical_slot
    system_identifier: "{{ primary.recovery_state.system_identifier }}"
    timeline: "{{ primary.recovery_state.timeline }}"
    replayed_lsn: "{{ primary.recovery_state.lsn }}"
"""

RETURN = r"""
recovery_state:
  description:
    - What was seen at the last look. The keys are those of
      RV(walstream.postgresql.replication_info#module:replication_info), and RV(recovery_state.unmet).
    - Empty but for RV(recovery_state.unmet) where the server did not answer.
  returned: always, unless the options are wrong
  type: dict
  contains:
    role:
      description: V(standby) or V(primary).
      type: str
      sample: standby
    lsn:
      description: The position that a standby has replayed or a primary has flushed.
      type: str
      sample: 0/3000060
    received_lsn:
      description: The position that a standby has received.
      type: str
      sample: 0/3000060
    system_identifier:
      description: The cluster's system identifier.
      type: str
      sample: "7711510154694615063"
    timeline:
      description: The timeline.
      type: int
      sample: 1
    upstream:
      description: What a standby follows, and the state of its WAL receiver.
      type: dict
      sample: {host: db1.example.org, port: 5432, slot: replica_physical_slot, status: streaming}
    replay:
      description: How a standby replays.
      type: dict
      sample: {pause_state: not paused, apply_delay: 0.0, held_back: false, delay: 0.0, lag_bytes: 0}
    unmet:
      description: A sentence for each expectation that was not met.
      type: list
      elements: str
      sample: []
unmet:
  description: The same as RV(recovery_state.unmet).
  returned: failure
  type: list
  elements: str
  sample: ["no WAL receiver is running"]
causes:
  description: What keeps the server from being as expected, as far as it could be found out.
  returned: failure
  type: list
  elements: str
  sample: ["nobody listens at db1.example.org, port 5432: start the upstream"]
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._module import Module, run
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.lsn import Lsn
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import (
    Login,
    login_argument_spec,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.expectations import Expected
from ansible_collections.walstream.postgresql.plugins.module_utils._replication.proof import prove

AS_THEY_ARE = (
    *("slot", "system_identifier", "timeline", "max_lag_bytes", "max_replay_delay"),
    *("caught_up", "allow_paused", "allow_held_back"),
)
ONLY_FOR_STANDBYS = ("upstream", "slot", "received_lsn", "caught_up", "max_lag_bytes", "max_replay_delay")


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    state = prove(Login.from_params(params), expected(params), params["timeout"])
    return {"changed": False, "recovery_state": state}


def expected(params: Mapping[str, Any]) -> Expected:
    """What the options ask for. An option that says nothing about the state asked for is a mistake."""
    standby = params["state"] == "standby"
    stray = [] if standby else [name for name in ONLY_FOR_STANDBYS if _is_asked(params[name])]
    if stray:
        raise WalstreamError(f"'{stray[0]}' is about a standby and means nothing with 'state: primary'")
    if params["caught_up"] and not params["streaming"]:
        raise WalstreamError(
            "'caught_up' is about a standby that streams and means nothing with 'streaming: false'"
        )
    upstream = params["upstream"] or {}
    return Expected(
        standby=standby,
        streaming=standby and params["streaming"],
        host=upstream.get("host"),
        port=upstream.get("port"),
        replayed_lsn=_lsn(params["replayed_lsn"]),
        received_lsn=_lsn(params["received_lsn"]),
        replicas=tuple(params["replicas"]),
        encrypted=params["encrypted"],
        slots=tuple(params["slots"]),
        **{name: params[name] for name in AS_THEY_ARE},
    )


def _is_asked(value: Any) -> bool:
    """Whether an option says anything; 0 does."""
    return value is not None and value is not False and value != {}


def _lsn(text: str | None) -> Lsn | None:
    return Lsn.parse(text) if text else None


def main() -> None:
    """Spec, build, run, exit."""
    upstream = {"host": {"type": "str"}, "port": {"type": "int"}}
    module = Module(
        argument_spec={
            **login_argument_spec(),
            "state": {"type": "str", "default": "standby", "choices": ["primary", "standby"]},
            "streaming": {"type": "bool", "default": True},
            "upstream": {"type": "dict", "options": upstream},
            **{
                name: {"type": "str"}
                for name in ("slot", "system_identifier", "replayed_lsn", "received_lsn")
            },
            **{name: {"type": "int"} for name in ("timeline", "max_lag_bytes")},
            "caught_up": {"type": "bool", "default": False},
            "max_replay_delay": {"type": "float"},
            "allow_paused": {"type": "bool", "default": False},
            "allow_held_back": {"type": "bool", "default": False},
            "replicas": {"type": "list", "elements": "str", "default": []},
            "encrypted": {"type": "bool", "default": False},
            "slots": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "float", "default": 30},
        },
        supports_check_mode=True,
    )
    run(module, work)


if __name__ == "__main__":
    main()
