# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates: what the other nodes would refuse is refused before it is installed, and no key is left to others."""

from __future__ import annotations

import os
import pwd
import stat

import pytest
from ansible_collections.walstream.postgresql.plugins.module_utils._credentials import tls
from ansible_collections.walstream.postgresql.plugins.module_utils._errors import Refusal, WalstreamError
from ansible_collections.walstream.postgresql.plugins.module_utils._system.accounts import User
from ansible_collections.walstream.postgresql.tests.certificates import (
    DAY,
    NOW,
    authority,
    issue,
    key_pem,
    pem,
)
from cryptography.hazmat.primitives.asymmetric import ec


def material(server=None, client=None, trusted="ours"):
    return tls.Material(
        pem(authority(trusted)[1]),
        tls.identity("server", *(server or issue())),
        tls.identity("client", *client) if client else None,
    )


@pytest.mark.parametrize("host", ["db1", "10.0.0.1", None])
@pytest.mark.parametrize("client", [None, issue(host="replicator")])
def test_what_the_others_accept(host, client):
    expires = tls.rehearse(material(client=client), host)
    assert abs(expires - (NOW + 30 * DAY).timestamp()) < 2


@pytest.mark.parametrize(
    ("given", "host", "words"),
    [
        ({"server": issue(signed_by="theirs")}, None, "certificate of the server"),
        ({"server": issue(until=-1)}, None, "expired"),
        ({}, "db2", "connections to db2"),
        ({}, "10.0.0.2", "connections to 10.0.0.2"),
        ({"client": issue(signed_by="theirs")}, "db1", "certificate of the client"),
        ({"client": issue(until=-2)}, "db1", "certificate of the client .*expired"),
        ({"trusted": "theirs"}, "db1", "certificate of the server"),
    ],
)
def test_what_the_others_would_refuse(given, host, words):
    with pytest.raises(Refusal, match=words) as raised:
        tls.rehearse(material(**given), host)
    assert "\n" not in str(raised.value)
    assert "nothing was changed" in str(raised.value)


def test_a_key_of_another_certificate():
    with pytest.raises(WalstreamError, match="of the server cannot be used together"):
        tls.rehearse(material(server=(issue()[0], issue(host="db2")[1])), None)


def test_a_key_with_a_passphrase_is_refused_without_asking_for_it():
    hidden = key_pem(ec.generate_private_key(ec.SECP256R1()), b"secret")
    with pytest.raises(WalstreamError, match="must need no passphrase") as raised:
        tls.rehearse(material(server=(issue()[0], hidden)), None)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("certificate", "private_key", "words"),
    [
        ("", issue()[1], "holds no certificate"),
        (issue()[0], "", "0 private keys"),
        (issue()[0], issue()[1] * 2, "2 private keys"),
    ],
)
def test_what_is_not_pem(certificate, private_key, words):
    with pytest.raises(WalstreamError, match=words) as raised:
        tls.identity("server", certificate, private_key)
    assert "PRIVATE" not in str(raised.value)


def test_only_certificates_of_an_authority_travel():
    key, certificate = authority("ours")
    assert tls.authority(key_pem(key) + pem(certificate)) == pem(certificate)
    with pytest.raises(WalstreamError, match="no certificate"):
        tls.authority(key_pem(key))


def test_nothing_that_is_shown_holds_a_key():
    both = material(client=issue(host="replicator"))
    assert "PRIVATE" not in repr(both)
    assert tls.fingerprint(both.server) in repr(both)
    assert "PRIVATE" not in "".join(tls.Folder("/nowhere", me()).pending(both.files()))


def me():
    return User.named(pwd.getpwuid(os.geteuid()).pw_name)


@pytest.fixture
def folder(tmp_path):
    return tls.Folder(str(tmp_path / "main.tls"), me())


def modes(folder):
    return {
        entry.name: stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
        for entry in os.scandir(folder.path)
    }


def test_installed_for_the_owner_alone_and_once(folder):
    wanted = material(client=issue(host="replicator")).files()
    assert [one.split(",")[0] for one in folder.pending(wanted)] == [
        f"make {folder.path}",
        "write ca.pem",
        "write server.pem",
        "write client.pem",
    ]
    old = os.umask(0)
    try:
        folder.apply(wanted)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700
    assert modes(folder) == dict.fromkeys(wanted, 0o600)
    assert folder.pending(wanted) == []


def test_what_is_no_longer_wanted_goes(folder):
    folder.apply(material(client=issue(host="replicator")).files())
    wanted = material().files()
    assert folder.pending(wanted) == ["remove client.pem"]
    folder.apply(wanted)
    assert set(modes(folder)) == set(wanted)
    folder.remove()
    assert not os.path.exists(folder.path)
    folder.remove()


def test_disorder_is_put_right(folder):
    wanted = material().files()
    folder.apply(wanted)
    os.chmod(folder.path, 0o750)  # noqa: S103
    os.chmod(f"{folder.path}/server.pem", 0o644)
    assert [one.split(",")[0] for one in folder.pending(wanted)] == [
        f"set the mode of {folder.path} to 0700",
        "write server.pem",
    ]
    folder.apply(wanted)
    assert folder.pending(wanted) == []
    assert modes(folder) == dict.fromkeys(wanted, 0o600)


def test_a_planted_directory_is_not_used(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", folder.path)
    for work in (folder.pending, folder.apply):
        with pytest.raises(Refusal, match="look who made it"):
            work(material().files())
    assert not os.listdir(tmp_path / "elsewhere")


def test_a_planted_link_is_replaced_and_not_followed(folder, tmp_path):
    folder.apply(material().files())
    victim = tmp_path / "victim"
    victim.write_text("mine")
    os.unlink(f"{folder.path}/server.pem")
    os.symlink(victim, f"{folder.path}/server.pem")
    folder.apply(material().files())
    assert victim.read_text() == "mine"
    assert not os.path.islink(f"{folder.path}/server.pem")
