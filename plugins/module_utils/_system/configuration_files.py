# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and replacing a cluster's configuration files, with the right owner and mode from the first moment."""

from __future__ import annotations

import contextlib
import os
import stat
from contextlib import AbstractContextManager

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system import files
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User


def read(path: str) -> str | None:
    """The text of a file, or None where it does not exist. Bytes that are not UTF-8 survive a round trip."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise WalstreamError(f"cannot read {path}: {error.strerror}") from None


def list_directory(path: str) -> list[str] | None:
    """The names in a directory, or None where it does not exist."""
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise WalstreamError(f"cannot read the directory {path}: {error.strerror}") from None


def acting_as(name: str) -> AbstractContextManager[None]:
    """Read what the server reads with its user's rights: its files may include others that only root can read.

    In check mode there may be no such user yet, and then no files of its own either.
    """
    try:
        return User.named(name).effective()
    except WalstreamError:
        return contextlib.nullcontext()


def write(path: str, text: str, owner: User, mode: int, group: int | None = None) -> None:
    """Put `text` into a file of the server's user, or leave the old one whole: a new file beside it, then a rename.

    A symbolic link at `path` is replaced, not followed.
    """
    try:
        with _as_owner_of(os.path.dirname(path), owner):
            _replace(path, text, owner.uid, owner.gid if group is None else group, mode)
    except OSError as error:
        raise WalstreamError(f"cannot write {path}: {error.strerror}") from None


def rewrite(path: str, text: str, owner: User) -> None:
    """Give a file that exists another text. Its owner and mode stay, and a link still leads to it."""
    real = os.path.realpath(path)
    try:
        state = os.stat(real)
        # A link in a folder of the server's user leads no further than that user may go.
        with _as_owner_of(os.path.dirname(path), owner), _as_owner_of(os.path.dirname(real), owner):
            _replace(real, text, state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode))
    except OSError as error:
        raise WalstreamError(f"cannot write {path}: {error.strerror}") from None


def _replace(path: str, text: str, uid: int, gid: int, mode: int) -> None:
    directory, name = os.path.split(path)
    new = os.path.join(directory, f".{name}.new")  # no include_dir reads a name that begins with a dot
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)  # of an interrupted attempt
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        state = os.fstat(descriptor)
        if (state.st_uid, state.st_gid) != (uid, gid):
            os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    os.rename(new, path)
    files.sync_directory(directory)


def remove(path: str, owner: User) -> None:
    """Remove a file that may be there."""
    try:
        with _as_owner_of(os.path.dirname(path), owner), contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    except OSError as error:
        raise WalstreamError(f"cannot remove {path}: {error.strerror}") from None


def make_directory(path: str, owner: User, mode: int) -> None:
    """Create one directory with this owner and mode; one that exists stays as it is."""
    try:
        with contextlib.suppress(FileExistsError):
            files.make_directory(path, owner, mode)
    except OSError as error:
        raise WalstreamError(f"cannot create the directory {path}: {error.strerror}") from None


def make_directories(path: str, owner: User, mode: int) -> None:
    """Create a directory and what is missing above it."""
    if not os.path.isdir(path):
        make_directories(os.path.dirname(path), owner, mode)
        make_directory(path, owner, mode)


def _as_owner_of(directory: str, owner: User) -> AbstractContextManager[None]:
    """Act as the server's user where the directory is that user's.

    Root at work in a directory that another account controls could be led astray by a link planted there.
    """
    if os.stat(directory).st_uid == owner.uid:
        return owner.effective()
    return contextlib.nullcontext()
