# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret for a program that reads it from a file: one without a name, so that no run can leave it behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User


@contextlib.contextmanager
def in_memory(secret: str | None, reader: User) -> Iterator[int | None]:
    """The descriptor of a file with `secret`, for a program that runs as `reader` and inherits it.

    That opens the file anew by `path_of`, so it has to be its user's. None where there is no secret, and where the
    system has no such files: they are Linux's, and the kernel's vm.memfd_noexec can forbid them.
    """
    if secret is None:
        yield None
        return
    try:
        with reader.effective():
            descriptor = os.memfd_create("secret")
    except (AttributeError, OSError):
        yield None
        return
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, secret.encode())
        yield descriptor
    finally:
        os.close(descriptor)


def path_of(descriptor: int) -> str:
    """Where a process finds the file behind one of its own descriptors."""
    return f"/proc/self/fd/{descriptor}"
