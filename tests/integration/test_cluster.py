# SPDX-License-Identifier: GPL-3.0-or-later
"""`cluster` and `cluster_info` on real servers, in Debian's layout and in the plain one, without systemd."""

from __future__ import annotations

import json

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.hba_block import BEGIN, END

PORT = 5544
NAME = "alpha"

PASSWORD = "it's $a \\ pässword: 10 % of "

ONE = pytest.mark.suites("bookworm")
"""Where no version behaves in a way of its own."""


class Declared:
    """The cluster `alpha` of a node in Debian's layout."""

    def __init__(self, node):
        self.node = node
        node.port = PORT
        self.data_directory = f"/var/lib/postgresql/{node.major}/{NAME}"
        self.config_directory = f"/etc/postgresql/{node.major}/{NAME}"

    def __call__(self, state="started", check=False, diff=False, user="root", **options):
        arguments = {"name": NAME, "version": self.node.major, "port": PORT, "state": state, **options}
        return self.node.run_module("cluster", arguments, check=check, diff=diff, user=user)

    def info(self):
        arguments = {"name": NAME, "version": self.node.major}
        return self.node.run_module("cluster_info", arguments)["cluster_info"]

    def listed(self):
        """What Debian's own tool says of it: port and state."""
        return self.node.run("pg_lsclusters", "-h", str(self.node.major), NAME).split()[2:4]

    def settings(self):
        return self.node.run("cat", f"{self.config_directory}/conf.d/walstream.conf")


@pytest.fixture(scope="module")
def declared(shared_servers, suite):
    """A running cluster, made by the module."""
    cluster = Declared(shared_servers.empty(suite))
    made = cluster(initialize=True, settings={"wal_level": "replica"})
    assert made["cluster"]["actions"] == ["created", "configured", "started"], made
    return cluster


@ONE
def test_by_the_servers_user_alone(servers, suite):
    cluster = Declared(servers.empty(suite))
    made = cluster(initialize=True, user="postgres", settings={"work_mem": "16MB"})
    assert made["cluster"]["actions"] == ["created", "configured", "started"], made
    # Its log would belong to adm, had root made it.
    log = f"/var/log/postgresql/postgresql-{cluster.node.major}-{NAME}.log"
    assert cluster.node.run("stat", "--format=%U %G %a", log) == "postgres postgres 640"
    assert cluster(user="postgres", settings={"work_mem": "16MB"})["changed"] is False
    assert cluster(user="root", settings={"work_mem": "16MB"})["changed"] is False
    assert cluster(state="stopped", user="postgres")["cluster"]["actions"] == ["stopped"]


def test_from_nothing(servers, suite):
    cluster = Declared(servers.empty(suite))
    missing = cluster()
    assert missing["failed"]
    assert "does not exist" in missing["msg"]
    wanted = {
        "initialize": True,
        "settings": {"wal_level": "replica"},
        "defaults": {"listen_addresses": "*"},
        "superuser_password": PASSWORD,
        "slots": ["first", "second"],
        "slot_record": "/var/lib/postgresql/noted",
    }
    refused = cluster(**{**wanted, "slots": ["First"]})
    assert "'First' cannot be the name of a replication slot" in refused["msg"]
    wrong = cluster(initialize=True, settings={"nonsense": 1})
    assert 'unrecognized configuration parameter "nonsense"' in wrong["msg"]
    foreseen = cluster(check=True, **wanted)
    assert cluster.info()["data"]["state"] == "absent"
    assert cluster.info()["configured"] is False
    made = cluster(**wanted)
    assert made["changed"]
    assert made["cluster"]["actions"] == foreseen["cluster"]["actions"]
    assert made["cluster"]["actions"] == ["created", "configured", "started", "slots made"]
    assert made["cluster"]["made_slots"] == foreseen["cluster"]["made_slots"] == ["first", "second"]
    reserving = "SELECT array_agg(slot_name ORDER BY slot_name) FROM pg_replication_slots WHERE restart_lsn IS NOT NULL"
    assert cluster.node.psql(reserving) == "{first,second}"
    assert json.loads(cluster.node.run("cat", "/var/lib/postgresql/noted")) == ["first", "second"]
    again = cluster(**{**wanted, "slots": ["third"]})
    assert not again["changed"], again
    assert again["cluster"]["made_slots"] == []
    assert made["cluster"]["superuser_password_is_set"] is True
    assert again["cluster"]["superuser_password_is_set"] is False
    assert PASSWORD not in str((made, again, foreseen))
    login = [
        "env",
        f"PGPASSWORD={PASSWORD}",
        "psql",
        "-h",
        "127.0.0.1",
        "-p",
        str(PORT),
        "-U",
        "postgres",
        "-Atc",
    ]
    assert cluster.node.run(*login, "SELECT 1") == "1"
    assert cluster.listed() == [str(PORT), "online"]
    assert (
        cluster.node.psql("SHOW data_checksums; SHOW server_encoding; SHOW listen_addresses") == "on\nUTF8\n*"
    )
    assert cluster.node.psql("SHOW timezone") == "Etc/UTC", "not the zone of its host"
    methods = "SELECT string_agg(DISTINCT auth_method, ' ' ORDER BY auth_method) FROM pg_hba_file_rules"
    assert cluster.node.psql(methods) == "peer scram-sha-256"


@ONE
def test_debians_own_tools_agree(declared):
    kept = "until grep -qs 'postgresql.*-15' /etc/apt/apt.conf.d/*autoremove-postgresql; do sleep 0.1; done"
    declared.node.run("timeout", "10", "sh", "-c", kept)
    declared.node.run("pg_ctlcluster", str(declared.node.major), NAME, "restart")
    assert declared.listed() == [str(PORT), "online"]
    assert not declared()["changed"]


def test_info(declared):
    found = declared.info()
    assert (found["layout"], found["service"], found["port"]) == ("debian", "pg_ctl", PORT)
    assert found["missing_packages"] == []
    assert found["data"]["state"] == "primary"
    assert found["running"]
    assert found["reachable"]
    assert found["in_recovery"] is False
    assert found["system_identifier"] == found["data"]["system_identifier"]
    assert found["timeline"] == 1
    assert found["settings"]["wal_level"] == "replica"
    assert found["bytes"] > 1_000_000
    assert found["standbys"] == found["slots"] == found["tablespaces"] == found["pending_restart"] == []


def test_a_change_that_needs_a_reload(declared):
    change = {"settings": {"work_mem": "8MB"}, "purge": False}
    foreseen = declared(check=True, diff=True, **change)
    assert foreseen["cluster"]["actions"] == ["configured", "reloaded"]
    assert "work_mem = 8MB" in foreseen["diff"][0]["after"]
    assert "work_mem" not in declared.settings()
    assert declared(**change)["cluster"]["actions"] == ["configured", "reloaded"]
    assert declared.node.psql("SHOW work_mem") == "8MB"
    assert not declared(**change)["changed"]


def test_a_change_that_needs_a_restart(declared):
    change = {"settings": {"max_connections": 60}, "purge": False}
    foreseen = declared(check=True, **change)
    assert foreseen["cluster"]["actions"] == ["configured", "reloaded", "restarted"]
    waiting = declared(restart=False, **change)
    assert waiting["cluster"]["pending_restart"] == ["max_connections"]
    assert declared.node.psql("SHOW max_connections") == "100"
    assert not declared(restart=False, **change)["changed"]
    assert declared(**change)["cluster"]["actions"] == ["restarted"]
    assert declared.node.psql("SHOW max_connections") == "60"
    assert not declared(**change)["changed"]


REPLICATION = "host  replication  replicator  10.0.0.0/8  scram-sha-256"


class TestRules:
    def read(self, cluster):
        return cluster.node.run("cat", f"{cluster.config_directory}/pg_hba.conf")

    def test_come_first_and_leave_the_others(self, declared):
        before = self.read(declared)
        foreseen = declared(hba=[REPLICATION], check=True, diff=True)
        assert foreseen["cluster"]["actions"] == ["rules loaded"]
        assert REPLICATION in foreseen["diff"][1]["after"]
        assert self.read(declared) == before
        assert declared(hba=[REPLICATION])["cluster"]["actions"] == ["rules loaded"]
        lines = self.read(declared).split("\n")
        assert lines[1] == REPLICATION
        assert "\n".join(lines[3:]) == before
        first = "SELECT database::text || user_name::text FROM pg_hba_file_rules ORDER BY line_number LIMIT 1"
        assert declared.node.psql(first) == "{replication}{replicator}"
        assert declared.info()["managed_hba"] == [REPLICATION]
        assert declared.info()["unloaded_files"] == []
        assert not declared(hba=[REPLICATION])["changed"]
        assert not declared()["changed"]
        state = declared.node.run("stat", "-c", "%U %a", f"{declared.config_directory}/pg_hba.conf")
        assert state == "postgres 640"
        assert declared(hba=[])["changed"]
        assert self.read(declared) == before

    @pytest.mark.parametrize(
        ("rule", "words"),
        [
            pytest.param("local  all  all  nonsense", "nonsense", id="that the server cannot read"),
            pytest.param("local  all  postgres  reject", "pg_hba.conf rejects", id="that lock us out"),
        ],
    )
    def test_are_taken_back(self, declared, rule, words):
        before = self.read(declared)
        refused = declared(hba=[rule])
        assert refused["failed"]
        assert words in refused["msg"]
        assert "the former ones are in force again" in refused["msg"]
        assert self.read(declared) == before
        assert declared.node.psql("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL") == "0"
        assert not declared()["changed"]

    def test_of_a_killed_run_that_lock_us_out_are_mended(self, declared):
        """Written and loaded, and nobody there to take them back: only what is declared next can."""
        before = self.read(declared)
        path = f"{declared.config_directory}/pg_hba.conf"
        declared.node.write(path, f"{BEGIN}\nlocal all all reject\n{END}\n{before}", mode="0640")
        declared.node.run("bash", "-c", f"kill -HUP $(head -1 {declared.data_directory}/postmaster.pid)")
        assert "rejects" in declared(check=True)["msg"]
        assert declared(hba=[])["cluster"]["actions"] == ["rules written", "reloaded"]
        assert self.read(declared) == before
        assert not declared(hba=[])["changed"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"work_mem": "lots"}, 'invalid value for parameter "work_mem": "lots"'),
        ({"nonsense": 1}, 'unrecognized configuration parameter "nonsense"'),
        ({"wal_level": "minimal"}, "max_wal_senders above 0"),
        ({"shared_buffers": "8000GB"}, "could not map anonymous shared memory"),
        ({"port = 1\nfsync": "off"}, "not the name of a server parameter"),
        ({"primary_conninfo": "host=x"}, "'upstream'"),
    ],
)
def test_what_the_server_would_not_take(declared, settings, words):
    before, started = declared.settings(), declared.node.psql("SELECT pg_postmaster_start_time()")
    refused = declared(settings=settings, purge=False)
    assert refused["failed"]
    assert words in refused["msg"]
    assert declared.settings() == before
    assert declared.node.psql("SELECT pg_postmaster_start_time()") == started


def test_a_restart_that_fails_puts_the_former_settings_back(declared):
    before = declared.settings()
    change = {"settings": {"listen_addresses": "203.0.113.9"}, "purge": False}
    failed = declared(**change)
    assert "could not bind" in failed["msg"]
    assert "its former settings are in force again" in failed["msg"]
    assert declared.settings() == before
    assert declared.listed() == [str(PORT), "online"]
    waiting = declared(restart=False, **change)  # installed by a run that was not allowed to restart
    assert waiting["cluster"]["pending_restart"] == ["listen_addresses"]
    assert "its former settings are in force again" in declared(state="restarted")["msg"]
    assert declared.listed() == [str(PORT), "online"]
    declared(settings={"listen_addresses": None}, purge=False)


def test_alter_system_gives_way(declared):
    change = {"settings": {"work_mem": "7MB"}, "purge": False}
    declared(**change)
    declared.node.psql("ALTER SYSTEM SET work_mem = '9MB'")
    declared.node.psql("ALTER SYSTEM SET maintenance_work_mem = '99MB'")
    cleared = declared(**change)
    assert cleared["cluster"]["cleared_overrides"] == ["work_mem"]
    assert declared.node.psql("SHOW work_mem; SHOW maintenance_work_mem") == "7MB\n99MB"
    declared(state="stopped")
    declared.node.append(f"{declared.data_directory}/postgresql.auto.conf", "work_mem = '9MB'")
    assert declared(**change)["cluster"]["actions"] == ["overrides cleared", "started"]
    assert declared.node.psql("SHOW work_mem; SHOW maintenance_work_mem") == "7MB\n99MB"
    assert not declared(**change)["changed"]


@ONE
def test_a_line_that_is_read_later_is_named(declared):
    path = f"{declared.config_directory}/postgresql.conf"
    declared.node.append(path, "temp_buffers = 9MB")
    refused = declared(settings={"temp_buffers": "10MB"}, purge=False)
    assert f"'temp_buffers' is set to '9MB' in {path} line" in refused["msg"]
    declared.node.run("sed", "-i", "$d", path, user="postgres")


@ONE
def test_stopped_and_started(declared):
    assert declared(state="stopped", check=True)["cluster"]["actions"] == ["stopped"]
    assert declared(state="stopped")["cluster"]["running"] is False
    assert not declared(state="stopped")["changed"]
    assert declared.listed() == [str(PORT), "down"]
    assert declared()["cluster"]["actions"] == ["started"]


def test_changed_rules_are_loaded_whoever_changed_them(declared):
    path = f"{declared.config_directory}/pg_hba.conf"
    declared.node.append(path, "host nonsense")
    broken = declared()
    assert f"{path} line " in broken["msg"]
    declared.node.run("sed", "-i", "$d", path, user="postgres")
    assert declared()["cluster"]["actions"] == ["reloaded"]
    assert not declared()["changed"]


@ONE
def test_rules_that_lock_us_out_are_healed_once_they_are_mended(declared):
    path = f"{declared.config_directory}/pg_hba.conf"
    rules = declared.node.run("cat", path)
    declared.node.write(path, "local all all reject\n", mode="0640")
    declared.node.run("pg_ctlcluster", str(declared.node.major), NAME, "reload")
    assert "pg_hba.conf rejects connection" in declared()["msg"]
    declared.node.write(path, rules + "\n", mode="0640")
    assert declared()["cluster"]["actions"] == ["reloaded"]
    assert not declared()["changed"]


def test_data_whose_configuration_is_gone_are_adopted(servers, suite):
    cluster = Declared(servers.empty(suite))
    made = cluster(initialize=True, settings={})
    cluster.node.psql("CREATE TABLE precious AS SELECT 42 AS answer")
    cluster(state="stopped")
    cluster.node.run("rm", "-r", cluster.config_directory)
    cluster.node.run("mkdir", "-p", f"{cluster.config_directory}/pg_hba.conf")  # something stands in the way
    failed = cluster(settings={})
    assert failed["failed"]
    cluster.node.run("rm", "-r", cluster.config_directory)
    of_the_primary = {"timezone": "Asia/Kolkata", "default_text_search_config": "pg_catalog.german"}
    adopted = cluster(settings={}, initial_settings=of_the_primary)
    assert adopted["cluster"]["actions"] == ["adopted", "configured", "started"]
    shown = "SHOW timezone; SHOW default_text_search_config"
    assert cluster.node.psql(shown).split() == list(of_the_primary.values())
    assert adopted["cluster"]["system_identifier"] == made["cluster"]["system_identifier"]
    assert cluster.node.psql("SELECT answer FROM precious") == "42"
    assert cluster.listed() == [str(PORT), "online"]
    assert not cluster(settings={}, initial_settings={"timezone": "Etc/UTC"})["changed"]


def test_a_standby(servers, suite):
    primary = servers(suite, {"max_connections": "120"})
    node = servers.empty(suite)
    cluster = Declared(node)
    passfile = node.write_passfile()
    node.run("install", "-d", "-o", "postgres", "-g", "postgres", f"/var/lib/postgresql/{node.major}")
    upstream = {"host": primary.address, "port": primary.port, "user": "replicator", "passfile": passfile}
    node.run(
        f"{node.bin_directory}/pg_basebackup",
        *("--pgdata", cluster.data_directory, "--checkpoint=fast", "--no-sync"),
        *("--dbname", " ".join(f"{key}={value}" for key, value in upstream.items())),
        user="postgres",
    )
    node.run("touch", f"{cluster.data_directory}/standby.signal", user="postgres")
    low = cluster(settings={"max_connections": 100}, upstream=upstream)
    assert "max_connections is 100 here and 120 on the primary" in low["msg"]
    secret = cluster(settings={}, upstream={**upstream, "password": "hunter2"})
    assert "'passfile'" in secret["msg"]
    wanted = {
        "settings": {"max_connections": 120},
        "upstream": {**upstream, "application_name": "it's b"},
        "slot": "",
    }
    foreseen = cluster(**wanted, proof={"timeout": 10}, check=True)
    assert foreseen["recovery_state"] is None
    started = cluster(**wanted, proof={"timeout": 10})
    assert (
        started["cluster"]["actions"][-2:] == foreseen["cluster"]["actions"][-2:] == ["configured", "started"]
    )
    assert started["cluster"]["in_recovery"] is True
    assert started["recovery_state"]["upstream"]["streaming"] is True
    streaming = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'"
    assert primary.psql(streaming) == "it's b"
    again = cluster(**wanted)
    assert not again["changed"]
    assert again["recovery_state"] is None
    assert cluster.info()["upstream"] == {**upstream, "port": str(primary.port), "application_name": "it's b"}

    idle = cluster(state="present", **wanted, proof={"timeout": 1})
    assert "a 'proof' is given by a server that runs, and 'state' is 'present'" in idle["msg"]
    other = cluster(**wanted, proof={"system_identifier": "1", "timeout": 60})
    assert "this is another cluster" in other["msg"]
    primary.stop("immediate")
    alone = cluster(**wanted, proof={"timeout": 1})
    assert "no WAL receiver is running" in alone["msg"]
    assert "nobody listens at" in alone["causes"][0]
    assert cluster.listed() == [str(PORT), "online,recovery"]


@ONE
@pytest.mark.parametrize("whole", [False, True], ids=["killed in initdb", "killed while moving"])
def test_an_interrupted_initdb_where_the_directory_cannot_be_renamed(servers, suite, whole):
    cluster = Declared(servers.empty(suite))
    node, work = cluster.node, f"{cluster.data_directory}/.walstream.initdb"
    node.run("install", "-d", "-o", "postgres", "-g", "postgres", f"/var/lib/postgresql/{node.major}")
    for folder in (cluster.data_directory, f"{cluster.data_directory}/lost+found"):
        node.run("install", "-d", "-m", "0700", "-o", "postgres", "-g", "postgres", folder)
    node.run(f"{node.bin_directory}/initdb", "-A", "peer", "-N", "-D", work, user="postgres")
    if whole:
        node.run("mv", f"{work}/base", f"{work}/PG_VERSION", f"{cluster.data_directory}/", user="postgres")
    else:
        node.run("rm", "-r", f"{work}/base", user="postgres")
    assert cluster.info()["data"]["state"] == "empty"
    made = cluster(initialize=True, settings={})
    assert made["cluster"]["actions"] == ["created", "configured", "started"], made
    assert ".walstream" not in node.run("ls", "-A", cluster.data_directory)


@ONE
def test_an_interrupted_initdb_beside_the_directory(servers, suite):
    cluster = Declared(servers.empty(suite))
    node, work = cluster.node, f"/var/lib/postgresql/{cluster.node.major}/.{NAME}.initdb"
    node.run("install", "-d", "-o", "postgres", "-g", "postgres", f"/var/lib/postgresql/{node.major}")
    node.run(f"{node.bin_directory}/initdb", "-A", "peer", "-N", "-D", work, user="postgres")
    assert cluster.info()["data"]["state"] == "absent"
    assert cluster(initialize=True, settings={})["cluster"]["running"]
    assert node.run("ls", "-A", f"/var/lib/postgresql/{node.major}").split() == [NAME]


@pytest.mark.suites("bullseye", "bookworm")
def test_a_password_that_initdb_would_cut_off(servers, suite):
    cluster = Declared(servers.empty(suite))
    made = cluster(
        initialize=True, settings={}, superuser_password="x" * 100 if suite == "bullseye" else "two\nlines"
    )
    assert made["cluster"]["running"]
    assert made["cluster"]["superuser_password_is_set"] is False
    assert cluster.node.psql("SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = 'postgres'") == "t"


@ONE
@pytest.mark.parametrize("kind", ["foreign", "partial"])
def test_what_is_no_cluster_is_left_alone(servers, suite, kind):
    cluster = Declared(servers.empty(suite))
    node = cluster.node
    node.run("install", "-d", "-o", "postgres", "-g", "postgres", f"/var/lib/postgresql/{node.major}")
    node.run("install", "-d", "-o", "postgres", "-g", "postgres", cluster.data_directory)
    name = {"foreign": "thesis.odt", "partial": "backup_label"}[kind]
    node.write(f"{cluster.data_directory}/{name}", "precious")
    refused = cluster(initialize=True, settings={})
    assert refused["failed"]
    assert "nothing was changed" in refused["msg"]
    assert node.run("cat", f"{cluster.data_directory}/{name}") == "precious"
    assert node.run("ls", "-A", cluster.data_directory) == name


def test_the_plain_layout_adopts_what_other_hands_made(servers, suite):
    node = servers(suite, {"work_mem": "5MB"})
    main = f"{node.data_directory}/postgresql.conf"
    text, started = node.run("cat", main), node.psql("SELECT pg_postmaster_start_time()")
    which = {"layout": "plain", "data_directory": node.data_directory, "version": node.major}
    wanted = {
        **which,
        "state": "started",
        "settings": {"maintenance_work_mem": "70MB"},
        "defaults": {"work_mem": "1MB", "temp_buffers": "9MB"},
    }
    adopted = node.run_module("cluster", wanted)
    assert adopted["cluster"]["actions"] == ["configured", "reloaded"], adopted
    assert adopted["cluster"]["service"] == "pg_ctl"
    assert node.psql("SHOW work_mem; SHOW maintenance_work_mem; SHOW temp_buffers") == "5MB\n70MB\n9MB"
    assert node.run("cat", main).startswith(text)
    assert node.run("grep", "-c", "^include_dir 'conf.d'", main) == "1"
    assert node.psql("SELECT pg_postmaster_start_time()") == started
    assert not node.run_module("cluster", wanted)["changed"]
    restarted = node.run_module("cluster", {**wanted, "settings": {"max_connections": 70}})
    assert restarted["cluster"]["actions"] == ["configured", "reloaded", "restarted"]
    assert node.psql("SHOW max_connections") == "70"
    found = node.run_module("cluster_info", which)["cluster_info"]
    assert found["managed_settings"]["max_connections"] == "70"
    assert found["hba_file"] == f"{node.data_directory}/pg_hba.conf"


@ONE
def test_a_host_without_the_version(servers, suite):
    node = servers.empty(suite)
    found = node.run_module("cluster_info", {"version": 12})["cluster_info"]
    assert found["missing_packages"] == ["postgresql-12"]
    assert found["data"]["state"] == "absent"
    failed = node.run_module("cluster", {"version": 12, "state": "started", "initialize": True})
    assert "PostgreSQL 12 is not installed" in failed["msg"]


PASSWORDS = (
    *("p\u00eancil", "pe\u0302ncil", "\ufb01ne", "a\u00a0b", "so\u00adft\u00e9", "\u200b\u00e9"),
    *("\U0001f600\ufb01", "with\ttab", "\u00e9\t\ufb01", "\u05d0a\ufb01", "\u05d0\u05d1", "\u00ad"),
)
"""What servers normalize before they hash it, and what they take as it is because that is forbidden."""


def test_what_else_one_may_ask(servers, suite):
    node = servers(suite)
    which = {"layout": "plain", "data_directory": node.data_directory, "version": node.major}
    node.psql(
        "CREATE ROLE r LOGIN REPLICATION PASSWORD 'right'; CREATE ROLE other LOGIN CREATEDB PASSWORD 'right'"
    )
    logins = [
        {"name": "r", "password": "right", "replication": True},
        {"name": "other", "password": "right", "replication": True},
        {"name": "nobody", "password": "right"},
    ]
    entry = {"host": "db1", "user": "r", "password": "right"}
    asked = {**which, "logins": logins, "passfile": [entry]}
    found = node.run_module("cluster_info", asked)
    assert found["cluster_info"]["stale_logins"] == ["other", "nobody"]
    assert found["cluster_info"]["privileged_logins"] == {"other": ["CREATEDB"]}
    assert found["cluster_info"]["expired_logins"] == {}
    assert found["cluster_info"]["passfile_current"] is False
    assert "right" not in str(found["invocation"])
    spelt = {f"r{number}": password for number, password in enumerate(PASSWORDS)}
    node.psql(
        "; ".join(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'" for name, password in spelt.items())
    )
    for ending, expected in (("", []), ("x", list(spelt))):
        declared = [{"name": name, "password": password + ending} for name, password in spelt.items()]
        asked_so = {**which, "logins": declared}
        assert node.run_module("cluster_info", asked_so)["cluster_info"]["stale_logins"] == expected
    node.psql("ALTER ROLE r PASSWORD 'right' VALID UNTIL '2020-02-02 UTC'")
    expired = node.run_module("cluster_info", asked)["cluster_info"]["expired_logins"]
    assert expired == {"r": "2020-02-02 00:00:00+00"}
    certified = {**asked, "logins": [{"name": "r", "replication": True}]}
    assert node.run_module("cluster_info", certified)["cluster_info"]["expired_logins"] == {}
    node.write(f"{node.data_directory}.pgpass", "db1:*:*:r:right\n")
    wrong = [{**login, "password": "wrong"} for login in logins]
    found = node.run_module("cluster_info", {**asked, "logins": wrong})["cluster_info"]
    assert found["stale_logins"] == ["r", "other", "nobody"]
    assert found["passfile_current"] is True
    assert node.run_module("cluster_info", which)["cluster_info"]["passfile_current"] is None
