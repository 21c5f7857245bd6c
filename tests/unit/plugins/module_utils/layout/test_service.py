# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting and stopping: argument lists, what servers say when they do not start, and postmaster.pid."""

from __future__ import annotations

import os

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._layout import service
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import postmaster
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.plugins.module_utils._system.command import Result

ME = User("me", os.getuid(), os.getgid(), "/")


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("", ""),
        ("something odd\nlast line\n", "last line"),
        (
            "2026-01-01 10:00:00 UTC [1] LOG:  starting PostgreSQL 15\n"
            '2026-01-01 10:00:00 UTC [1] LOG:  could not bind IPv4 address "203.0.113.9": Cannot assign\n'
            "2026-01-01 10:00:00 UTC [1] WARNING:  could not create listen socket\n"
            "2026-01-01 10:00:00 UTC [1] FATAL:  could not create any TCP/IP sockets\n"
            "2026-01-01 10:00:00 UTC [1] LOG:  database system is shut down\n",
            'could not bind IPv4 address "203.0.113.9": Cannot assign; could not create any TCP/IP sockets',
        ),
        (
            '2026 GMT [1] LOG:  invalid value for parameter "work_mem": "lots"\n'
            '2026 GMT [1] FATAL:  configuration file "/x" contains errors\n',
            'invalid value for parameter "work_mem": "lots"; configuration file "/x" contains errors',
        ),
        (
            "FATAL:  lock file already exists\nHINT:  Is another postmaster running?\nLOG:  something else\n",
            "lock file already exists; Is another postmaster running?",
        ),
        ("ERROR:  a\nPANIC:  b\nDETAIL:  c\n", "b; c"),
        ("SCHWERWIEGEND: Datei fehlt\n", "SCHWERWIEGEND: Datei fehlt"),
    ],
)
def test_reason_in_log(log, reason):
    assert service.reason_in_log(log) == reason


@pytest.mark.parametrize(
    ("config_file", "extra"),
    [
        ("/data/postgresql.conf", []),
        ("/etc/pg/postgresql.conf", ["-o", "-c config_file=/etc/pg/postgresql.conf"]),
        ("/etc/p $(g)/postgresql.conf", ["-o", "-c 'config_file=/etc/p $(g)/postgresql.conf'"]),
    ],
)
def test_start_argv(config_file, extra):
    startup = service.Startup("/data", config_file, "/log")
    argv = service.PgCtl("/bin", startup, ME, run=None).start_argv(60)
    assert argv == ["/bin/pg_ctl", "start", "-s", "-D", "/data", "-w", "-t", "60", "-l", "/log", *extra]


class Systemd:
    """Answers systemctl from a table and remembers what was asked."""

    def __init__(self, **answers):
        self.answers, self.asked, self.since = answers, [], []

    def __call__(self, argv, *, env=None, timeout=None):
        action = next((word for word in argv[1:] if not word.startswith("-")), argv[-1])
        self.asked.append(action)
        self.since += [word.partition("@")[2] for word in argv if word.startswith("--since=@")]
        return self.answers.get(action.replace("-", "_"), Result(0, "", ""))


def unit(tmp_path, systemd, **startup):
    files = service.Startup(str(tmp_path), f"{tmp_path}/postgresql.conf", f"{tmp_path}/log", **startup)
    beside = service.PgCtl("/bin", files, ME, lambda argv, **_: Result(0, "", ""))
    return service.SystemdUnit("pg.service", files, systemd, beside)


def test_a_unit_that_does_not_exist_is_told_before_anything_is_stopped(tmp_path):
    systemd = Systemd(show=Result(0, "not-found\n", ""))
    with pytest.raises(WalstreamError, match=r"unit 'pg.service' is not-found"):
        unit(tmp_path, systemd).start(1)
    assert systemd.asked == ["show"]


def test_a_start_that_systemd_calls_a_success_but_is_none(tmp_path):
    (tmp_path / "log").write_text("FATAL:  too bad\n")
    systemd = Systemd(show=Result(0, "loaded\n", ""))
    service = unit(tmp_path, systemd)
    with pytest.raises(WalstreamError, match="does not start"):
        service.start(1)
    assert systemd.asked[:3] == ["show", "reset-failed", "start"]


def test_the_journal_is_asked_for_all_that_a_start_has_said(tmp_path, monkeypatch):
    """Rounded to seconds, half of all starts that end at once would have said nothing."""
    monkeypatch.setattr(service.time, "time", lambda: 1000.75)
    systemd = Systemd(show=Result(0, "loaded\n", ""))
    with pytest.raises(WalstreamError):
        unit(tmp_path, systemd).start(1)
    assert [float(moment) for moment in systemd.since] == [1000.75]
    assert systemd.asked[-2:] == ["--sync", "pg.service"]


def test_a_server_beside_its_unit_is_stopped_by_pg_ctl(tmp_path):
    systemd = Systemd(is_active=Result(3, "inactive", ""))
    unit(tmp_path, systemd).stop(1)
    assert systemd.asked == ["is-active"]


def test_a_forbidden_start(tmp_path):
    with pytest.raises(WalstreamError, match="is not started: it is disabled"):
        unit(tmp_path, Systemd(), forbidden_by="it is disabled").start(1)


PID_FILE = "4711\n/data\n1700000000\n5433\n/run/pg\nlocalhost\n  123  0\nready   \n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PID_FILE, postmaster.Postmaster(4711, 5433, "/run/pg", "ready")),
        ("4711\n/data\n", postmaster.Postmaster(4711, 0, "", "")),
        ("", None),
        ("-4711\n/data\n", None),
    ],
)
def test_postmaster_pid(text, expected):
    assert postmaster.parse(text) == expected


def test_a_stale_pid_file_is_no_server(tmp_path):
    assert postmaster.running_postmaster(str(tmp_path)) is None
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path}\n")
    assert postmaster.running_postmaster(str(tmp_path)) is None  # this process works elsewhere
