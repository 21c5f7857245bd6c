# SPDX-License-Identifier: GPL-3.0-or-later
"""What we cost, as a ratio against the plain tool doing the same work in the same run; medians of several.

Builds containers of its own beside whatever runs, and removes them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
IMAGE = "walstream/postgresql-node:bookworm"
NETWORK = "walstream-bench-plain"
PRIMARY, REPLICA = "walstream-bench-plain-primary", "walstream-bench-plain-replica"
INVENTORY = HERE / "inventory.yml"


def run(*argv: str, **options: object) -> str:
    done = subprocess.run(argv, cwd=ROOT, text=True, capture_output=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{' '.join(argv)} failed:\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def play(playbook: str) -> None:
    run("ansible-playbook", "--inventory", str(INVENTORY), playbook)


def plain_down() -> None:
    for kind, name in (("container", PRIMARY), ("container", REPLICA), ("network", NETWORK)):
        subprocess.run(["docker", kind, "rm", *(["-f", "-v"] if kind == "container" else []), name],
                       capture_output=True, check=False)  # fmt: skip


def plain_up() -> None:
    """Two containers with hand-written entrypoints, until the replica streams."""
    run("docker", "network", "create", NETWORK)
    for name, script in ((PRIMARY, "plain-primary"), (REPLICA, "plain-replica")):
        run(
            *("docker", "run", "--detach", "--name", name, "--hostname", name, "--network", NETWORK),
            *(
                "--env",
                f"PRIMARY={PRIMARY}",
                "--volume",
                f"{HERE / script}:/entrypoint:ro",
                IMAGE,
                "/entrypoint",
            ),
        )
    query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    deadline = time.monotonic() + 60
    while True:
        asked = subprocess.run(
            ["docker", "exec", PRIMARY, "psql", "-Atc", query], capture_output=True, text=True, check=False
        )
        if asked.stdout.strip() == "1":
            return
        if time.monotonic() > deadline:
            sys.exit(f"the plain replica does not stream:\n{run('docker', 'logs', REPLICA)}")
        time.sleep(0.05)


def seconds(work: Callable[[], None]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def report(title: str, ours: list[float], plain: list[float], limit: float) -> bool:
    """One line per figure; the ratio is the median of the ratios of each pair."""
    ratio = statistics.median(a / b for a, b in zip(ours, plain))
    sys.stdout.write(
        f"{title}: {statistics.median(ours):.2f} s, plain {statistics.median(plain):.2f} s, "
        f"ratio {ratio:.2f} (at most {limit:g}), {len(ours)} pairs\n"
    )
    sys.stdout.flush()
    return ratio <= limit


@contextlib.contextmanager
def clean() -> Iterator[None]:
    try:
        yield
    finally:
        plain_down()
        play("playbooks/teardown.yml")


def bring_up(pairs: int) -> bool:
    ours, plain = [], []
    for _attempt in range(pairs):
        play("playbooks/teardown.yml")
        ours.append(seconds(lambda: play("playbooks/site.yml")))
        plain_down()
        plain.append(seconds(plain_up))
    return report("From no containers to proved streaming", ours, plain, 3)


def unchanged(pairs: int) -> bool:
    play("playbooks/site.yml")
    ours, plain = [], []
    for _attempt in range(pairs):
        ours.append(seconds(lambda: play("playbooks/site.yml")))
        plain.append(seconds(lambda: play("tests/bench/empty.yml")))
    return report("A run that changes nothing, against an empty play", ours, plain, 5)


OURS, PLAIN = "/var/lib/postgresql/bench/ours", "/var/lib/postgresql/bench/plain"
BIN = "/usr/lib/postgresql/15/bin"
SOURCE, TARGET = "walstream-bench-primary", "walstream-bench-replica"
PASSFILE = "/var/lib/postgresql/15/main.pgpass"
MIB = 1024


def on_target(module: str, arguments: dict[str, object] | str) -> None:
    """One task on the replica's host, through Ansible: both sides of a pair pay for the controller alike."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    run("ansible", "--inventory", str(INVENTORY), TARGET, "--module-name", module, "--args", text)


def clone_with_module(verify: bool = False) -> None:
    upstream = {"host": SOURCE, "user": "postgres", "passfile": PASSFILE}
    on_target(
        "walstream.postgresql.basebackup", {"data_directory": OURS, "upstream": upstream, "verify": verify}
    )


def clone_plainly(verify: bool = False) -> None:
    copy = f"{BIN}/pg_basebackup -h {SOURCE} -U postgres -w -X stream -c fast -D {PLAIN}"
    check = f" && {BIN}/pg_verifybackup -q {PLAIN}" if verify else ""
    command = f"runuser -u postgres -- env PGPASSFILE={PASSFILE} sh -c '{copy}{check}'"
    on_target("ansible.builtin.command", f"sh -c {json.dumps(command)}")


def forget_clones() -> None:
    run("docker", "exec", "--user", "root", TARGET, "rm", "-rf", OURS, PLAIN)
    run("docker", "exec", TARGET, "sync")


def fill(gigabytes: int) -> None:
    """Pages of 8 kB rows that nothing compresses away."""
    rows = gigabytes * 1024 * 128
    statements = (
        "CREATE TABLE filler (x text)",
        "ALTER TABLE filler ALTER x SET STORAGE PLAIN",
        f"INSERT INTO filler SELECT repeat(md5(i::text), 240) FROM generate_series(1, {rows}) i",
        "CHECKPOINT",
    )
    run("docker", "exec", SOURCE, "psql", "-q", *[part for one in statements for part in ("-c", one)])


def clone(pairs: int, gigabytes: int) -> bool:
    """Copying, and copying with verification, against the tools by hand."""
    play("playbooks/site.yml")
    fill(gigabytes)
    good = []
    for verify, title in ((False, "copied"), (True, "copied and verified")):
        ours, plain = [], []
        for number in range(pairs):
            # Whoever goes second finds warmer caches, so they take turns.
            order = [(clone_with_module, ours), (clone_plainly, plain)]
            for work, times in order if number % 2 else reversed(order):
                forget_clones()
                times.append(seconds(lambda work=work, verify=verify: work(verify)))  # type: ignore[misc]
        good.append(report(f"{gigabytes} GiB {title}", ours, plain, 1.05))
    forget_clones()
    return all([*good, memory()])


def memory() -> bool:
    """The largest process of ours on the host while it clones."""
    largest = 0
    with subprocess.Popen(
        [sys.executable, __file__, "--only-clone"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as cloning:
        while cloning.poll() is None:
            listed = run("docker", "exec", TARGET, "ps", "-eo", "rss=,comm=,args=")
            ours = [
                line.split(None, 2)
                for line in listed.splitlines()
                if "init.py" not in line and "/init" not in line
            ]
            largest = max(
                [largest, *(int(rss) for rss, command, *_args in ours if command.startswith("python"))]
            )
            time.sleep(0.2)
    forget_clones()
    sys.stdout.write(f"Largest process of ours while cloning: {largest / MIB:.0f} MiB (under 60)\n")
    return 0 < largest < 60 * MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--gigabytes", type=int, default=2)
    parser.add_argument("--only-clone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if given.only_clone:
        clone_with_module()
        return
    run("docker/build", "bookworm")
    with clean():
        good = [unchanged(given.pairs), bring_up(given.pairs), clone(given.pairs, given.gigabytes)]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
