# SPDX-License-Identifier: GPL-3.0-or-later
"""What all our modules share: no secret in their log on the host, and one place that turns errors into `fail_json`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Callable, NoReturn

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.secrets import secrets_in

HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
"""Ansible's own words for it."""


class Module(AnsibleModule):
    """An AnsibleModule that writes no secret into the syslog or journal of the host, however deep it lies.

    Ansible logs each invocation there, and hides `no_log` values in the text of a whole dictionary. In that text a line
    break or a backslash is spelt differently: it would find neither a private key nor many a password.
    """

    def _log_invocation(self) -> None:
        self._learn_secrets()
        asked = self.params
        self.params = remove_values(asked, self.no_log_values)
        try:
            super()._log_invocation()
        finally:
            self.params = asked

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn:
        self._learn_secrets()  # where the options themselves are wrong, nothing was logged before
        super().fail_json(msg, **kwargs)

    def _learn_secrets(self) -> None:
        """Secrets where no option says that there is one: in libpq's keywords and in settings."""
        self.no_log_values.update(secrets_in(self.params))


def run(
    module: AnsibleModule, work: Callable[[AnsibleModule], dict[str, Any]], unreturned: Collection[str] = ()
) -> NoReturn:
    """Exit with what `work` returns, or fail with the sentence of the error that it raises.

    `unreturned` names options with `no_log` that nothing of `work` ever returns, and means all that the module has. For
    these Ansible would blot out every text that happens to contain one of their values: beside a password `postgres`,
    every path. Secrets elsewhere in the options stay hidden.
    """
    shown = {name: HIDDEN if name in unreturned else value for name, value in module.params.items()}
    always: dict[str, Any] = {}
    if unreturned:
        always = {"invocation": {"module_args": shown}}
        module.no_log_values.clear()
        module.no_log_values.update(secrets_in(shown))
    try:
        result = work(module)
    except WalstreamError as error:
        module.params = shown
        module.fail_json(msg=str(error), **error.details, **always)
    module.exit_json(**result, **always)
