# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module of ours writes into the log of its host, and what it returns: no secret, however it is spelt."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.walstream.postgresql.plugins.module_utils._module import Module, run

# In the text of a dictionary each of these is spelt differently.
SPELLINGS = ("plain-secret", "back\\slash", "both'\"quotes", "line\nbreak\nof a key\n", "tab\tand ü")
SPEC = {
    "path": {"type": "str"},
    "entries": {
        "type": "list",
        "elements": "dict",
        "no_log": False,
        "options": {"host": {"type": "str"}, "password": {"type": "str", "no_log": True}},
    },
    "server": {"type": "dict", "options": {"private_key": {"type": "str", "no_log": True}}},
    "upstream": {"type": "dict"},
    "settings": {"type": "dict"},
}


def spelt(secret: str) -> tuple[str, ...]:
    return (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], secret.split("\n", maxsplit=1)[0])


def arguments(secret: str) -> dict:
    return {
        "path": "/a/path",
        "entries": [{"host": "h1", "password": secret}],
        "server": {"private_key": secret},
        "upstream": {"host": "h2", "password": secret},
    }


@pytest.mark.parametrize("secret", SPELLINGS)
def test_the_hosts_log_shows_no_secret(secret, monkeypatch):
    logged = []
    monkeypatch.setattr(
        basic.AnsibleModule, "log", lambda _self, message, log_args=None: logged.append((message, log_args))
    )
    with patch_module_args(arguments(secret)):
        module = Module(SPEC, supports_check_mode=True)
    assert len(logged) == 1, "the invocation is still logged"
    assert "/a/path" in str(logged)
    assert "h1" in str(logged)
    for text in spelt(secret):
        assert text not in logged[0][0]
        assert all(text not in value for value in logged[0][1].values())
    assert module.params["entries"][0]["password"] == secret, "the module itself still knows it"


@pytest.mark.parametrize("given", [{}, {"unknown": 1}])
def test_no_result_shows_a_password_in_libpqs_keywords(given, capsys):
    options = {"upstream": {"host": "h2", "password": "s3"}, "settings": {"primary_conninfo": "password=s4"}}
    with patch_module_args({**options, **given}), pytest.raises(SystemExit):
        Module(SPEC).fail_json(msg="no: s3, s4")
    shown = capsys.readouterr().out
    assert '"failed": true' in shown
    assert "s3" not in shown
    assert "s4" not in shown


def test_an_option_that_nothing_returns_blots_out_nothing_else(monkeypatch):
    """A password is often a word, and the word is often a part of a path."""
    exits = []

    def leave(_module, **result):
        exits.append(result)
        raise SystemExit

    monkeypatch.setattr(Module, "exit_json", leave)
    options = {"word": "path", "settings": {"primary_conninfo": "password=s4"}}
    with patch_module_args(options):
        module = Module({**SPEC, "word": {"type": "str", "no_log": True}})
    with pytest.raises(SystemExit):
        run(module, lambda _module: {"said": "/a/path"}, unreturned=("word",))
    assert module.no_log_values == {"s4"}, "what stays hidden wherever it stands"
    assert exits[0]["said"] == "/a/path"
    assert exits[0]["invocation"]["module_args"]["word"] != "path"
