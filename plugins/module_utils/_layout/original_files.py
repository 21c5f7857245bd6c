# SPDX-License-Identifier: GPL-3.0-or-later
"""The three configuration files that belong to a data directory: its own, or else made from PostgreSQL's samples."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory import (
    initial_configuration as initial,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.base import Paths
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system import time_zone
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import Runner

MAIN, HBA, IDENT = "postgresql.conf", "pg_hba.conf", "pg_ident.conf"


def originals(paths: Paths, locale: str, chosen: Mapping[str, str], run: Runner) -> dict[str, str]:
    """Their texts by name."""
    with User.named(paths.owner).effective():  # no further than a link of that user may lead
        own = {name: files.read(os.path.join(paths.data_directory, name)) for name in (MAIN, HBA, IDENT)}
    if all(text is not None for text in own.values()):
        return {name: text or "" for name, text in own.items()}
    share = _samples_folder(paths, run)
    samples = {name: _sample(name, share, paths) for name, text in own.items() if text is None}
    made = {
        MAIN: lambda text: initial.with_values(
            text,
            {
                **initial.initdb_values(paths.version or 0, locale, time_zone.of_this_host() or "Etc/UTC"),
                **chosen,
            },
        ),
        HBA: initial.hba_from_sample,
        IDENT: lambda text: text,
    }
    return {name: made[name](samples[name]) if text is None else text for name, text in own.items()}


def _samples_folder(paths: Paths, run: Runner) -> str:
    """initdb knows where its samples are, wherever the distribution moved them."""
    shown = run([os.path.join(paths.bin_directory, "initdb"), "--show", "-D", paths.data_directory])
    return next((line[11:] for line in shown.stderr.splitlines() if line.startswith("share_path=")), "")


def _sample(name: str, folder: str, paths: Paths) -> str:
    text = files.read(os.path.join(folder, f"{name}.sample"))
    if not folder or text is None:
        raise WalstreamError(
            f"the cluster in {paths.data_directory} has no {name}, and PostgreSQL's sample of it is not in "
            f"'{folder}': reinstall the server package, or put the file into {paths.config_directory}"
        )
    return text
