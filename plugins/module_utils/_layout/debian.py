# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's and Ubuntu's layout: configuration in /etc/postgresql/VERSION/NAME, apart from the data.

The configuration is made here and not by pg_createcluster, for one reason: where that fails on a data
directory that exists, it cleans up by pg_dropcluster, and the data are gone. What it would have made is
made the same way, the site's createcluster.conf included, so that pg_lsclusters, pg_ctlcluster and
postgresql@.service work as ever. Servers are started by pg_ctl where systemd does not run:
pg_ctlcluster, which does the same, waits two seconds on top.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory import (
    initial_configuration as initial,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.base import (
    INCLUDE,
    Paths,
    Wish,
    installed_in,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.host import Host
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.original_files import (
    HBA,
    IDENT,
    MAIN,
    originals,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._layout.service import (
    PgCtl,
    Service,
    Startup,
    SystemdUnit,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import guc_file
from ansible_collections.walstream.postgresql.plugins.module_utils._system import configuration_files as files
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import (
    User,
    current_user,
    group_to_give,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import (
    start,
    system_runner,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._system.files import may

CONFIG_ROOT = "/etc/postgresql"
SITE_FILE = "/etc/postgresql-common/createcluster.conf"
DATA = "/var/lib/postgresql/%v/%c"
LOG = "/var/log/postgresql/postgresql-%v-%c.log"
RUN_DIRECTORY = "/var/run/postgresql"
CERTIFICATE = "/etc/ssl/certs/ssl-cert-snakeoil.pem"
KEY = "/etc/ssl/private/ssl-cert-snakeoil.key"
APT_UPDATE = "/usr/share/postgresql-common/pg_updateaptconfig"

_SITE_INCLUDE = "add_include_dir"
# What createcluster.conf may say that is no server parameter (pg_createcluster(1)); `ssl` depends on a certificate.
_NOT_PARAMETERS = frozenset(
    {
        *(
            "create_main_cluster",
            "start_conf",
            "data_directory",
            "waldir",
            "xlogdir",
            "initdb_options",
            "ssl",
        ),
        _SITE_INCLUDE,
    }
)
_STATISTICS = "stats_temp_directory"
_LAST_WITH_STATISTICS_DIRECTORY = 14


@dataclass(frozen=True)
class DebianLayout:
    """A cluster VERSION/NAME of postgresql-common."""

    paths: Paths
    host: Host
    service_unit: str | None = None

    name = "debian"
    folder_mode = 0o755
    settings_mode = 0o644  # as the main file: pg_lsclusters and psql look for the port, whoever runs them

    @classmethod
    def resolve(cls, wish: Wish, host: Host) -> DebianLayout:
        version = wish.version or _version_of_existing(wish.cluster) or host.usual_version
        config_directory = wish.config_directory or f"{CONFIG_ROOT}/{version}/{wish.cluster}"
        named = Paths(
            version=version,
            cluster=wish.cluster,
            owner=wish.owner,
            bin_directory=installed_in(wish, host, version),
            data_directory=wish.data_directory
            or _filled(_site().value("data_directory", DATA), version, wish.cluster),
            config_directory=config_directory,
            log_file=_log_file(config_directory, version, wish.cluster),
        )
        configured = named.configuration().value("data_directory").rstrip("/")
        if configured and wish.data_directory and configured != wish.data_directory:
            raise Refusal(
                f"the cluster {version}/{wish.cluster} has its data in {configured}, not in {wish.data_directory}: "
                "correct the data directory, or name another cluster"
            )
        paths = replace(named, data_directory=configured) if configured else named
        return cls(paths, host, wish.service_unit)

    def service(self, owner: User) -> Service:
        paths = self.paths
        direct = PgCtl(paths.bin_directory, self._startup(), owner, system_runner(owner))
        if not self.host.systemd:
            return direct
        unit = self.service_unit or f"postgresql@{paths.version}-{paths.cluster}.service"
        return SystemdUnit(unit, direct.startup, system_runner(current_user()), direct)

    def _startup(self) -> Startup:
        """As pg_ctlcluster starts it: with the cluster's own environment and options."""
        paths = self.paths
        configuration = paths.configuration()
        environment = _variables(f"{paths.config_directory}/environment")
        if configuration.value("lc_messages"):
            environment.setdefault("LANG", configuration.value("lc_messages"))
        environment.setdefault("PG_OOM_ADJUST_FILE", "/proc/self/oom_score_adj")
        options = _variables(f"{paths.config_directory}/pg_ctl.conf").get("pg_ctl_options", "")
        statistics = configuration.value(_STATISTICS)
        return Startup(
            data_directory=paths.data_directory,
            config_file=paths.config_file,
            log_file=paths.log_file,
            log_group=group_to_give("adm"),
            environment=environment,
            pg_ctl_options=tuple(options.split()),
            run_directories=(RUN_DIRECTORY, *([statistics] if statistics.startswith(RUN_DIRECTORY) else [])),
            forbidden_by=self._forbidden_by(),
        )

    def _forbidden_by(self) -> str:
        path = f"{self.paths.config_directory}/start.conf"
        if _first_word(files.read(path) or "") != "disabled":
            return ""
        return f"it is disabled in {path}, so write 'auto' or 'manual' there if its server is meant to run"

    def configure(self, owner: User, locale: str, chosen: Mapping[str, str]) -> None:
        paths, site = self.paths, _site()
        folder = site.value(_SITE_INCLUDE, INCLUDE)
        include = os.path.join(paths.config_directory, folder)
        for directory in (os.path.dirname(paths.config_directory), paths.config_directory, include):
            files.make_directory(directory, owner, 0o755)
        original = originals(paths, locale, chosen, system_runner(owner))
        texts = {
            "environment": "# The server's environment: VARIABLE = 'value', read by pg_ctlcluster.\n",
            "pg_ctl.conf": "# Further options for pg_ctl, read by pg_ctlcluster.\npg_ctl_options = ''\n",
            "start.conf": f"# auto, manual or disabled: see pg_createcluster(1)\n{site.value('start_conf', 'auto')}\n",
            HBA: initial.with_superuser_line(original[HBA], owner.name),
            IDENT: original[IDENT],
            MAIN: initial.with_include(
                initial.with_values(original[MAIN], self._values(owner, site)), folder
            ),
        }
        for name, text in texts.items():  # the main file last: with it the cluster counts as configured
            path = os.path.join(paths.config_directory, name)
            if not os.path.lexists(path):
                files.write(path, text, owner, 0o640 if name in (HBA, IDENT) else 0o644)
        for name in original:  # a second set of files that nobody reads would be a trap
            files.remove(os.path.join(paths.data_directory, name), owner)
        self._announce()

    def _values(self, owner: User, site: guc_file.Configuration) -> dict[str, str]:
        """What pg_createcluster writes into the main file."""
        paths = self.paths
        name = f"{paths.version}-{paths.cluster}"
        values = {
            "data_directory": paths.data_directory,
            "hba_file": f"{paths.config_directory}/{HBA}",
            "ident_file": f"{paths.config_directory}/{IDENT}",
            "external_pid_file": f"{RUN_DIRECTORY}/{name}.pid",
            "unix_socket_directories": RUN_DIRECTORY,
        }
        if site.value("ssl", "on") == "on" and _readable(KEY, owner):
            values.update(ssl="on", ssl_cert_file=CERTIFICATE, ssl_key_file=KEY)
        parameters = {"cluster_name": "%v/%c", "log_line_prefix": "%%m [%%p] %%q%%u@%%d "}
        parameters.update(
            (key, setting.value) for key, setting in site.effective().items() if key not in _NOT_PARAMETERS
        )
        if (paths.version or 0) > _LAST_WITH_STATISTICS_DIRECTORY:
            parameters.pop(_STATISTICS, None)
        for key, value in parameters.items():
            values[key[4:] if key.startswith("add_include") else key] = _filled(
                value, paths.version, paths.cluster
            )
        return values

    def _announce(self) -> None:
        """systemd starts the clusters that it knew at boot; apt keeps the packages of versions that have clusters."""
        me = current_user()
        if self.host.systemd:
            system_runner(me)(["systemctl", "daemon-reload"])
        if os.geteuid() == 0 and os.access(APT_UPDATE, os.X_OK):
            start([APT_UPDATE], me)


def _site() -> guc_file.Configuration:
    if not os.path.exists(SITE_FILE):
        return guc_file.Configuration()
    return guc_file.load(SITE_FILE, files.read, files.list_directory)


def _version_of_existing(cluster: str) -> int | None:
    """The version of the one cluster of this name; None where there is none or more than one."""
    versions = [
        int(version)
        for version in files.list_directory(CONFIG_ROOT) or ()
        if version.isdigit() and os.path.exists(f"{CONFIG_ROOT}/{version}/{cluster}/{MAIN}")
    ]
    return versions[0] if len(versions) == 1 else None


def _log_file(config_directory: str, version: int | None, cluster: str) -> str:
    """A link `log` beside the configuration names another file."""
    link = os.path.join(config_directory, "log")
    return os.readlink(link) if os.path.islink(link) else _filled(LOG, version, cluster)


def _filled(template: str, version: int | None, cluster: str) -> str:
    """%v, %c and %% as postgresql-common reads them."""
    return re.sub("%([vc%])", lambda match: {"v": str(version), "c": cluster, "%": "%"}[match[1]], template)


def _variables(path: str) -> dict[str, str]:
    """`environment` and `pg_ctl.conf` have the syntax of postgresql.conf, but their names keep their case."""
    lines = (files.read(path) or "").split("\n")
    found = {}
    for setting in guc_file.parse("\n".join(lines)):
        match = re.match(r"\s*(\w+)", lines[setting.line - 1])
        found[match[1] if match else setting.name] = setting.value
    return found


def _first_word(text: str) -> str:
    words = [line.split("#")[0].strip() for line in text.splitlines()]
    return next(filter(None, words), "")


def _readable(path: str, user: User) -> bool:
    return may(path, os.R_OK, user)
