# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a clone is prepared: beside the data directory, or inside one that cannot be renamed."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

from ansible_collections.walstream.postgresql.plugins.module_utils._clone.rights import (
    PARENT_MODE,
    Rights,
    check_trusted,
    make_folder,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._clone.workspace import Workspace
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    NOT_DATA,
    DataDirectory,
    State,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import (
    OWNER_ONLY,
    may_write,
    nearest_existing,
    take_directory,
)

_SERVER_MODES = (0o700, 0o750)


def workspace_for(disk: DataDirectory, owner: User) -> Workspace:
    """The workspace that is there, or the one that would be made."""
    inside = Workspace.of(disk.real_path, True, owner)
    beside = Workspace.of(disk.real_path, False, owner)
    return inside if _is_in_place(disk, inside, beside, owner) else beside


def take(disk: DataDirectory, workspace: Workspace) -> tuple[Workspace, int | None]:
    """Make the workspace and lock it; no lock if another clone was faster."""
    owner, parent = workspace.rights.owner, os.path.dirname(disk.real_path)
    if workspace.in_place:
        _take_mount_point(disk.real_path, owner)
    elif not os.path.isdir(parent):
        make_folder(parent, owner, PARENT_MODE)
    workspace = replace(workspace, rights=Rights.over(os.path.dirname(workspace.path), owner))
    workspace.create()
    return workspace, workspace.try_lock()


def _is_in_place(disk: DataDirectory, inside: Workspace, beside: Workspace, owner: User) -> bool:
    """What cannot be renamed is cloned into where it is: a mount point, or a directory in somebody else's."""
    if beside.exists():
        return False
    if disk.cannot_be_renamed or os.path.isdir(inside.path):
        return True
    parent = nearest_existing(os.path.dirname(disk.real_path))
    return disk.state is State.EMPTY and os.geteuid() != 0 and not may_write(parent, owner)


def _take_mount_point(path: str, owner: User) -> None:
    """A new file system belongs to root and is open to all; a server accepts neither."""
    entry = os.stat(path)
    wrong = entry.st_uid != owner.uid or stat.S_IMODE(entry.st_mode) not in _SERVER_MODES
    if wrong and not set(os.listdir(path)) - NOT_DATA:
        if owner.must_switch:
            check_trusted(os.path.dirname(path), owner)
        take_directory(path, owner, OWNER_ONLY, expected_uid=entry.st_uid)
