"""PID 1 of a node: starts its clusters, shows their logs, reaps orphans, stops servers cleanly.

Clusters are those of Debian's layout, /etc/postgresql/VERSION/NAME. Ansible makes, starts and stops
clusters while the node runs; so nothing about them is remembered between boot and shutdown.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CONFIGURATION = Path("/etc/postgresql")
LOGS = Path("/var/log/postgresql")
BOOTED = Path("/run/postgresql/booted")
"""There once each cluster has been given its chance to start: from then on Ansible may judge."""

STOP = {signal.SIGTERM, signal.SIGINT}
LOG_INTERVAL = 0.2


def say(message: str) -> None:
    print(f"init: {message}", flush=True)


@dataclass(frozen=True)
class Cluster:
    """A cluster of Debian's layout, named as pg_lsclusters names it."""

    version: str
    name: str

    def __str__(self) -> str:
        return f"{self.version}/{self.name}"

    @property
    def configuration(self) -> Path:
        return CONFIGURATION / self.version / self.name

    @property
    def log(self) -> Path:
        return LOGS / f"postgresql-{self.version}-{self.name}.log"

    def program(self, name: str) -> str:
        return f"/usr/lib/postgresql/{self.version}/bin/{name}"

    def starts_with_node(self) -> bool:
        """What start.conf says; Debian's words are auto, manual and disabled."""
        try:
            lines = (self.configuration / "start.conf").read_text().split("\n")
        except FileNotFoundError:
            return True
        return "auto" in (line.strip() for line in lines)

    def setting(self, parameter: str) -> str:
        """As the server itself would read it; raises OSError or CalledProcessError."""
        command = [self.program("postgres"), "-D", str(self.configuration), "-C", parameter]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def start(self, data: Path) -> int:
        """Start the server without waiting for it; gives the pid of the pg_ctl that waits."""
        config = self.configuration / "postgresql.conf"
        options = ["-D", str(data), "-l", str(self.log), "-o", f"-c config_file={config}"]
        command = [self.program("pg_ctl"), "start", "-s", "-w", *options]
        # Our own signals are blocked, and a server must not inherit that.
        return os.posix_spawn(command[0], command, os.environ, setsigmask=[])


def clusters() -> Iterator[Cluster]:
    for config in sorted(CONFIGURATION.glob("*/*/postgresql.conf")):
        yield Cluster(version=config.parts[-3], name=config.parts[-2])


def startable() -> dict[Cluster, Path]:
    """The clusters to start, with their data; for every other one, say why it is left alone."""
    found = {}
    for cluster in clusters():
        if not cluster.starts_with_node():
            say(f"{cluster} is not to be started with the node")
            continue
        try:
            data = Path(cluster.setting("data_directory"))
            remove_stale_locks(cluster)
        except (OSError, subprocess.CalledProcessError) as error:
            say(f"{cluster} cannot be started: {error}")
            continue
        # pg_control is the last file that a clone receives: without it there is nothing to start.
        if (data / "global/pg_control").exists():
            found[cluster] = data
        else:
            say(f"{cluster} is left alone: {data} holds no complete data directory")
    return found


def executable(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except FileNotFoundError:
        return ""


def remove_stale_pid_file(file: Path) -> None:
    """After a crash the recorded pid may be another program's now, and would stop the start."""
    try:
        pid = int(file.read_text().split("\n")[0])
    except (FileNotFoundError, ValueError):
        return
    if executable(pid) != "postgres":
        say(f"a server was not shut down: removing its stale {file}")
        file.unlink()


def remove_stale_locks(cluster: Cluster) -> None:
    """Sockets have such files too, in the container's own file system, which outlives a kill."""
    for folder in cluster.setting("unix_socket_directories").split(","):
        for file in Path(folder.strip().strip('"')).glob(".s.PGSQL.*.lock"):
            remove_stale_pid_file(file)


def postmasters() -> Iterator[int]:
    """The servers: processes called postgres whose parent is not one."""
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if executable(pid) != "postgres":
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except FileNotFoundError:
            continue
        if executable(parent) != "postgres":
            yield pid


def reap() -> Iterator[tuple[int, int]]:
    """Every child that has ended, orphans of others included, with its exit status."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status


class Logs:
    """Copies what is appended to the servers' logs to our output, whoever started the servers."""

    def __init__(self) -> None:
        self._files: dict[Path, BinaryIO] = {}
        for path in LOGS.glob("*.log"):
            self._open(path).seek(0, os.SEEK_END)  # our previous life has shown that already

    def _open(self, path: Path) -> BinaryIO:
        self._files[path] = path.open("rb")
        return self._files[path]

    def forward(self) -> None:
        for path in LOGS.glob("*.log"):
            file = self._files.get(path) or self._open(path)
            self._copy(file)
            now, then = path.stat(), os.fstat(file.fileno())
            if (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino):
                file.close()
                self._copy(self._open(path))
            elif now.st_size < file.tell():
                file.seek(0)
                self._copy(file)

    @staticmethod
    def _copy(file: BinaryIO) -> None:
        while chunk := file.read(65536):
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()


def shut_down(logs: Logs) -> None:
    """Fast shutdown of every server; to lose patience with a slow one is left to Docker."""
    asked: set[int] = set()
    while running := set(postmasters()):
        for pid in running - asked:
            say(f"stopping the server with pid {pid}")
            os.kill(pid, signal.SIGINT)
        asked |= running
        signal.sigtimedwait({signal.SIGCHLD}, 0.05)
        list(reap())
        logs.forward()
    logs.forward()
    say("all servers are stopped")


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP, signal.SIGCHLD})
    BOOTED.unlink(missing_ok=True)
    logs = Logs()

    to_start = startable()
    for data in to_start.values():
        remove_stale_pid_file(data / "postmaster.pid")
    starting = {cluster.start(data): cluster for cluster, data in to_start.items()}

    while True:
        logs.forward()
        for pid, status in reap():
            cluster = starting.pop(pid, None)
            if cluster and status != 0:
                say(f"{cluster} did not start: its log says why; the node stays up for its repair")
            elif cluster:
                say(f"{cluster} is started")
        if not starting:
            BOOTED.touch()
        event = signal.sigtimedwait({*STOP, signal.SIGCHLD}, LOG_INTERVAL)
        if event and event.si_signo in STOP:
            break
    shut_down(logs)


if __name__ == "__main__":
    main()
