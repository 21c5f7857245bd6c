# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of `basebackup`: ask again while the copy runs, and tell how far it is."""

from __future__ import annotations

import os
import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.walstream.postgresql.plugins.module_utils._clone import progress
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.progress import Progress

MODULE = "walstream.postgresql.basebackup"
FIRST_LOOK = 4.0
LONGEST_LOOK, LONGEST_UNWATCHED = 5.0, 15.0
"""Seconds that one call waits. Each call costs the hosts time that the copy could use, so they get longer, and the
first one is long enough for a small cluster to need no other."""

RECONNECT_FOR = 60.0
"""Seconds for which a lost connection is tried again: the copy goes on without us meanwhile."""

display = Display()


class ActionModule(ActionBase):
    """Runs the module once if there is nothing to wait for, and else again and again for a few seconds each."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if self._task.async_val or arguments.get("wait") is not None:
            return self._call(arguments, task_vars)
        look, said = FIRST_LOOK, None
        live = _somebody_watches()
        while True:
            result = self._call({**arguments, "wait": look}, task_vars)
            found = result.get("basebackup") or {}
            if found.get("action") != "cloning" or self._task.check_mode:
                return result
            arguments["job"] = found.get("job")
            said = self._tell(found, said, live)
            look = min(look * 2, LONGEST_LOOK if live else LONGEST_UNWATCHED)

    def _call(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Call the module; once it has begun, a lost connection is no reason to give up."""
        deadline = time.monotonic() + RECONNECT_FOR
        while True:
            try:
                return self._execute_module(
                    module_name=MODULE,
                    module_args=arguments,
                    task_vars=task_vars,
                    wrap_async=self._task.async_val,
                )
            except AnsibleConnectionFailure:
                if not arguments.get("job") or time.monotonic() > deadline:
                    raise
                time.sleep(2)

    def _tell(self, found: dict[str, Any], said: Progress | None, live: bool) -> Progress | None:
        """Display a line if there is something new to say; returns what was said last."""
        report = found.get("progress")
        if not report:
            return said
        current = Progress.from_dict(report["details"])
        if not progress.worth_saying(said, current, live):
            return said
        host = self._task.delegate_to or self._templar.available_variables.get("inventory_hostname", "")
        display.display(f"{host} | {report['text']}")
        return current


def _somebody_watches() -> bool:
    """Whether the output goes to a terminal. This process has none of its own, so its parent's is looked at."""
    try:
        return os.readlink(f"/proc/{os.getppid()}/fd/1").startswith(("/dev/pts/", "/dev/tty"))
    except OSError:
        return False
