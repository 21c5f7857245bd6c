# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_basebackup and pg_verifybackup say when a copy fails, and the cure for it. Pure.

What they have in common with any other login at the upstream is explained by `login_errors`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ansible_collections.walstream.postgresql.plugins.module_utils._upstream.login_errors import (
    UpstreamNames,
    explain,
)

_CURES = (
    (r"No space left on device|Disk quota exceeded", "free space on this host, and run again"),
    (
        r"checksum verification failed|checksum error",
        "this page of the upstream is damaged: repair or restore it there before anything is cloned from it",
    ),
    (
        r"requested WAL segment|can no longer get changes|can no longer access|invalidat|obsolete",
        "the upstream removed WAL while it was copied: make the slot anew, and raise max_slot_wal_keep_size there "
        "or copy faster",
    ),
    (
        r"terminating|server closed the connection|connection to server was lost|could not receive data|"
        r"unexpected termination|SSL SYSCALL|background (WAL receiver|process) terminated|child process|EOF detected|"
        r"Connection reset|Connection timed out|COPY stream ended|COPY data",
        "the connection to the upstream ended during the copy: see the upstream's log, and run again",
    ),
    (r"was promoted during", "the upstream was promoted during the copy: run again"),
    (r"full_page_writes", "turn full_page_writes on at the primary, and run again"),
    (r"Permission denied", "give the server's user the right to write there, and run again"),
    (r"exists but is not empty", "empty it or choose another directory, and run again"),
    (
        r"unrecognized|invalid|not supported|must be in range",
        "correct the option that this comes from, and run again",
    ),
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), cure) for pattern, cure in _CURES)

_PROGRAM = re.compile(r"^pg_\w+: (?:(?:error|fatal|warning): )?")
_TELLING = re.compile(r"\b(error|fatal|panic|could not|failed|terminated|No space left)\b", re.IGNORECASE)
_DAMAGED_PAGE = re.compile(r'checksum verification failed in (?:file )?"([^"]+)", block (\d+)')


def explain_copy(lines: Iterable[str], upstream: UpstreamNames) -> str:
    """Why a copy failed and what to do, as one sentence."""
    reason = reason_in(lines)
    cure = next((cure for pattern, cure in _COMPILED if pattern.search(reason)), None)
    return f"{reason}: {cure}" if cure else explain(None, reason, upstream)


def reason_in(lines: Iterable[str]) -> str:
    """The line that tells why a program failed, without the program's name.

    The first complaint is the cause, and what follows are its consequences. A damaged page is named by the
    server in a warning, before the error that says only that there was one.
    """
    texts = [" ".join(line.split()) for line in lines if line.strip()]
    for text in texts:
        page = _DAMAGED_PAGE.search(text)
        if page:
            return f"checksum verification failed in the upstream's file '{page[1]}', block {page[2]}"
    telling = [text for text in texts if _TELLING.search(text)]
    return _PROGRAM.sub("", (telling or texts or ["it ended without a word"])[0])
