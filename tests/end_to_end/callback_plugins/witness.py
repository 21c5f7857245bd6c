# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes down what a run did, for tests to read, and kills it where a test wants that.

WITNESS_FILE    one JSON object a line: tasks as they start, failures, warnings, and the final counts
WITNESS_KILL    kill -9 the run's whole process group when this many tasks have started,
                or when a task whose name ends with this text starts
"""

from __future__ import annotations

import json
import os
import signal

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: witness
type: aggregate
short_description: Writes down what a run did, and kills it where a test wants that
description: For the tests of this collection only.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "witness"

    def __init__(self):
        super().__init__()
        self._started = 0
        self._path = os.environ["WITNESS_FILE"]
        self._kill = os.environ.get("WITNESS_KILL", "")

    def _write(self, **what):
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(what, default=str) + "\n")

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._started += 1
        name = task.get_name()
        self._write(task=name)
        if self._kill and (self._kill == str(self._started) or name.endswith(self._kill)):
            os.killpg(os.getpgrp(), signal.SIGKILL)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if not ignore_errors:
            self._failed(result)

    def v2_runner_item_on_failed(self, result):
        self._failed(result)

    def v2_runner_on_unreachable(self, result):
        self._failed(result)

    def _failed(self, result):
        # A loop's own failure only says that one of its items failed.
        if "results" not in result.result:
            self._write(failed=result.host.get_name(), by=result.task.get_name(), result=result.result)

    def v2_runner_on_ok(self, result):
        self._write(ok=result.host.get_name(), by=result.task.get_name(), result=result.result)

    def v2_playbook_on_stats(self, stats):
        hosts = {host: stats.summarize(host) for host in stats.processed}
        self._write(stats=hosts)
