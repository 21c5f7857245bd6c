# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say which cluster of a host is meant, and where its files are."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  version:
    description:
      - Major version of PostgreSQL.
      - By default that of the one cluster of this name which exists in Debian's layout, else the newest
        that is installed.
    type: int
  layout:
    description:
      - V(debian) keeps the configuration in C(/etc/postgresql/VERSION/NAME), where postgresql-common expects it.
      - V(plain) keeps it in the data directory, or in O(config_directory).
      - By default V(debian) where C(pg_createcluster) exists, or will once the packages are installed, else V(plain).
    type: str
    choices: [debian, plain]
  data_directory:
    description:
      - The data directory. By default the one that the configuration names or the layout prescribes.
      - The plain layout has a usual one only on the RHEL family.
    type: path
  config_directory:
    description: Folder of C(postgresql.conf). By default as the layout prescribes.
    type: path
  bin_directory:
    description: Folder with the server's programs. By default where the distribution's packages put this version.
    type: path
  owner:
    description: Operating-system account that owns the data directory and runs the server.
    type: str
    default: postgres
  service_unit:
    description:
      - The systemd unit that runs the server.
      - By default C(postgresql@VERSION-NAME) in Debian's layout where systemd runs, the unit of the RHEL
        family's packages that is about this data directory, or none, and then C(pg_ctl) starts and stops
        the server.
    type: str
"""
