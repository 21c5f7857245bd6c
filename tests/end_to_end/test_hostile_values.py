# SPDX-License-Identifier: GPL-3.0-or-later
"""Values from an inventory, and from a node, are data: none of them becomes a command on the controller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.walstream.postgresql.tests.end_to_end.harness import REPOSITORY, Run, Topology

ASKED = (
    *("container_is_current", "container_exists", "container_is_ours", "container_is_running"),
    *("container_is_booted", "container_is_healthy", "container_holds_port", "container_image_is_missing"),
    *("container_volume_is_ours", "container_network_is_idle", "container_unfit"),
    *(
        "container_name_refusal",
        "container_port_refusal",
        "container_owner_refusal",
        "container_port_conflict",
    ),
)
"""Variables whose value comes from a command, or says what is wrong with one."""


def hostile(marker: Path) -> list[str]:
    return [
        f"$(touch {marker})",
        f"`touch {marker}`",
        f"x; touch {marker} #",
        f"x' ; touch {marker} ; '",
        f'x" ; touch {marker} ; "',
        f"x\ntouch {marker}\n",
        f"x | touch {marker}",
        f"--help x && touch {marker}",
    ]


def inventory(directory: Path, hosts: dict[str, dict[str, object]]) -> Path:
    common = {
        "ansible_connection": "community.docker.docker",
        "ansible_user": "root",
        "ansible_python_interpreter": "/usr/bin/python3",
        "container_volume": "{{ inventory_hostname }}-data",
        "replication_password": "x",
    }
    tree = {"primary": {"hosts": hosts, "vars": common}}
    path = directory / "inventory.yml"
    path.write_text(yaml.safe_dump({"all": {"children": tree}}))
    return path


def ask(topology: Topology, directory: Path, variables: str, names: tuple[str, ...], hosts: Path) -> Run:
    """The values of variables of playbooks/vars, on each host and without a task on it."""
    asking = {
        "name": "Ask all there is to ask",
        "hosts": "primary",
        "connection": "local",
        "gather_facts": False,
        "vars_files": str(REPOSITORY / "playbooks" / "vars" / f"{variables}.yml"),
        "vars": {"item": "{{ container_network }}"},
        "tasks": [{"ansible.builtin.debug": {"msg": {name: f"{{{{ {name} }}}}" for name in names}}}],
    }
    playbook = directory / "ask.yml"
    playbook.write_text(yaml.safe_dump([asking]))
    name = os.path.relpath(playbook, REPOSITORY / "playbooks").removesuffix(".yml")
    return topology.play(name, inventory=hosts)


def test_what_docker_is_asked(from_nothing: Topology, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    values = hostile(marker)
    # A host for each value in each place; names may not break lines in an inventory.
    hosts: dict[str, dict[str, object]] = {
        name: {} for name in values if "\n" not in name and ":" not in name and "[" not in name
    }
    for place in ("image", "network", "volume", "published_port"):
        hosts |= {f"{place}-{n}": {f"container_{place}": value} for n, value in enumerate(values)}
    usual = {"container_image": "none/such", "container_network": "none-such", "container_published_port": 1}
    path = inventory(tmp_path, {name: {**usual, **values} for name, values in hosts.items()})
    run = ask(from_nothing, tmp_path, "containers", ASKED, path)
    assert not marker.exists()
    assert {one["ok"] for one in run.oks} == set(hosts), run.output[-3000:]
    said = {one["ok"]: one["result"]["msg"] for one in run.oks}
    assert not any(words["container_is_ours"] for words in said.values())
    refused = {host for host, words in said.items() if "must be a port" in words["container_port_refusal"]}
    assert refused == {host for host in hosts if host.startswith("published_port")}


@pytest.mark.parametrize("place", ["example_table", "postgresql_port", "bin_directory"])
def test_what_a_primary_is_asked(from_nothing: Topology, tmp_path: Path, place: str) -> None:
    """The last place is a node's own answer: a node must not run commands on the controller either."""
    marker = tmp_path / "marker"
    hosts = {}
    for number, value in enumerate(hostile(marker)):
        bin_directory = value if place == "bin_directory" else ""
        hosts[f"none-such-{number}"] = {
            "example_table": "t",
            place: value,
            "_discovered": {"cluster_info": {"bin_directory": bin_directory}},
        }
    run = ask(from_nothing, tmp_path, "example_table", ("example_table_exists",), inventory(tmp_path, hosts))
    assert not marker.exists()
    assert {one["ok"] for one in run.oks} == set(hosts), run.output[-3000:]
    assert not any(one["result"]["msg"]["example_table_exists"] for one in run.oks)


def test_a_name_that_docker_cannot_take(from_nothing: Topology, tmp_path: Path) -> None:
    for name, values, words in (
        ("-x", {}, '"-x" and "-x-data" cannot be the name of a container'),
        ("x$y", {}, '"x.y" and "x.y-data" cannot be the name of a container'),
        ("fine", {"container_volume": "a/b"}, '"a/b" cannot be the name of a container'),
        ("fine", {"container_published_port": "7432; true"}, "container_published_port"),
    ):
        host = {"container_image": "none/such", "container_network": "none-such", **values}
        path = inventory(tmp_path, {name: host})
        from_nothing.site("--check", inventory=path).sentence(words)
        from_nothing.site(inventory=path).sentence(words)


def test_an_odd_table(topology: Topology) -> None:
    """Made once, and looked for under the very name under which it was made."""
    table = 'Odd\'s \\ "table" $HOME %s'
    extra = json.dumps({"example_table": table})
    inventory = topology.inventory()
    made = topology.site("--extra-vars", extra, inventory=inventory).succeeded()
    assert made.result("Create the example table")["changed"]
    literal = table.replace("'", "''")
    assert topology.primary.psql(f"SELECT count(*) FROM pg_class WHERE relname = '{literal}'") == "1"
    again = topology.site("--extra-vars", extra, inventory=inventory).settled()
    assert not [one for one in again.oks if one["by"].endswith("Create the example table")]
    topology.primary.psql("DROP TABLE " + '"' + table.replace('"', '""') + '"')


def test_a_table_that_cannot_be_made(topology: Topology) -> None:
    """The run does the rest first, and then says so."""
    settings = {"listen_addresses": "*", "work_mem": "5MB"}
    hosts = {"primary": {"example_table": "nowhere.t"}}
    inventory = topology.inventory(hosts=hosts, postgresql_settings=settings)
    run = topology.site(inventory=inventory)
    run.sentence("the table 'nowhere.t' could not be made on '.*primary': .*nowhere")
    assert [node.psql("SHOW work_mem") for node in topology.nodes] == ["5MB", "5MB"]
    topology.site().succeeded()


def test_the_shell_scripts_quote() -> None:
    scripts = [REPOSITORY / "docker" / name for name in ("build", "doctor", "healthcheck")]
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([str(shellcheck), *map(str, scripts)], capture_output=True, text=True, check=False)
    assert not done.stdout
