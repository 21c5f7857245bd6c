# SPDX-License-Identifier: GPL-3.0-or-later
"""The syntax of postgresql.conf."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import guc_file
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=60)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("port = 5433", ("port", "5433")),
        ("port 5433", ("port", "5433")),
        ("PORT=5433 # comment", ("port", "5433")),
        ("  shared_buffers = 128MB\t# min 128kB", ("shared_buffers", "128MB")),
        ("work_mem='4MB'", ("work_mem", "4MB")),
        ("datestyle = 'iso, mdy'", ("datestyle", "iso, mdy")),
        ("log_line_prefix = '%m [%p] '", ("log_line_prefix", "%m [%p] ")),
        ("a = 'it''s'", ("a", "it's")),
        (r"a = 'it\'s \\ \n \t \101'", ("a", "it's \\ \n \t A")),
        ("a = 'with # inside' # outside", ("a", "with # inside")),
        ("TimeZone = Etc/UTC", ("timezone", "Etc/UTC")),
        ("my_ext.Setting = off", ("my_ext.setting", "off")),
        ("a = -1", ("a", "-1")),
        ("a = 0.5", ("a", "0.5")),
        ("a = 1.5e3", ("a", "1.5e3")),
        ("a = 0x1F", ("a", "0x1F")),
        ("include_dir = 'conf.d'", ("include_dir", "conf.d")),
        ("include 'other.conf'", ("include", "other.conf")),
        ("port = 1\r", ("port", "1")),
    ],
)
def test_a_line(line, expected):
    (setting,) = guc_file.parse(line)
    assert (setting.name, setting.value) == expected


@pytest.mark.parametrize("line", ["", "   ", "# port = 1", "\t# x", "\r"])
def test_a_line_that_says_nothing(line):
    problems: list[str] = []
    assert guc_file.parse(line, "f", problems) == []
    assert problems == []


@pytest.mark.parametrize(
    "line", ["port", "port =", "= 1", "a = 'open", "a = 1 2", "a = 1e9", "1a = 2", "a b c"]
)
def test_a_line_that_the_server_refuses(line):
    problems: list[str] = []
    assert guc_file.parse(f"\n{line}", "f", problems) == []
    assert problems == ["f line 2: syntax error"]


FILES = {
    "/etc/pg/postgresql.conf": "port = 1\ninclude_dir 'conf.d'\nwork_mem = 1MB\ninclude_if_exists 'none.conf'\n",
    "/etc/pg/conf.d/b.conf": "port = 3\nwork_mem = 9MB\n",
    "/etc/pg/conf.d/a.conf": "port = 2\ninclude 'sub/x'\n",
    "/etc/pg/conf.d/sub/x": "fsync = off\n",
    "/etc/pg/conf.d/.hidden.conf": "port = 9\n",
    "/etc/pg/conf.d/readme": "port = 9\n",
}
DIRECTORIES = {"/etc/pg/conf.d": ["b.conf", "a.conf", ".hidden.conf", "readme", "sub"]}


def load(files=None, directories=None):
    files = FILES if files is None else files
    directories = DIRECTORIES if directories is None else directories
    return guc_file.load("/etc/pg/postgresql.conf", files.get, lambda path: directories.get(path.rstrip("/")))


def test_includes_are_read_in_the_servers_order():
    configuration = load()
    assert configuration.problems == ()
    assert {name: setting.value for name, setting in configuration.effective().items()} == {
        "port": "3",
        "fsync": "off",
        "work_mem": "1MB",
    }
    assert configuration.effective()["port"].file == "/etc/pg/conf.d/b.conf"
    assert configuration.directories == ("/etc/pg/conf.d",)
    assert configuration.effective(without={"/etc/pg/conf.d/b.conf"})["port"].value == "2"


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (
            {"/etc/pg/postgresql.conf": "include 'gone'"},
            "postgresql.conf line 1: the file /etc/pg/gone does not exist",
        ),
        (
            {"/etc/pg/postgresql.conf": "\ninclude_dir 'gone'"},
            "line 2: the directory /etc/pg/gone does not exist",
        ),
        ({"/etc/pg/postgresql.conf": "include 'postgresql.conf'"}, "includes are nested too deeply"),
        ({}, "/etc/pg/postgresql.conf: the file /etc/pg/postgresql.conf does not exist"),
    ],
)
def test_what_the_server_could_not_read(files, problem):
    assert problem in load(files, {}).problems[0]


@given(VALUES)
def test_what_is_quoted_is_read_back(value):
    (setting,) = guc_file.parse(f"a = {guc_file.quote(value)}")
    assert setting.value == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("on", "on"),
        ("5432", "5432"),
        ("128MB", "128MB"),
        ("-1", "-1"),
        ("", "''"),
        ("*", "'*'"),
        ("a b", "'a b'"),
        ("it's", "'it''s'"),
        ("a\\b", "'a\\\\b'"),
        ("a\nb", "'a\\nb'"),
    ],
)
def test_quote(value, text):
    assert guc_file.quote(value) == text


def test_the_same_settings_give_the_same_bytes():
    first = guc_file.render({"b": "2", "a": "x y"})
    assert first == guc_file.render({"a": "x y", "b": "2"})
    assert first.endswith("a = 'x y'\nb = 2\n")
    assert first.startswith("# Managed by Ansible")


@pytest.mark.parametrize(
    ("given_value", "text"),
    [
        (True, "on"),
        (False, "off"),
        (5, "5"),
        (0.5, "0.5"),
        (["a", "b c"], "a, b c"),
        ("x", "x"),
        (None, None),
    ],
)
def test_values_of_an_inventory(given_value, text):
    assert guc_file.normalized({"Some_Name": given_value}) == {"some_name": text}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"a b": 1}, "not the name of a server parameter"),
        ({"a = 1\nb": 1}, "not the name of a server parameter"),
        ({"include_dir": "x"}, "not the name of a server parameter"),
        ({"data_directory": "x"}, "cannot be changed by an included file"),
        ({"a": {}}, "a dict is not a value"),
        ({"a": "x\0"}, "NUL"),
        ({"a": 1, "A": 2}, "given twice"),
    ],
)
def test_settings_that_are_refused(settings, words):
    with pytest.raises(WalstreamError, match=words):
        guc_file.normalized(settings)


def test_lines_taken_out_leave_the_rest_as_it_was():
    text = "# head\n a = 1\nA = '2' # x\nb = 3\r\n\nbroken (\nc = 4"
    assert guc_file.without(text, {"a"}) == "# head\nb = 3\r\n\nbroken (\nc = 4"
    assert guc_file.without(text, {"z"}) == text


@pytest.mark.parametrize(
    "conninfo",
    [
        "primary_conninfo = 'host=x password=secret user=y'",
        "primary_conninfo = 'host=x password = secret'",
        "primary_conninfo = 'host=x password=''sec ret'' user=y'",
        "primary_conninfo = 'sslpassword=secret'",
    ],
)
def test_passwords_are_masked(conninfo):
    shown = guc_file.masked(conninfo)
    assert "sec" not in shown
    assert "********" in shown


def test_a_vaulted_value_is_its_text():
    class Vaulted:
        """As ansible-core 2.18 has it: no text, but with one."""

        __ENCRYPTED__ = True

        def __str__(self):
            return "cp %p /archive"

    assert guc_file.normalized({"archive_command": Vaulted()}) == {"archive_command": "cp %p /archive"}
