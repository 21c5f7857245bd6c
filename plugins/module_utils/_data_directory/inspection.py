# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a data directory from the disk, for `state.classify` to judge. Changes nothing."""

from __future__ import annotations

import os
import stat

from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.state import (
    COMPLETE,
    COPY,
    IN_PLACE_WORKSPACE,
    NOT_DATA,
    Contents,
    Damage,
    DataDirectory,
    State,
    classify,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.control_file import (
    ControlData,
    Damaged,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.programs import (
    Programs,
    find_bin_directory,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system import processes
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import system_runner

_CONTROL_FILE = os.path.join("global", "pg_control")


def inspect(path: str, owner: User, bin_directory: str | None = None) -> DataDirectory:
    """Everything about the data directory at `path`; what stands in the way becomes state `unknown`."""
    real_path, obstacle = _resolve(path, owner)
    names: frozenset[str] = frozenset()
    exists = False
    if not obstacle:
        exists, names, obstacle = _list(real_path)
    version = _version(real_path) if "PG_VERSION" in names else None
    control = None if obstacle else _control(real_path, owner, bin_directory, version)
    contents = Contents(
        exists=exists,
        obstacle=obstacle,
        names=names,
        wal_names=_wal_names(os.path.join(real_path, "pg_wal")) if control is None else frozenset(),
        control=control,
        staged_complete=_is_staged(os.path.join(real_path, IN_PLACE_WORKSPACE)),
    )
    state, reason = classify(contents)
    pid_in_file = _pid_in_file(real_path) if "postmaster.pid" in names else None
    with owner.effective():
        server = processes.server_of(real_path, pid_in_file) if names - NOT_DATA else None
    unfinished = state is State.PARTIAL or (state is State.EMPTY and names - NOT_DATA)
    user = processes.user_of(real_path, owner) if unfinished else None
    return DataDirectory(
        path=path,
        real_path=real_path,
        state=state,
        reason=reason,
        version=version,
        control=control if isinstance(control, ControlData) else None,
        running=server is not None,
        server=str(server) if server else "",
        used_by=str(user) if user else "",
        stale_pid_file="postmaster.pid" in names and server is None,
        backup_label="backup_label" in names,
        recovery_signal="recovery.signal" in names,
        standby_signal="standby.signal" in names,
        is_mount_point=is_mount_point(real_path),
        lost_and_found="lost+found" in names,
        wal_directory=_link(os.path.join(real_path, "pg_wal")),
        tablespaces=_tablespaces(real_path),
    )


def is_mount_point(path: str) -> bool:
    """From the kernel's table: `os.path.ismount` does not see a directory of the same file system bound there."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounted = {_unescape(line.split()[4]) for line in file}
    except OSError:
        return os.path.ismount(path)
    return path in mounted


def _unescape(path: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path


def _resolve(path: str, owner: User) -> tuple[str, str | None]:
    """Where a path leads, unless somebody else's symbolic link leads there."""
    if not os.path.isabs(path):
        raise WalstreamError(f"the data directory '{path}' is not an absolute path: give it from the root on")
    path = os.path.normpath(path)
    try:
        entry = os.lstat(path)
    except FileNotFoundError:
        return os.path.realpath(path), None
    except OSError as error:
        return path, f"cannot be read ({error.strerror})"
    if not stat.S_ISLNK(entry.st_mode):
        return os.path.realpath(path), None
    if entry.st_uid not in {0, owner.uid, os.geteuid()}:
        return path, "is a symbolic link that neither root nor the server's user made"
    real_path = os.path.realpath(path)
    if not os.path.exists(real_path):
        return real_path, f"is a symbolic link to '{real_path}', which does not exist"
    return real_path, None


def _list(path: str) -> tuple[bool, frozenset[str], str | None]:
    try:
        return True, frozenset(os.listdir(path)), None
    except FileNotFoundError:
        return False, frozenset(), None
    except NotADirectoryError:
        return True, frozenset(), "is a file, or lies beneath one, where a directory should be"
    except OSError as error:
        return True, frozenset(), f"cannot be read ({error.strerror})"


def _names(path: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(path))
    except OSError:
        return frozenset()


def _is_staged(workspace: str) -> bool:
    places = (COMPLETE, os.path.join(COPY, _CONTROL_FILE))
    return all(os.path.exists(os.path.join(workspace, place)) for place in places)


def _wal_names(path: str) -> frozenset[str]:
    waiting = {name for name in _names(os.path.join(path, "archive_status")) if name.endswith(".ready")}
    return _names(path) | waiting


def _version(path: str) -> int | None:
    try:
        with open(os.path.join(path, "PG_VERSION"), encoding="ascii", errors="replace") as file:
            return int(file.read(20).strip())
    except (OSError, ValueError):
        return None


def _control(
    path: str, owner: User, bin_directory: str | None, version: int | None
) -> ControlData | Damage | None:
    control_file = os.path.join(path, _CONTROL_FILE)
    try:
        entry = os.lstat(control_file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return Damage(f"whose control file cannot be read ({error.strerror})")
    if not stat.S_ISREG(entry.st_mode):
        return Damage("whose control file is not a file")
    directory = find_bin_directory(bin_directory, version, "pg_controldata")
    if directory is None:
        return Damage(
            f"that cannot be judged without pg_controldata of its version ({version or 'PG_VERSION is missing'}): "
            "install PostgreSQL's server package or point 'bin_directory' at the folder that holds its programs"
        )
    try:
        return Programs(directory, system_runner(_reader(entry, owner))).control_data(path)
    except Damaged as damage:
        return Damage(f"whose control file is damaged: {damage}")


def _reader(entry: os.stat_result, owner: User) -> User:
    """Whoever may read the file: root where its owner is in disorder, which the server would not accept either."""
    if owner.must_switch and entry.st_uid != owner.uid:
        return User("root", 0, 0, "/root")
    return owner


def _pid_in_file(path: str) -> int | None:
    """A server in single-user mode writes its number negated."""
    try:
        with open(os.path.join(path, "postmaster.pid"), encoding="ascii", errors="replace") as file:
            return abs(int(file.readline()))
    except (OSError, ValueError):
        return None


def _link(path: str) -> str | None:
    return os.path.realpath(path) if os.path.islink(path) else None


def _tablespaces(path: str) -> dict[str, str]:
    """Tablespaces by OID: where their symbolic links lead."""
    place = os.path.join(path, "pg_tblspc")
    links = {name: _link(os.path.join(place, name)) for name in sorted(_names(place))}
    return {oid: target for oid, target in links.items() if target}
