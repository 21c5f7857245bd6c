# SPDX-License-Identifier: GPL-3.0-or-later
"""Our block of pg_hba.conf: rules between two marks, at the top of a file whose other lines are not ours. Pure.

It comes first because the first rule that matches decides (manual, "The pg_hba.conf File"). The marks are those of
`ansible.builtin.blockinfile`, so that people recognise them.
"""

from __future__ import annotations

from collections.abc import Sequence

BEGIN = "# BEGIN managed by Ansible: walstream.postgresql"
END = "# END managed by Ansible: walstream.postgresql"


def rules_of(text: str) -> list[str]:
    """The rules of our block; none where it is not at the top, or is not there."""
    lines = text.split("\n")
    if lines[0] != BEGIN or END not in lines:
        return []
    return lines[1 : lines.index(END)]


def with_rules(text: str, rules: Sequence[str]) -> str:
    """The file with exactly these rules of ours, and every other line as it was."""
    others = _without_blocks(text.split("\n"))
    block = [BEGIN, *rules, END] if rules else []
    return "\n".join([*block, *others])


def _without_blocks(lines: Sequence[str]) -> list[str]:
    """A mark without its partner goes alone: what stands near it may be somebody else's."""
    kept: list[str] = []
    begun: int | None = None
    for line in lines:
        if line == END:
            if begun is not None:
                del kept[begun:]
            begun = None
        elif line == BEGIN:
            begun = len(kept)
        else:
            kept.append(line)
    return kept
