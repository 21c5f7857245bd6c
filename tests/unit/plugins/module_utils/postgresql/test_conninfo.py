# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection strings and password files: every character has to arrive."""

from __future__ import annotations

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials import passfile
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._postgresql import conninfo, guc_file
from hypothesis import given
from hypothesis import strategies as st

ONE_LINE = st.text(
    st.characters(blacklist_characters="\0\n\r", blacklist_categories=("Cs",)), min_size=1, max_size=60
)


@given(
    st.fixed_dictionaries(
        {"host": ONE_LINE, "user": ONE_LINE, "passfile": ONE_LINE, "application_name": ONE_LINE}
    )
)
def test_what_goes_in_comes_out(keywords):
    assert conninfo.to_keywords(conninfo.to_string(keywords)) == keywords


@given(st.fixed_dictionaries({"host": ONE_LINE, "user": ONE_LINE, "passfile": ONE_LINE}))
def test_it_survives_the_settings_file(keywords):
    text = guc_file.render({"primary_conninfo": conninfo.to_string(keywords)})
    (setting,) = guc_file.parse(text)
    assert conninfo.to_keywords(setting.value) == keywords


def test_the_order_is_stable_and_empty_values_are_left_out():
    text = conninfo.to_string({"user": "u", "port": 5433, "host": "h", "sslmode": None, "passfile": ""})
    assert text == "host=h port=5433 user=u"


@pytest.mark.parametrize("secret", ["password", "sslpassword", "oauth_client_secret"])
def test_secrets_are_refused_and_never_read_back(secret):
    with pytest.raises(WalstreamError, match="'passfile'"):
        conninfo.to_string({"host": "h", secret: "x"})
    assert "password" not in conninfo.to_keywords("host=h password=x")


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"hots": "x"}, "not a connection string"),
        ({"host": "a\0b"}, "NUL"),
        ({"host": ["a"]}, "must be a text or a number"),
    ],
)
def test_nonsense_is_refused(keywords, words):
    with pytest.raises(WalstreamError, match=words):
        conninfo.to_string(keywords)


def test_a_broken_string_does_not_show_what_is_in_it():
    with pytest.raises(WalstreamError) as raised:
        conninfo.to_keywords("password=secret host")
    assert "secret" not in str(raised.value)


def read_like_libpq(line: str) -> list[str]:
    """The five fields of a line, as libpq's passwordFromFile splits them."""
    fields, field, characters = [], "", iter(line)
    for character in characters:
        if character == "\\":
            field += next(characters)
        elif character == ":" and len(fields) < 4:
            fields.append(field)
            field = ""
        else:
            field += character
    return [*fields, field]


@given(ONE_LINE, ONE_LINE, ONE_LINE, ONE_LINE)
def test_passfile_lines_are_read_back(host, database, user, password):
    entry = passfile.Entry(password, host=host, port="5432", database=database, user=user)
    assert not entry.line().startswith("#")
    assert read_like_libpq(entry.line()) == [host, "5432", database, user, password]


@given(ONE_LINE)
def test_passwords_are_masked(password):
    entry = passfile.Entry(password, host="h", user="u")
    assert entry.masked() == "h:*:*:u:********"
    assert passfile.masked(passfile.text_of([entry])) == "h:*:*:u:********\n"


@pytest.mark.parametrize("line", ["# h:1:d:u:secret", "secret", "a:b:secret"])
def test_lines_that_are_not_ours_show_nothing(line):
    assert "secret" not in passfile.masked(line)


@pytest.mark.parametrize("bad", ["", "a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("field", ["password", "host", "user"])
def test_what_a_line_cannot_hold_is_refused(field, bad):
    entry = passfile.Entry(**{"password": "p", field: bad})
    with pytest.raises(WalstreamError, match=field):
        entry.line()
