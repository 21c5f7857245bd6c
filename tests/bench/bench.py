#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we cost, as a ratio against the plain tool doing the same work in the same run; medians of several.

Builds containers of its own beside whatever runs, and removes them.
"""

from __future__ import annotations

import argparse
import contextlib
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
    for _ in range(pairs):
        play("playbooks/teardown.yml")
        ours.append(seconds(lambda: play("playbooks/site.yml")))
        plain_down()
        plain.append(seconds(plain_up))
    return report("From no containers to proved streaming", ours, plain, 3)


def unchanged(pairs: int) -> bool:
    play("playbooks/site.yml")
    ours, plain = [], []
    for _ in range(pairs):
        ours.append(seconds(lambda: play("playbooks/site.yml")))
        plain.append(seconds(lambda: play("tests/bench/empty.yml")))
    return report("A run that changes nothing, against an empty play", ours, plain, 5)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pairs", type=int, default=5)
    pairs = arguments.parse_args().pairs
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run("docker/build", "bookworm")
    with clean():
        good = [unchanged(pairs), bring_up(pairs)]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
