# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may log in: pg_hba.conf with our block at its top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import hba_block
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User


@dataclass(frozen=True)
class RulesFile:
    """pg_hba.conf as it is and as it should be."""

    path: str
    before: str
    after: str

    @classmethod
    def planned(cls, path: str, rules: Sequence[str] | None, owner: User) -> RulesFile:
        """None leaves our block as it is. A file that is not there yet is empty, and has nothing to keep."""
        with owner.effective():
            before = files.read(path) or ""
        return cls(path, before, before if rules is None else hba_block.with_rules(before, rules))

    @property
    def is_settled(self) -> bool:
        return self.before == self.after

    def install(self, owner: User) -> None:
        files.rewrite(self.path, self.after, owner)

    def put_back(self, owner: User) -> None:
        files.rewrite(self.path, self.before, owner)

    def difference(self) -> dict[str, str]:
        return {
            "before_header": self.path,
            "after_header": self.path,
            "before": self.before,
            "after": self.after,
        }
