# SPDX-License-Identifier: GPL-3.0-or-later
"""Clones of real servers: what succeeds, and what is refused with every byte in its place."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.tests.integration.cloning import (
    LIKE_A_CLUSTER,
    SLOT,
    VIOLENT_SUITES,
    Site,
    change_network,
)
from ansible_collections.walstream.postgresql.tests.integration.conftest import REPLICATION_PASSWORD


class TestClone:
    def test_check_then_real_then_again(self, site):
        checked = site.clone(check=True, diff=True)
        assert checked["changed"]
        forecast = checked["basebackup"]
        assert forecast["action"] == "cloned"
        assert forecast["bytes"] > 50_000_000
        assert forecast["free_bytes"] > forecast["bytes"]
        assert "absent" in checked["diff"][0]["before"]
        assert site.look()["state"] == "absent"

        made = site.clone()
        assert made["changed"]
        assert made["basebackup"]["action"] == "cloned"
        assert made["basebackup"]["start_lsn"]
        assert made["basebackup"]["bytes"] > 50_000_000
        site.nothing_left()
        found = site.look()
        assert found["state"] == "standby"
        assert found["backup_label"]
        assert found["system_identifier"] == made["basebackup"]["system_identifier"]
        assert site.replica.run("stat", "-c", "%U %a", site.target) == "postgres 700"
        assert "passw" not in site.replica.run("cat", f"{site.target}/postgresql.auto.conf")

        again = site.clone()
        assert not again["changed"]
        assert again["basebackup"]["action"] == "unchanged"
        site.prove()
        assert not site.clone()["changed"]

    def test_onto_an_empty_directory_with_group_access(self, site):
        site.replica.run("install", "-d", "-o", "postgres", "-m", "750", site.target)
        site.succeed()
        assert not site.clone()["changed"]
        assert site.replica.run("stat", "-c", "%a", site.target) == "750"


@VIOLENT_SUITES
class TestRefusal:
    """Nothing is changed: every byte, owner, mode and time stays."""

    def refuse(self, site, *words, **options):
        before = site.checksums(site.replica.root)
        for check in (True, False):
            result = site.clone(check=check, **options)
            assert result["failed"]
            for word in words:
                assert word in result["msg"]
        assert site.checksums(site.replica.root) == before
        return result

    def test_foreign_cluster_until_consent_names_it(self, site):
        site.replica.initdb()
        found = site.look()
        assert found["state"] == "primary"
        identifier = found["system_identifier"]
        self.refuse(site, "another cluster", identifier, "'replace'")
        self.refuse(site, "stale or wrong", replace="1234567890")
        before = site.checksums(site.target)
        done = site.succeed(replace=identifier)
        aside = done["moved_aside_to"]
        assert aside.startswith(f"{site.target}.replaced-")
        assert site.checksums(aside).replace(aside, site.target) == before
        again = site.clone(replace=identifier)
        assert not again["changed"]

    def test_live_and_stopped_former_primary(self, site):
        site.succeed()
        site.replica.start()
        site.replica.psql("SELECT pg_promote()")
        site.replica.wait_for("SELECT NOT pg_is_in_recovery()")
        identifier = site.look()["system_identifier"]
        site.replica.psql("CHECKPOINT")
        result = site.clone(check=True, replace=identifier)
        assert result["failed"]
        assert "newer than the upstream" in result["msg"]
        site.replica.stop()
        self.refuse(site, "timeline 2, newer than the upstream's 1", replace=identifier)

    def test_stopped_former_primary_of_the_same_timeline(self, site):
        site.clone(standby=False)
        assert not site.clone(standby=False)["changed"]
        self.refuse(site, "base backup that has not been started")
        site.replica.run("mv", f"{site.target}/backup_label", f"{site.target}/backup_label.old")
        result = self.refuse(site, "stopped former primary", "'replace'")
        assert result["data_directory_info"]["state"] == "primary"

    @pytest.mark.parametrize(
        ("script", "words"),
        [
            ("mkdir data; echo precious > data/letter.txt", "letter.txt"),
            ("touch data", "a file"),
            ("ln -s nowhere data", "does not exist"),
            (
                "mkdir -p data/global data/base; echo 15 > data/PG_VERSION; touch data/base/16384",
                "without its control file",
            ),
            (
                f"{LIKE_A_CLUSTER}; head -c 100 /dev/urandom > data/global/pg_control",
                "damaged",
            ),
            (
                f"{LIKE_A_CLUSTER}; head -c 8192 /dev/urandom > data/global/pg_control",
                "damaged",
            ),
        ],
    )
    def test_what_is_not_a_cluster(self, site, script, words):
        script = script.replace("MAJOR", str(site.replica.major))
        site.replica.run("bash", "-c", f"cd {site.replica.root}; {script}", user="postgres")
        self.refuse(site, words)


class TestPassword:
    def test_it_is_stored_once_the_upstream_has_taken_it(self, site):
        file = f"{site.replica.root}/stored"
        to = {"upstream": {**site.upstream, "passfile": file}}
        # Nothing is blotted out of a message because it looks like the password.
        refused = site.clone(**to, password="replicator")
        assert "refuses the password of 'replicator'" in refused["msg"]
        assert file in refused["msg"]
        checked = site.clone(check=True, diff=True, **to, password=REPLICATION_PASSWORD)
        assert checked["diff"][1]["after"].endswith(":replication:replicator:********\n")
        assert "stored" not in site.replica.run("ls", site.replica.root)

        made = site.clone(**to, password=REPLICATION_PASSWORD)
        assert made["basebackup"]["action"] == "cloned"
        assert REPLICATION_PASSWORD not in str(made)
        assert site.replica.run("stat", "-c", "%U %a", file) == "postgres 600"
        assert not site.clone(**to, password=REPLICATION_PASSWORD)["changed"]
        site.replica.run("rm", file)
        again = site.clone(**to, password=REPLICATION_PASSWORD)
        assert (again["basebackup"]["action"], again["changed"]) == ("unchanged", True)
        site.replica.run("rm", file)


class TestPreflight:
    def fail(self, site, *words, check=True, **options):
        result = site.clone(check=check, **options)
        assert result["failed"]
        for word in words:
            assert word in result["msg"], result["msg"]
        assert site.replica.run("ls", "-A", site.replica.root, check=False).find(".data.clone") < 0

    def test_each_failure_is_a_sentence(self, site):
        upstream = site.upstream
        self.fail(site, "does not exist", "slot", slot="nobody")
        self.fail(site, "no name for a slot", slot="Bad-Name")
        self.fail(site, "cannot be resolved", upstream={**upstream, "host": "nowhere.invalid"})
        self.fail(site, "nobody listens", upstream={**upstream, "port": 5999})
        self.fail(site, "passfile", upstream={**upstream, "password": "secret"})
        self.fail(site, "password file", upstream={**upstream, "passfile": "/nowhere"})
        self.fail(site, "free", source_bytes=10**15)
        self.fail(site, "tablespace at '/old'", source_bytes=1, source_tablespaces=["/old"])
        self.fail(site, "not empty", wal_directory="/etc")
        self.fail(site, "bin_directory", bin_directory="/nowhere")
        site.primary.psql("SELECT pg_drop_replication_slot('replica')")
        site.primary.psql(
            "SELECT pg_create_logical_replication_slot('replica', 'test_decoding')", check=False
        )
        site.primary.psql("SELECT pg_create_physical_replication_slot('lazy')")
        self.fail(site, "reserves no WAL", slot="lazy")

    def test_walsenders(self, site, servers):
        """Two are needed, and one is there."""
        primary = servers(site.primary.suite, {"max_wal_senders": "1"})
        other = Site(primary, site.replica)
        other.passfile = site.passfile
        primary.psql(f"SELECT pg_create_physical_replication_slot('{SLOT}', true)")
        self.fail(other, "walsenders of the upstream are taken", "max_wal_senders")

    def test_places(self, site):
        """Root acts only where nobody else can interfere, and the server's user must be able to come there."""
        root = site.replica.root
        prepare = (
            f"cd {root}; install -d -o nobody theirs; install -d theirs/ours; "
            "install -d -m 700 shut; install -d -m 777 open; install -d open/ours; "
            "install -d -o nobody notours; install -d linked; ln -sn ../theirs/ours linked/away"
        )
        try:
            site.replica.run("bash", "-c", prepare)
            self.fail(
                site, "root does not act there", "belongs to 'nobody'", data_directory=f"{root}/theirs/ours/d"
            )
            self.fail(site, "'nobody'", data_directory=f"{root}/linked/away/d")
            self.fail(site, "root does not act there", "by everybody", data_directory=f"{root}/open/ours/d")
            self.fail(site, "'nobody'", wal_directory=f"{root}/theirs/ours/wal")
            self.fail(site, "may not enter", f"{root}/shut", data_directory=f"{root}/shut/d")
            self.fail(site, "may not write in", wal_directory=f"{root}/notours")
            self.fail(
                site, "two things at once", wal_directory=f"{root}/x", tablespace_mapping={"/old": f"{root}/x"},
                source_tablespaces=["/old"], source_bytes=1,
            )  # fmt: skip
            for where in ("theirs/ours", "open/ours"):
                refused = site.clone(data_directory=f"{root}/{where}/d")
                assert "root does not act there" in refused["msg"]
                assert not site.replica.run("ls", "-A", f"{root}/{where}")
        finally:
            site.replica.run("bash", "-c", f"cd {root}; rm -rf theirs shut open notours linked")

    def test_places_that_only_root_can_prepare(self, site):
        """A folder of root's for the data directory, and a new file system's for the WAL."""
        try:
            site.replica.run("bash", "-c", "install -d /walstream-root/wal")
            site.clone(data_directory="/walstream-root/pg/d", wal_directory="/walstream-root/wal")
            found = site.replica.run_module("data_directory_info", {"data_directory": "/walstream-root/pg/d"})
            assert found["data_directory_info"]["state"] == "standby"
            assert found["data_directory_info"]["wal_directory"] == "/walstream-root/wal"
            modes = site.replica.run("stat", "-c", "%U %a", "/walstream-root/wal", "/walstream-root/pg/d")
            assert modes.splitlines() == ["postgres 700"] * 2
            assert site.replica.run("ls", "-A", "/walstream-root", "/walstream-root/pg").count("clone") == 0
        finally:
            site.replica.run("rm", "-rf", "/walstream-root")


@VIOLENT_SUITES
class TestPlaces:
    def test_wal_directory_and_tablespaces(self, site):
        root = site.replica.root
        site.primary.run("install", "-d", "-o", "postgres", "/srv/ts1")
        site.primary.psql("CREATE TABLESPACE ts1 LOCATION '/srv/ts1'")
        site.primary.psql("CREATE TABLE there TABLESPACE ts1 AS SELECT g FROM generate_series(1, 100000) g")
        try:
            unmapped = site.clone(check=True)
            assert unmapped["failed"]
            assert "tablespace at '/srv/ts1'" in unmapped["msg"]
            places = {"wal_directory": f"{root}/wal", "tablespace_mapping": {"/srv/ts1": f"{root}/ts1"}}
            run = site.clone_in_background(**places)
            site.until_copying(1)
            site.kill(*site.module(), *site.worker(), *site.processes("pg_basebackup"))
            run.result(may_break=True)
            assert site.replica.run("ls", f"{root}/wal")
            site.succeed(**places)
            found = site.look()
            assert found["wal_directory"] == f"{root}/wal"
            assert list(found["tablespaces"].values()) == [f"{root}/ts1"]
            # A full replacement: what the new copy needs the place of moves aside with its cluster.
            site.replica.run("rm", f"{site.target}/standby.signal")
            done = site.succeed(replace=found["system_identifier"], **places)
            aside = done["moved_aside_to"]
            kept = site.replica.run_module("data_directory_info", {"data_directory": aside})
            kept = kept["data_directory_info"]
            assert kept["wal_directory"].startswith(f"{root}/wal.replaced-")
            assert next(iter(kept["tablespaces"].values())).startswith(f"{root}/ts1.replaced-")
        finally:
            site.remove()
            site.primary.psql("DROP TABLE there")
            site.primary.psql("DROP TABLESPACE ts1")


@pytest.mark.suites("bookworm")
class TestUpstream:
    def test_damaged_page(self, servers):
        """With checksums, a copy of a damaged page is no copy."""
        primary = servers.empty("bookworm")
        primary.initdb("--data-checksums")
        primary.configure({"listen_addresses": "'*'", "fsync": "off"})
        primary.start()
        primary.allow_replication()
        damaged = Site(primary, servers.empty("bookworm"))
        damaged.prepare()
        damaged.begin()
        primary.psql("CHECKPOINT")
        file = primary.psql("SELECT pg_relation_filepath('filler')")
        path = f"{primary.data_directory}/{file}"
        write = f"cp {path} /tmp/saved && printf XXXX | dd of={path} bs=1 seek=20000 conv=notrunc"
        primary.run("bash", "-c", write)
        result = damaged.clone()
        assert result["failed"]
        assert f"'./{file}', block 2: this page of the upstream is damaged" in result["msg"]
        damaged.nothing_left()
        primary.run("bash", "-c", f"cat /tmp/saved > {path}")
        damaged.succeed()

    def test_cut_network(self, made_site, servers, network):
        far = Site(made_site.primary, servers.empty("bookworm"))
        far.passfile = far.replica.write_passfile()
        far.begin()
        run = far.clone_in_background(
            max_rate="4M",
            upstream={
                **far.upstream,
                "keepalives_idle": 2,
                "keepalives_interval": 1,
                "keepalives_count": 3,
                "tcp_user_timeout": 5000,
            },
        )
        far.until_copying(0.5)
        change_network("disconnect", network, far)
        try:
            result = run.result()
        finally:
            change_network("connect", network, far)
        assert result["failed"]
        assert "the connection to the upstream ended" in result["msg"]
        assert far.look()["state"] == "absent"
        far.succeed()

    def test_a_check_before_the_upstream_lets_us_in(self, site):
        """As in a check of a whole topology, whose earlier tasks only plan the rule, the role or the certificates."""
        system = site.primary.psql("SELECT system_identifier FROM pg_control_system()")
        foreseen = {"system_identifier": system, "timeline": 1, "version": site.primary.major}
        stranger = {"upstream": {**site.upstream, "user": "stranger"}, "foreseen": foreseen}
        checked = site.clone(check=True, source_bytes=5_000_000, **stranger)["basebackup"]
        assert checked["action"] == "cloned"
        assert checked["bytes"] == 5_000_000
        assert "whether it lets this host in" in checked["reason"]
        assert "no replication login" in site.clone(**stranger)["msg"]
        assert site.look()["state"] == "absent"
        let_in = site.clone(check=True, foreseen={**foreseen, "system_identifier": "1"})["basebackup"]
        assert "whether it lets this host in" not in let_in["reason"]

    def test_role_that_may_only_replicate(self, site):
        """Without an ordinary login nothing is known of the size beforehand, and all else works."""
        hba = f"{site.primary.data_directory}/pg_hba.conf"
        site.primary.run("sed", "-i", "s/^host all,replication/host replication/", hba)
        site.primary.reload()
        try:
            checked = site.clone(check=True)["basebackup"]
            assert (checked["action"], checked["bytes"]) == ("cloned", None)
            measured = site.clone(check=True, source_bytes=123456789, source_tablespaces=[])["basebackup"]
            assert measured["bytes"] == 123456789
            site.succeed()
        finally:
            site.primary.run("sed", "-i", "s/^host replication/host all,replication/", hba)
            site.primary.reload()

    def test_standby_as_upstream(self, site, servers):
        site.succeed()
        site.replica.start()
        far = Site(site.replica, servers.empty(site.replica.suite))
        far.passfile = far.replica.write_passfile()
        site.replica.psql(f"SELECT pg_create_physical_replication_slot('{SLOT}', true)")
        assert far.clone()["basebackup"]["action"] == "cloned"
        assert far.look()["state"] == "standby"
