# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the layers: a package knows those below it only, and what is pure imports nothing that reaches out."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4] / "plugins" / "module_utils"
PREFIX = "ansible_collections.walstream.postgresql.plugins.module_utils."

LAYERS = (
    *("_errors", "_waiter", "_system", "_postgresql", "_module", "_data_directory"),
    *("_upstream", "_slot", "_replication", "_credentials", "_clone", "_layout", "_cluster"),
)
"""From the bottom to the top."""

PURE = (
    *(
        "_postgresql/lsn.py",
        "_postgresql/conninfo.py",
        "_postgresql/control_file.py",
        "_postgresql/guc_file.py",
        "_postgresql/secrets.py",
    ),
    *("_data_directory/state.py", "_data_directory/initial_configuration.py"),
    *("_upstream/identity.py", "_upstream/login_errors.py", "_slot/plan.py"),
    *("_replication/observation.py", "_replication/expectations.py"),
    *("_clone/plan.py", "_clone/progress.py", "_clone/copy_errors.py", "_cluster/plan.py"),
)
REACHING_OUT = {
    "os",
    "pathlib",
    "subprocess",
    "socket",
    "psycopg2",
    "shutil",
    "fcntl",
    "signal",
    "time",
    "tempfile",
}
LIBPQ = "_postgresql.driver"
"""Its parser of connection strings reaches nothing, and is the only one that libpq agrees with."""


def imported(path: Path) -> set[str]:
    """Every module that the file at `path` imports, by its dotted name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = node.module.startswith(PREFIX) and (ROOT / node.module.removeprefix(PREFIX)).is_dir()
            names.update(f"{node.module}.{alias.name}" if inside else node.module for alias in node.names)
    return names


def of_ours(path: Path) -> list[str]:
    return sorted(name.removeprefix(PREFIX) for name in imported(path) if name.startswith(PREFIX))


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_come_from_below(path):
    own = LAYERS.index(path.relative_to(ROOT).parts[0].removesuffix(".py"))
    above = [name for name in of_ours(path) if LAYERS.index(name.split(".")[0]) > own]
    assert not above


@pytest.mark.parametrize("name", PURE)
def test_pure_files_reach_nothing(name):
    path = ROOT / name
    assert not {one.split(".")[0] for one in imported(path)} & REACHING_OUT
    pure = {one.removesuffix(".py").replace("/", ".") for one in PURE} | {"_errors", LIBPQ}
    assert set(of_ours(path)) <= pure
