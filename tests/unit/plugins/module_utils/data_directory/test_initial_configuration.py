# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration for data that come without any, and what is asked of the server's program."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._cluster import candidate
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory import (
    initial_configuration as initial,
)
from ansible_collections.walstream.postgresql.plugins.module_utils._data_directory.initdb import NewCluster
from ansible_collections.walstream.postgresql.plugins.module_utils._layout import debian, host
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql.guc_file import Setting

MAIN = """\
#port = 5432\t\t# (change requires restart)
#lc_time = 'C'\t\t\t# locale
timezone = 'GMT'
#include_dir = '...'\t\t\t# include files
#max_connections = 100
"""


def test_values_are_put_where_the_sample_has_them():
    values = {
        "port": "5433",
        "lc_time": "C.UTF-8",
        "timezone": "Etc/UTC",
        "include_dir": "conf.d",
        "new": "a b",
    }
    assert initial.with_values(MAIN, values) == (
        "port = 5433\t\t# (change requires restart)\n"
        "lc_time = 'C.UTF-8'\t\t\t# locale\n"
        "timezone = 'Etc/UTC'\n"
        "include_dir = 'conf.d'\t\t\t# include files\n"
        "#max_connections = 100\n"
        "new = 'a b'\n"
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("#include_dir = '...'\nport = 1\n", ["include_dir = 'conf.d'"]),
        ("port = 1\n  include_dir 'conf.d'\n", []),
        ("include_dir = 'other'\n", ["include_dir = 'conf.d'"]),
    ],
)
def test_our_folder_is_read_last(text, lines):
    assert initial.with_include(text, "conf.d").removeprefix(text).splitlines()[2:] == lines


def test_a_value_that_is_set_is_replaced_and_not_its_comment():
    text = "#port = 1\nport = 2 # mine\n"
    assert initial.with_values(text, {"port": "3"}) == "#port = 1\nport = 3 # mine\n"


@pytest.mark.parametrize(("version", "encrypted"), [(13, True), (14, False), (18, False)])
def test_initdb_values(version, encrypted):
    values = initial.initdb_values(version, "C.UTF-8", "Europe/Berlin")
    assert ("password_encryption" in values) is encrypted
    assert values["default_text_search_config"] == "pg_catalog.english"
    assert values["timezone"] == values["log_timezone"] == "Europe/Berlin"
    assert "default_text_search_config" not in initial.initdb_values(version, "de_DE.UTF-8", "UTC")


SAMPLE = """\
@authcomment@
# TYPE  DATABASE        USER            ADDRESS                 METHOD
@remove-line-for-nolocal@local   all             all                                     @authmethodlocal@
host    all             all             127.0.0.1/32            @authmethodhost@
"""


def test_hba_from_its_sample():
    hba = initial.with_superuser_line(initial.hba_from_sample(SAMPLE), "postgres")
    rules = [line.split() for line in hba.splitlines() if line and not line.startswith("#")]
    assert rules == [
        ["local", "all", "postgres", "peer"],
        ["local", "all", "all", "peer"],
        ["host", "all", "all", "127.0.0.1/32", "scram-sha-256"],
    ]
    assert initial.with_superuser_line(hba, "postgres") == hba


@pytest.mark.parametrize(
    ("new", "options"),
    [
        (NewCluster(13), {"--data-checksums"}),
        (NewCluster(15), {"--data-checksums", "--no-instructions"}),
        (NewCluster(15, data_checksums=False), {"--no-instructions"}),
        (NewCluster(18, data_checksums=False), {"--no-instructions", "--no-data-checksums"}),
        (NewCluster(15, wal_directory="/wal"), {"--data-checksums", "--no-instructions", "--waldir"}),
    ],
)
def test_initdb_argv(new, options):
    argv = new.argv("/bin", "/data")
    assert argv[:3] == ["/bin/initdb", "-D", "/data"]
    assert {word for word in argv if word.startswith("--")} == {
        *("--encoding", "--locale", "--auth-local", "--auth-host"),
        *options,
    }


@pytest.mark.parametrize(
    ("version", "password", "taken"),
    [
        (15, None, False),
        (15, "", False),
        (15, "it's $a \\ ü", True),
        (15, "x" * 1000, True),
        (15, "two\nlines", False),
        (15, "ends with a return\r", False),
        (15, "goes on after a zero\0", False),
        (13, "x" * 99, True),
        (13, "x" * 100, False),
        (13, "ü" * 50, False),
    ],
)
def test_which_password_initdb_takes_as_it_is(version, password, taken):
    new = NewCluster(version, superuser_password=password)
    assert new.takes_password is taken
    assert not password or password not in repr(new)


SETTINGS = [
    Setting("work_mem", "lots", "/etc/pg/conf.d/theirs.conf", 9),
    Setting("nonsense", "1", "/ours", 2),
]


@pytest.mark.parametrize(
    ("stderr", "reasons"),
    [
        (
            '2026 GMT [9] LOG:  invalid value for parameter "work_mem": "lots" in file "/tmp/c" line 1\n'
            '2026 GMT [9] FATAL:  configuration file "/tmp/c" contains errors\n',
            'invalid value for parameter "work_mem": "lots" in /etc/pg/conf.d/theirs.conf line 9',
        ),
        (
            'LOG:  unrecognized configuration parameter "nonsense" in file "/tmp/c" line 2\n',
            'unrecognized configuration parameter "nonsense"',
        ),
        ('LOG:  skipping missing configuration file "/tmp/a"\nFATAL:  a b\nHINT:  c\n', "a b"),
        ("Killed\n", "Killed"),
        ("", "it gives no reason"),
    ],
)
def test_reasons_lead_back_to_their_place(stderr, reasons):
    assert candidate.reasons_in(stderr, SETTINGS, "/ours") == reasons


def test_a_candidate_has_one_line_for_each_setting():
    text = candidate.candidate([Setting("a", "x\ny", "f", 1), Setting("b", "2", "f", 2)])
    assert text == "a = 'x\\ny'\nb = 2\n"


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("/var/lib/postgresql/%v/%c", "/var/lib/postgresql/15/main"),
        ("%%m [%%p] %v", "%m [%p] 15"),
        ("%x", "%x"),
    ],
)
def test_templates_of_createcluster(template, filled):
    assert debian._filled(template, 15, "main") == filled


@pytest.mark.parametrize(
    ("text", "word"),
    [("auto\n", "auto"), ("# manual\n\n disabled # x\n", "disabled"), ("# only\n", ""), ("", "")],
)
def test_start_conf(text, word):
    assert debian._first_word(text) == word


@pytest.mark.parametrize(
    ("policy", "version"),
    [
        ("postgresql:\n  Installed: (none)\n  Candidate: 15+248+deb12u2\n", 15),
        ("  Candidate: (none)\n", None),
        ("", None),
    ],
)
def test_what_apt_offers(policy, version):
    assert host.parse_candidate(policy) == version


DEBIAN = host.Host(distribution="debian", families=frozenset({"debian"}))
REDHAT = host.Host(distribution="rocky", families=frozenset({"rocky", "rhel"}), has_psycopg2=True)
WITH_15 = host.Host(
    families=frozenset({"debian"}),
    installed={15: "/usr/lib/postgresql/15/bin"},
    has_createcluster=True,
    has_psycopg2=True,
)


@pytest.mark.parametrize(
    ("host", "version", "bin_directory", "layout", "missing"),
    [
        (DEBIAN, None, "", "debian", ["postgresql", "python3-psycopg2"]),
        (DEBIAN, 17, "", "debian", ["postgresql-17", "python3-psycopg2"]),
        (DEBIAN, 17, "/opt/pg/bin", "debian", ["python3-psycopg2"]),
        (REDHAT, None, "", "plain", ["postgresql-server"]),
        (REDHAT, 16, "", "plain", ["postgresql16-server"]),
        (WITH_15, 15, "", "debian", []),
        (WITH_15, 17, "", "debian", ["postgresql-17"]),
    ],
)
def test_what_a_host_lacks(host, version, bin_directory, layout, missing):
    assert host.default_layout == layout
    assert host.missing_packages(version, bin_directory) == missing


def test_versions_are_asked_only_where_a_name_does_not_tell():
    asked = []
    found = host.find_versions(
        ["/usr/lib/postgresql/15/bin", "/usr/pgsql-16/bin", "/usr/local/bin", "/opt/x"],
        lambda folder: asked.append(folder) or {"/usr/local/bin": 14}.get(folder),
    )
    assert found == {14: "/usr/local/bin", 15: "/usr/lib/postgresql/15/bin", 16: "/usr/pgsql-16/bin"}
    assert asked == ["/usr/local/bin", "/opt/x"]


@pytest.mark.parametrize(
    ("words", "version"),
    [("postgres (PostgreSQL) 15.10 (Debian)", 15), ("postgres (PostgreSQL) 18beta1", 18), ("nothing", None)],
)
def test_parse_version(words, version):
    assert host.parse_version(words) == version


def test_parse_os_release():
    text = 'ID=rocky\nID_LIKE="rhel centos fedora"\n# comment\nVERSION_CODENAME=\nBAD="open\n'
    assert host.parse_os_release(text) == {
        "ID": "rocky",
        "ID_LIKE": "rhel centos fedora",
        "VERSION_CODENAME": "",
    }
