# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where a module's errors become Ansible's `fail_json`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Callable, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError

HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
"""Ansible's own words for it."""


def run(
    module: AnsibleModule, work: Callable[[AnsibleModule], dict[str, Any]], unreturned: Collection[str] = ()
) -> NoReturn:
    """Exit with what `work` returns, or fail with the sentence of the error that it raises.

    `unreturned` names options with `no_log` that nothing of `work` ever returns. For these Ansible would blot out
    every text that happens to contain one of their values: beside a password `postgres`, every path.
    """
    always: dict[str, Any] = {}
    if unreturned:
        shown = {name: HIDDEN if name in unreturned else value for name, value in module.params.items()}
        always = {"invocation": {"module_args": shown}}
        module.no_log_values.clear()
    try:
        result = work(module)
    except WalstreamError as error:
        module.fail_json(msg=str(error), **error.details, **always)
    module.exit_json(**result, **always)
