# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where a module's errors become Ansible's `fail_json`."""

from __future__ import annotations

from typing import Any, Callable, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError


def run(module: AnsibleModule, work: Callable[[AnsibleModule], dict[str, Any]]) -> NoReturn:
    """Exit with what `work` returns, or fail with the sentence of the error that it raises."""
    try:
        result = work(module)
    except WalstreamError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)
