# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded default under other names and ports, the playbooks on it, and what they leave behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
PREFIX = "-".join(
    filter(
        None,
        (os.environ.get("WALSTREAM_TEST_PREFIX", "walstream-e2e"), os.environ.get("PYTEST_XDIST_WORKER")),
    )
)
"""Of everything that the tests make; two sessions at once need two, and so do two workers of one."""
SLOT = "replica_physical_slot"
IMAGE = "walstream/postgresql-node:bookworm"
PASSWORD = "postgres"
RUN_TIMEOUT = 600
IMPATIENT = ("--extra-vars", "replication_timeout=2")
"""Options for a run that is going to wait in vain."""

STATE = """
SELECT json_build_object(
  'system', (SELECT system_identifier::text FROM pg_control_system()),
  'timeline', (SELECT timeline_id FROM pg_control_checkpoint()),
  'recovery', pg_is_in_recovery(),
  'started', pg_postmaster_start_time(),
  'loaded', pg_conf_load_time(),
  'roles', (SELECT json_agg(json_build_object('name', rolname, 'password', md5(rolpassword), 'super', rolsuper)
                            ORDER BY rolname) FROM pg_authid WHERE rolname !~ '^pg_'),
  'slots', (SELECT json_agg(json_build_object('name', slot_name, 'type', slot_type, 'reserved',
                            restart_lsn IS NOT NULL) ORDER BY slot_name) FROM pg_replication_slots),
  'databases', (SELECT json_agg(datname ORDER BY datname) FROM pg_database))
"""


def docker(*arguments: str, check: bool = True, text_input: str | None = None) -> str:
    """Run the Docker client and return what it printed."""
    done = subprocess.run(
        ["docker", *arguments], input=text_input, capture_output=True, text=True, check=False, timeout=300
    )
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def wait_until(condition, seconds: float = 120, what: str = "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {seconds} s: {what or condition}"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Run:
    """What a finished or killed ansible-playbook left behind."""

    returncode: int
    output: str
    tasks: list[str] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    oks: list[dict[str, Any]] = field(default_factory=list)
    stats: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, returncode: int, output: str, witness: Path) -> Run:
        run = cls(returncode, output)
        for line in witness.read_text().splitlines() if witness.exists() else ():
            event = json.loads(line)
            if "task" in event:
                run.tasks.append(event["task"])
            elif "failed" in event:
                run.failures.append(event)
            elif "ok" in event:
                run.oks.append(event)
            else:
                run.stats = event["stats"]
        return run

    @property
    def changed(self) -> int:
        return sum(host["changed"] for host in self.stats.values())

    @property
    def killed(self) -> bool:
        return self.returncode == -signal.SIGKILL

    def result(self, task: str) -> dict[str, Any]:
        """The result of the task whose name ends with this text."""
        return next(one["result"] for one in self.oks if one["by"].endswith(task))

    def succeeded(self) -> Run:
        assert self.returncode == 0, self.output[-6000:]
        return self

    def settled(self) -> Run:
        """A run that found everything as it should be."""
        self.succeeded()
        changed = [(one["ok"], one["by"], one["result"]) for one in self.oks if one["result"].get("changed")]
        assert self.changed == 0, changed
        return self

    def sentence(self, *parts: str) -> str:
        """The one sentence with which the run failed, after checking that it names all `parts`."""
        assert self.returncode not in (0, -signal.SIGKILL), self.output[-6000:]
        sentences = {failure["result"].get("msg", "") for failure in self.failures}
        assert len(sentences) == 1, (sentences, self.output[-4000:])
        sentence = sentences.pop()
        assert "\n" not in sentence.strip(), sentence
        for leak in ("Traceback", "<<< caused by >>>", "AnsibleModule", "{{", "Error while resolving"):
            assert leak not in self.output, self.output[-6000:]
        for part in parts:
            assert re.search(part, sentence), f"{part!r} is not in: {sentence}"
        return sentence


class Node:
    """One container of the topology, and the volume that outlives it."""

    def __init__(self, role: str, prefix: str = PREFIX) -> None:
        self.role = role
        self.name = f"{prefix}-{role}"
        self.volume = f"{self.name}-data"

    @property
    def exists(self) -> bool:
        return bool(docker("ps", "--all", "--quiet", "--filter", f"name=^/{self.name}$"))

    @property
    def is_up(self) -> bool:
        return bool(docker("ps", "--quiet", "--filter", f"name=^/{self.name}$"))

    def run(self, *argv: str, user: str = "root", check: bool = True, text_input: str | None = None) -> str:
        flags = ["-i"] if text_input is not None else []
        return docker("exec", "--user", user, *flags, self.name, *argv, check=check, text_input=text_input)

    def shell(self, script: str, user: str = "root", check: bool = True) -> str:
        """For what takes a pipe or a glob; works on the volume alone where no container runs."""
        if self.is_up:
            return self.run("sh", "-c", script, user=user, check=check)
        mount = f"{self.volume}:/var/lib/postgresql"
        return docker(
            "run", "--rm", "--user", user, "--volume", mount, IMAGE, "sh", "-c", script, check=check
        )

    def psql(self, sql: str, check: bool = True) -> str:
        arguments = ("psql", "-XAtq", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-f", "-")
        return self.run(*arguments, user="postgres", check=check, text_input=sql)

    def pg_ctl(self, *arguments: str) -> str:
        """The server's own tool, as Debian wraps it."""
        return self.shell(
            f"pg_ctlcluster 15 main {' '.join(arguments)} -- -w >/dev/null 2>&1 </dev/null", user="postgres"
        )

    @property
    def answers(self) -> bool:
        return self.is_up and self.psql("SELECT 1", check=False) == "1"

    @property
    def streams(self) -> bool:
        return self.is_up and self.psql("SELECT status FROM pg_stat_wal_receiver", check=False) == "streaming"

    @property
    def started(self) -> str:
        return self.psql("SELECT pg_postmaster_start_time()")

    @property
    def system_identifier(self) -> str:
        control = self.shell(
            "/usr/lib/postgresql/15/bin/pg_controldata /var/lib/postgresql/15/main", user="postgres"
        )
        return re.search(r"system identifier:\s*(\d+)", control)[1]

    @property
    def beside(self) -> list[str]:
        """What lies beside the data directory; nothing where the folder above it was never made."""
        return self.shell("! test -e /var/lib/postgresql/15 || ls -A /var/lib/postgresql/15").split()

    def files(self, everything: bool = True) -> str:
        """Names, owners, modes and checksums of the volume's files; not those that a running server writes."""
        moving = "" if everything else "-path './15/main/*/*' -prune -o -name 'postmaster.*' -prune -o"
        listing = f"find . {moving} -printf '%p %y %m %U %l\\n' | sort"
        sums = f"find . {moving} -type f -print0 | sort -z | xargs -0 -r sha256sum"
        return self.shell(f"cd /var/lib/postgresql && {listing} && {sums}")

    def state(self) -> dict[str, Any]:
        """Everything that a refused run must leave as it was."""
        if not self.exists and not docker("volume", "ls", "--quiet", "--filter", f"name=^{self.volume}$"):
            return {}
        running = self.answers
        said = json.loads(self.psql(STATE)) if running else None
        return {"container": self.exists, "up": self.is_up, "files": self.files(not running), "server": said}


class Topology:
    """The embedded default under names and ports of its own, and the playbooks on it."""

    def __init__(self, directory: Path, prefix: str = PREFIX) -> None:
        self._directory = directory
        self._prefix = prefix
        self._ports = {role: free_port() for role in ("primary", "replica")}
        self._count = 0
        self.primary, self.replica = Node("primary", prefix), Node("replica", prefix)
        self.nodes = (self.primary, self.replica)

    # --- inventories ---

    def inventory(
        self,
        primary: Sequence[str] = ("primary",),
        replica: Sequence[str] = ("replica",),
        hosts: Mapping[str, Mapping[str, Any]] | None = None,
        **everywhere: Any,
    ) -> Path:
        """inventory/docker.yml for our names. `None` as a value takes a variable out; roles may be any words."""
        default = yaml.safe_load((REPOSITORY / "inventory" / "docker.yml").read_text())["all"]["children"]
        common = {**default["containers"]["vars"], "container_network": self._prefix, **everywhere}
        own = {
            "primary": {**default["primary"]["hosts"]["postgres-primary"]},
            "replica": {**default["replica"]["hosts"]["postgres-replica"]},
        }
        for role, port in self._ports.items():
            own[role]["container_published_port"] = port

        def group(names: Sequence[str]) -> dict[str, Any]:
            members = {name: {**own.get(name, {}), **(hosts or {}).get(name, {})} for name in names}
            return {
                "hosts": {f"{self._prefix}-{name}": _without_none(values) for name, values in members.items()}
            }

        tree = {
            "primary": group(primary),
            "replica": group(replica),
            "containers": {"children": {"primary": {}, "replica": {}}, "vars": _without_none(common)},
        }
        self._count += 1
        path = self._directory / f"inventory-{self._count}.yml"
        path.write_text(yaml.safe_dump({"all": {"children": tree}}))
        return path

    # --- playbooks ---

    def play(
        self,
        playbook: str,
        *options: str,
        inventory: Path | None = None,
        kill: str = "",
        env: Mapping[str, str] | None = None,
    ) -> Run:
        return self.start(playbook, *options, inventory=inventory, kill=kill, env=env).wait()

    def start(
        self,
        playbook: str,
        *options: str,
        inventory: Path | None = None,
        kill: str = "",
        env: Mapping[str, str] | None = None,
    ) -> Playing:
        """Start a playbook in a process group of its own."""
        self._count += 1
        witness = self._directory / f"witness-{self._count}.jsonl"
        path = inventory or self.inventory()
        argv = [_ansible_playbook(), "--inventory", str(path), f"playbooks/{playbook}.yml", *options]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callback_plugins")),
            "ANSIBLE_CALLBACKS_ENABLED": "witness",
            "ANSIBLE_NOCOLOR": "1",
            "WITNESS_FILE": str(witness),
            "WITNESS_KILL": kill,
            **(env or {}),
        }
        return Playing(argv, environment, witness, self._directory / f"output-{self._count}.txt")

    def site(self, *options: str, **more: Any) -> Run:
        return self.play("site", *options, **more)

    def verify(self, *options: str, **more: Any) -> Run:
        return self.play("verify", *options, **more)

    def red_verify(self, **more: Any) -> Run:
        """For a topology that is broken: what does not come need not be waited for long."""
        return self.verify(*IMPATIENT, **more)

    def teardown(self) -> Run:
        return self.play("teardown")

    # --- state ---

    def state(self) -> dict[str, Any]:
        return {node.role: node.state() for node in self.nodes}

    @property
    def streams(self) -> bool:
        return self.replica.streams and self.replica.answers

    def nothing_exists(self) -> bool:
        found = docker("ps", "--all", "--quiet", "--filter", f"name=^/{self._prefix}-")
        return not found and not docker("volume", "ls", "--quiet", "--filter", f"name=^{self._prefix}-")

    def remove_everything(self) -> None:
        """By force: for what a killed session left, and at the end whatever happened."""
        containers = docker("ps", "--all", "--quiet", "--filter", f"name=^/{self._prefix}-").split()
        if containers:
            docker("rm", "--force", "--volumes", *containers, check=False)
        volumes = docker("volume", "ls", "--quiet", "--filter", f"name=^{self._prefix}-").split()
        if volumes:
            docker("volume", "rm", "--force", *volumes, check=False)
        docker("network", "rm", self._prefix, check=False)

    def save(self) -> None:
        """Keep copies of both volumes, taken while the servers are stopped."""
        for node in reversed(self.nodes):
            docker("stop", node.name)
            self._copy_volume(node.volume, f"{node.volume}-saved")
        for node in self.nodes:
            docker("start", node.name)
        wait_until(lambda: self.streams, what="streaming after the copy")

    def restore(self) -> None:
        """Back to what `save` kept, whatever happened since."""
        for node in self.nodes:
            docker("kill", node.name, check=False)
            if not node.exists:
                continue
            self._copy_volume(f"{node.volume}-saved", node.volume)
        if all(node.exists for node in self.nodes):
            for node in self.nodes:
                docker("start", node.name)
        else:
            for node in self.nodes:
                self._copy_volume(f"{node.volume}-saved", node.volume)
            self.site().succeeded()
        wait_until(lambda: self.streams, what="streaming after restoring")

    @staticmethod
    def _copy_volume(source: str, target: str) -> None:
        script = "find /to -mindepth 1 -delete && cp -a /from/. /to/"
        label = f"walstream.postgresql.host={target.removesuffix('-data')}"
        if not docker("volume", "ls", "--quiet", "--filter", f"name=^{target}$"):
            docker("volume", "create", "--label", label, target)
        mounts = ("--volume", f"{source}:/from", "--volume", f"{target}:/to")
        docker("run", "--rm", "--user", "root", *mounts, IMAGE, "sh", "-c", script)


class Playing:
    """A playbook that runs now."""

    def __init__(self, argv: list[str], env: Mapping[str, str], witness: Path, output: Path) -> None:
        self._witness, self._output = witness, output
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                argv,
                cwd=REPOSITORY,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def has_begun(self, task: str) -> bool:
        return self._witness.exists() and f'{task}"' in self._witness.read_text()

    def kill(self) -> Run:
        assert self.is_running, self.output[-6000:]
        os.killpg(self._process.pid, signal.SIGKILL)
        return self.wait()

    def wait(self) -> Run:
        try:
            self._process.wait(RUN_TIMEOUT)
        finally:
            if self.is_running:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        return Run.read(self._process.returncode, self.output, self._witness)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _ansible_playbook() -> str:
    beside = Path(sys.executable).with_name("ansible-playbook")
    found = str(beside) if beside.exists() else shutil.which("ansible-playbook")
    assert found, "ansible-playbook is not installed in this environment: run 'make setup'"
    return found
