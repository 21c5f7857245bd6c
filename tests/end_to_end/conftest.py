# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks as users run them, against containers, with trouble on purpose.

One topology, the embedded default under other names and ports, serves all tests of a session. A test
that spoils it gets it back from copies of its volumes, which takes seconds where building takes many.

WALSTREAM_TEST_PREFIX   of the names of everything that is made (default: walstream-e2e)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.walstream.postgresql.tests.end_to_end.harness import PREFIX, Topology


@pytest.fixture(scope="session")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """The names and ports, and nothing there yet."""
    topology = Topology(tmp_path_factory.mktemp("topology"))
    topology.remove_everything()
    yield topology
    topology.remove_everything()


@pytest.fixture(scope="session")
def built(nothing: Topology) -> Topology:
    """Built once, by site.yml, from nothing."""
    nothing.site().succeeded()
    nothing.primary.psql("INSERT INTO test_table (name) VALUES ('built')")
    nothing.save()
    return nothing


@pytest.fixture
def topology(built: Topology) -> Topology:
    """Streaming; for tests that leave it so."""
    if not built.streams:
        built.restore()
    return built


@pytest.fixture
def disposable(topology: Topology) -> Iterator[Topology]:
    """Streaming; for tests that spoil it."""
    yield topology
    topology.restore()


@pytest.fixture
def from_nothing(nothing: Topology, tmp_path: Path) -> Iterator[Topology]:
    """A second topology, of which nothing exists before or after the test."""
    topology = Topology(tmp_path, f"{PREFIX}-new")
    topology.remove_everything()
    yield topology
    topology.remove_everything()


@pytest.fixture
def empty_replica(disposable: Topology) -> Topology:
    """A database of a size worth waiting for, and a replica's host without a cluster."""
    disposable.replica.pg_ctl("stop", "-m", "fast")
    disposable.replica.shell("rm -rf /var/lib/postgresql/15 /etc/postgresql/15")
    disposable.primary.psql(
        "CREATE TABLE big AS SELECT repeat(md5(i::text), 30) FROM generate_series(1, 60000) i"
    )
    disposable.primary.psql("CHECKPOINT")
    return disposable
