# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and replacing a cluster's configuration files, with the right owner and mode from the first moment."""

from __future__ import annotations

import contextlib
import os
import stat
from contextlib import AbstractContextManager

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system import files, folders
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
        with folders.entered(os.path.dirname(path), owner) as folder:
            gid = owner.gid if group is None else group
            _replace(folder, os.path.basename(path), text, uid=owner.uid, gid=gid, mode=mode)
    except OSError as error:
        raise WalstreamError(f"cannot write {path}: {error.strerror}") from None


def rewrite(path: str, text: str, owner: User) -> None:
    """Give a file that exists another text. Its owner and mode stay, and a link still leads to it."""
    try:
        # A link in a folder of the server's user leads no further than that user may go.
        with folders.entered(os.path.dirname(path), owner):
            real = os.path.realpath(path)
            with folders.entered(os.path.dirname(real), owner) as folder:
                name = os.path.basename(real)
                state = os.stat(name, dir_fd=folder, follow_symlinks=False)
                if not stat.S_ISREG(state.st_mode):
                    raise WalstreamError(f"cannot write {path}: it is not a regular file")
                mode = stat.S_IMODE(state.st_mode)
                _replace(folder, name, text, uid=state.st_uid, gid=state.st_gid, mode=mode)
    except OSError as error:
        raise WalstreamError(f"cannot write {path}: {error.strerror}") from None


def _replace(folder: int, name: str, text: str, *, uid: int, gid: int, mode: int) -> None:
    """`folder` is a descriptor, so that nobody can exchange the directory while we are at work in it."""
    new = f".{name}.new"  # no include_dir reads a name that begins with a dot
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=folder)  # of an interrupted attempt
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            state = os.fstat(descriptor)
            if (state.st_uid, state.st_gid) != (uid, gid):
                os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise
    os.fsync(folder)


def remove(path: str, owner: User) -> None:
    """Remove a file that may be there."""
    try:
        with contextlib.suppress(FileNotFoundError), folders.entered(os.path.dirname(path), owner) as folder:
            os.unlink(os.path.basename(path), dir_fd=folder)
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
