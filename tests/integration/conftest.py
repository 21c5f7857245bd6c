# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL servers in containers, and modules executed on them by Ansible itself.

`servers("bookworm")` gives a container with a new cluster that is running, in the plain layout. It
is removed when the test ends, however it ends; what a killed run left behind goes at the start of
the next one. A test that asks for the fixture `suite` runs once for each release.

WALSTREAM_TEST_SUITES         which Debian releases to try, separated by spaces (default: all)
WALSTREAM_TEST_IMAGE_PREFIX   the images are PREFIX:SUITE (default: walstream/postgresql-node)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.walstream.postgresql.tests.integration.cloning import Site

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGE_PREFIX = os.environ.get("WALSTREAM_TEST_IMAGE_PREFIX", "walstream/postgresql-node")
MAJORS = {"bullseye": 13, "bookworm": 15, "trixie": 17, "sid": 18}
SUITES = os.environ.get("WALSTREAM_TEST_SUITES", " ".join(MAJORS)).split()
LABEL = "walstream.test"
OUR_PID = f"{LABEL}.pid={os.getpid()}"
CGROUPS = next(filter(os.path.isdir, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")))
SYSTEMD = (
    *("--cgroupns", "host", "--volume", f"{CGROUPS}:/sys/fs/cgroup:rw", "--user", "root"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec,mode=1777"),
)
"""What systemd needs of a container (on a hybrid host the unified hierarchy is mounted apart)."""
REPLICATION_PASSWORD = "repl pass'w\\ord"  # awkward on purpose

SETTINGS = {
    "listen_addresses": "'*'",
    "fsync": "off",  # nothing here has to survive the machine
    "wal_keep_size": "'64MB'",
    "wal_receiver_status_interval": "'1s'",
    "wal_retrieve_retry_interval": "'200ms'",
    "log_line_prefix": "'%m [%p] '",
}


def docker(*arguments: str, check: bool = True, text_input: str | None = None) -> str:
    """Run the Docker client and return what it printed."""
    done = subprocess.run(
        ["docker", *arguments],
        input=text_input,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


class Node:
    """A container with one cluster in the plain layout, run by the account `postgres`."""

    def __init__(self, suite: str, network: str, run: str, *options: str, systemd: bool = False) -> None:
        self.suite = suite
        self.major = MAJORS[suite]
        self.name = f"walstream-test-{suite}-{uuid.uuid4().hex[:8]}"
        self.port = 5432
        self.root = "/srv/walstream"
        self.data_directory = f"{self.root}/data"
        self.bin_directory = f"/usr/lib/postgresql/{self.major}/bin"
        labels = ("--label", f"{LABEL}={run}", "--label", OUR_PID)
        init = SYSTEMD if systemd else ("--init", "--entrypoint", "sleep")
        docker(
            *("run", "--detach", "--name", self.name, *labels),
            *("--network", network, "--shm-size", "256m", "--no-healthcheck", *init),
            *options,
            *([f"{IMAGE_PREFIX}:{suite}-systemd"] if systemd else [f"{IMAGE_PREFIX}:{suite}", "infinity"]),
        )
        self.run("install", "-d", "-o", "postgres", "-g", "postgres", self.root, "/var/run/postgresql")

    # --- the container ---

    def run(self, *argv: str, user: str = "root", check: bool = True, text_input: str | None = None) -> str:
        """Execute a command inside and return its standard output."""
        arguments = [
            "exec",
            "--user",
            user,
            *(["-i"] if text_input is not None else []),
            self.name,
            *argv,
        ]
        return docker(*arguments, check=check, text_input=text_input)

    def write(self, path: str, text: str, owner: str = "postgres", mode: str = "0600") -> None:
        self.run("install", "-o", owner, "-g", owner, "-m", mode, "/dev/stdin", path, text_input=text)

    def remove(self) -> None:
        docker("rm", "--force", "--volumes", self.name, check=False)

    @property
    def address(self) -> str:
        """The name under which other containers of the run reach this one."""
        return self.name

    # --- the server ---

    def initdb(self, *options: str) -> None:
        self.run(
            f"{self.bin_directory}/initdb",
            *(
                "--pgdata",
                self.data_directory,
                "--auth-local=peer",
                "--auth-host=scram-sha-256",
                "--no-sync",
            ),
            *options,
            user="postgres",
        )
        self.append(f"{self.data_directory}/pg_hba.conf", "host all,replication all all scram-sha-256")

    def append(self, path: str, text: str) -> None:
        self.run("tee", "--append", path, user="postgres", text_input=text + "\n")

    def configure(self, settings: Mapping[str, str]) -> None:
        """Append settings, written as postgresql.conf wants them; the last one of a name wins."""
        lines = "\n".join(f"{name} = {value}" for name, value in settings.items())
        self.append(f"{self.data_directory}/postgresql.conf", lines)

    def start(self) -> None:
        self._pg_ctl("start", "--log", f"{self.root}/log")

    def stop(self, mode: str = "fast") -> None:
        self._pg_ctl("stop", "--mode", mode)

    def restart(self) -> None:
        self._pg_ctl("restart", "--mode", "fast", "--log", f"{self.root}/log")

    def reload(self) -> None:
        self._pg_ctl("reload")

    def _pg_ctl(self, action: str, *options: str) -> None:
        self.run(
            f"{self.bin_directory}/pg_ctl",
            *(action, "--pgdata", self.data_directory, "--silent", "--timeout", "60"),
            *options,
            user="postgres",
        )

    @property
    def log(self) -> str:
        return self.run("cat", f"{self.root}/log")

    def psql(self, sql: str, check: bool = True) -> str:
        """What psql prints for the statements: unaligned, without headings."""
        return self.run(
            *("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-p", str(self.port), "-d", "postgres"),
            *("-f", "-"),
            user="postgres",
            check=check,
            text_input=sql,
        )

    def wait_for(self, sql: str, expected: str = "t", seconds: float = 20) -> None:
        """Wait until the query prints what is expected."""
        deadline = time.monotonic() + seconds
        while (seen := self.psql(sql, check=False)) != expected:
            assert time.monotonic() < deadline, (
                f"{self.name}: {sql} gave {seen!r}, not {expected!r}\n{self.log[-3000:]}"
            )
            time.sleep(0.1)

    # --- replication, made by hand ---

    def allow_replication(self, user: str = "replicator") -> None:
        self.psql(f"CREATE ROLE {user} REPLICATION LOGIN")
        self.set_password(user)

    def set_password(self, user: str, password: str = REPLICATION_PASSWORD) -> None:
        quoted = password.replace("'", "''")
        self.psql(f"ALTER ROLE {user} PASSWORD '{quoted}'")

    def write_passfile(self, user: str = "replicator", password: str = REPLICATION_PASSWORD) -> str:
        path = f"{self.data_directory}.pgpass"
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        self.write(path, f"*:*:*:{user}:{escaped}\n")
        return path

    def follow(self, upstream: Node, slot: str = "", name: str = "") -> None:
        """Become a standby of `upstream` by PostgreSQL's own programs, and start."""
        passfile = self.write_passfile()
        conninfo = f"host={upstream.address} port={upstream.port} user=replicator passfile={passfile}"
        self.run(
            f"{self.bin_directory}/pg_basebackup",
            *(
                "--pgdata",
                self.data_directory,
                "--dbname",
                conninfo,
                "--checkpoint=fast",
                "--no-sync",
            ),
            user="postgres",
        )
        self.run("touch", f"{self.data_directory}/standby.signal", user="postgres")
        self.configure(
            {
                "primary_conninfo": f"'{conninfo} application_name={name or self.suite}'",
                "primary_slot_name": f"'{slot}'",
            }
        )
        self.start()

    # --- Ansible ---

    def run_module(
        self,
        module: str,
        arguments: Mapping[str, Any],
        check: bool = False,
        diff: bool = False,
        verbose: int = 0,
        *,
        interpreter: str = "",
        user: str = "root",
    ) -> dict[str, Any]:
        """Execute a module of this collection on the node, as Ansible does, and return its result.

        A failed module is a result as well: look at `failed`.
        """
        connection = {**_CONNECTION, "ansible_user": user}
        if interpreter:
            connection["ansible_python_interpreter"] = interpreter
        argv = [_ansible(), "all", "--inventory", f"{self.name},"]
        argv += ["--extra-vars", json.dumps(connection)]
        argv += ["--module-name", f"walstream.postgresql.{module}"]
        argv += ["--args", json.dumps(arguments)] if arguments else []
        argv += [flag for flag, wanted in (("--check", check), ("--diff", diff)) if wanted]
        argv += ["-" + "v" * verbose] if verbose else []
        done = subprocess.run(
            argv,
            cwd=REPOSITORY,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        start = done.stdout.find("{\n")
        assert start >= 0, f"Ansible printed no result: {done.stdout}\n{done.stderr}"
        report, _end = json.JSONDecoder().raw_decode(done.stdout[start:])
        result: dict[str, Any] = report["plays"][0]["tasks"][0]["hosts"][self.name]
        assert not result.get("unreachable"), result
        assert "Traceback" not in json.dumps(result), result.get("exception", result)
        return result


_CONNECTION = {
    "ansible_connection": "community.docker.docker",
    "ansible_python_interpreter": "/usr/bin/python3",
}


def _ansible() -> str:
    beside = Path(sys.executable).with_name("ansible")
    found = str(beside) if beside.exists() else shutil.which("ansible")
    assert found, "ansible is not installed in this environment: run 'make setup'"
    return found


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "collections"),
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
    }


@pytest.fixture(scope="session")
def network() -> Iterator[str]:
    """A Docker network of this run, on which nodes know each other by name."""
    assert shutil.which("docker"), "these tests need Docker"
    _remove_what_dead_runs_left()
    run = f"walstream-test-{uuid.uuid4().hex[:8]}"
    docker("network", "create", "--label", f"{LABEL}={run}", "--label", OUR_PID, run)
    yield run
    docker("network", "rm", run, check=False)


def _remove_what_dead_runs_left() -> None:
    fields = '{{.ID}} {{.Label "' + LABEL + '.pid"}}'
    for kind, listing in (("container", ("ps", "--all")), ("network", ("network", "ls"))):
        for line in docker(*listing, "--filter", f"label={LABEL}", "--format", fields).splitlines():
            identifier, pid = line.split()
            if not Path(f"/proc/{pid}").exists():
                docker(
                    kind,
                    "rm",
                    *(["--force", "--volumes"] if kind == "container" else []),
                    identifier,
                    check=False,
                )


class Fleet:
    """Makes nodes, and removes all that it made."""

    def __init__(self, network: str) -> None:
        self._network = network
        self._nodes: list[Node] = []

    def __call__(self, suite: str, settings: Mapping[str, str] | None = None, start: bool = True) -> Node:
        """A container with a new cluster that allows replication, running unless told otherwise."""
        node = self.empty(suite)
        node.initdb()
        node.configure({**SETTINGS, **(settings or {})})
        if start:
            node.start()
            node.allow_replication()
        return node

    def empty(self, suite: str, *options: str, systemd: bool = False) -> Node:
        """A container without any cluster; `options` are Docker's."""
        node = Node(suite, self._network, self._network, *options, systemd=systemd)
        self._nodes.append(node)
        return node

    def standby(self, upstream: Node, slot: str = "", name: str = "") -> Node:
        """A container with a running standby of `upstream`."""
        node = self.empty(upstream.suite)
        node.follow(upstream, slot=slot, name=name)
        return node

    def remove(self) -> None:
        for node in self._nodes:
            node.remove()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "suites(*names): Debian releases that a test is about (default: all)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `suite` runs once for each Debian release."""
    if "suite" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("suites")
        wanted = [name for name in SUITES if marker is None or name in marker.args]
        metafunc.parametrize("suite", wanted, scope="module")


@pytest.fixture
def servers(network: str) -> Iterator[Fleet]:
    """A factory of nodes that live as long as the test."""
    fleet = Fleet(network)
    yield fleet
    fleet.remove()


@pytest.fixture(scope="module")
def shared_servers(network: str) -> Iterator[Fleet]:
    """A factory of nodes that live as long as the tests of the file."""
    fleet = Fleet(network)
    yield fleet
    fleet.remove()


@pytest.fixture(scope="module")
def made_site(shared_servers, suite):
    primary = shared_servers(
        suite, {"wal_sender_timeout": "'5s'", "max_slot_wal_keep_size": "'64MB'", "wal_keep_size": "0"}
    )
    site = Site(primary, shared_servers.empty(suite))
    site.prepare()
    return site


@pytest.fixture
def site(made_site):
    made_site.begin()
    yield made_site
    made_site.remove()


@pytest.fixture(scope="module")
def made_mounted(shared_servers, made_site):
    """The same primary, and a host whose data directory is a small file system of its own."""
    host = shared_servers.empty(made_site.primary.suite, "--tmpfs", "/srv/walstream/data:size=250m,mode=755")
    mounted = Site(made_site.primary, host)
    mounted.workspace = f"{mounted.target}/.walstream.clone"
    mounted.passfile = host.write_passfile()
    return mounted


@pytest.fixture
def mounted(made_mounted):
    made_mounted.begin()
    made_mounted.replica.run("bash", "-c", f"rm -rf {made_mounted.target}/* {made_mounted.workspace}")
    yield made_mounted
    made_mounted.replica.run("bash", "-c", f"rm -rf {made_mounted.target}/* {made_mounted.workspace}")
