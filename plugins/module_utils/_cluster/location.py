# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything of a cluster is: its files, its port, its socket. From the disk, whether a server runs or not."""

from __future__ import annotations

import shutil
from typing import Any

from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.base import Layout, Paths, Wish
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.host import (
    Host,
    discover,
    parse_version,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import guc_file, hba_block
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.postmaster import (
    Postmaster,
    running_postmaster,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.server import Login
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User, current_user
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import system_runner

DEFAULT_PORT = 5432

SETTINGS = (
    *("wal_level", "max_wal_senders", "max_replication_slots", "max_connections", "max_worker_processes"),
    *("max_prepared_transactions", "max_locks_per_transaction", "wal_keep_size", "max_slot_wal_keep_size"),
    *("hot_standby", "hot_standby_feedback", "recovery_min_apply_delay", "primary_slot_name", "cluster_name"),
    *("synchronous_standby_names", "synchronous_commit", "listen_addresses", "port", "password_encryption"),
    *("wal_log_hints", "data_checksums", "full_page_writes", "archive_mode", "ssl", "shared_buffers"),
    *("timezone", "log_timezone", "datestyle", "default_text_search_config"),
    *("lc_messages", "lc_monetary", "lc_numeric", "lc_time"),
)
"""The parameters that decisions about replication are made on, and those that initdb chooses for a host."""


def look_around() -> Host:
    """This host. Programs are asked only for what no name of a folder tells."""
    run = system_runner(current_user())
    return discover(
        version_of=lambda folder: parse_version(run([f"{folder}/postgres", "--version"]).stdout),
        apt_policy=lambda: (
            run(["apt-cache", "policy", "postgresql"]).stdout if shutil.which("apt-cache") else ""
        ),
    )


def owner_of(wish: Wish) -> User | None:
    """The server's account; None on a host that does not have it yet."""
    try:
        return User.named(wish.owner)
    except WalstreamError:
        return None


def located(layout: Layout, owner: User | None, port: int | None = None) -> dict[str, Any]:
    """Where everything of a cluster is, which `cluster` returns too."""
    paths = layout.paths
    configuration = paths.configuration()
    postmaster = running_postmaster(paths.data_directory)
    return {
        "layout": layout.name,
        "version": paths.version,
        "cluster": paths.cluster,
        "bin_directory": paths.bin_directory,
        "data_directory": paths.data_directory,
        **configuration_facts(paths, configuration),
        "service": layout.service(owner).name if owner and paths.bin_directory else None,
        "port": configured_port(configuration, port),
        "socket_directory": socket_directory(postmaster, configuration),
    }


def configuration_facts(paths: Paths, configuration: guc_file.Configuration) -> dict[str, Any]:
    """The files that other tasks and people look for."""
    hba_file = paths.file_named("hba_file", "pg_hba.conf", configuration)
    with files.acting_as(paths.owner):
        ours = guc_file.parse(files.read(paths.settings_file) or "")
        automatic = guc_file.parse(files.read(paths.auto_file) or "")
        rules = hba_block.rules_of(files.read(hba_file) or "")
    winners = {**configuration.effective(), **{setting.name: setting for setting in automatic}}
    beneath = configuration.effective(without={paths.settings_file})
    return {
        "config_directory": paths.config_directory,
        "config_file": paths.config_file,
        "settings_file": paths.settings_file,
        "hba_file": hba_file,
        "managed_hba": rules,
        "ident_file": paths.file_named("ident_file", "pg_ident.conf", configuration),
        "log_file": paths.log_file,
        "configured": paths.has_configuration,
        "configuration_problems": list(configuration.problems),
        "managed_settings": {setting.name: guc_file.masked(setting.value) for setting in ours},
        "overridden_settings": sorted(
            setting.name
            for setting in ours
            if setting.name not in winners or winners[setting.name].file != paths.settings_file
        ),
        "settings_beneath": {name: beneath[name].value for name in SETTINGS if name in beneath},
    }


def configured_port(configuration: guc_file.Configuration, wanted: int | None) -> int:
    said = configuration.value("port")
    return int(said) if said.isdigit() else wanted or DEFAULT_PORT


def socket_directory(postmaster: Postmaster | None, configuration: guc_file.Configuration) -> str:
    """Where the server listens, or will; empty for the default that was built in."""
    if postmaster:
        return postmaster.socket_directory
    return configuration.value("unix_socket_directories").split(",")[0].strip().strip('"')


def local_login(postmaster: Postmaster, owner: str) -> Login:
    """The superuser's login to a running server. One without sockets is reached over the loopback address."""
    return Login.local(postmaster.port, owner, postmaster.socket_directory or "localhost")
