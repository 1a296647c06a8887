"""Tests of development certificates: what is made, kept, renewed, and never overwritten."""

import builtins
import datetime
import os
import stat
import sys

import pytest
import trustme
from click.testing import CliRunner

from edgeserver.cli.certs import certs
from edgeserver.errors import ConfigurationError, TLSConfigurationError
from edgeserver.tls import build_contexts
from edgeserver.tls.contexts.client import build_client_context
from edgeserver.tls.devcerts import ensure_dev_certificates
from edgeserver.tls.doctor.check import check_files
from tests.tls import pki
from tests.tls.shake import shake_hands


def test_what_is_made_works(tmp_path):
    """A client that trusts ca.pem verifies the server, and its own certificate gets it in."""
    files = ensure_dev_certificates(tmp_path / "certs", ["app.test", "*.dev.test"])
    server = build_contexts(
        {
            "certfile": files.certfile,
            "keyfile": files.keyfile,
            "client_auth": "required",
            "ca_certs": files.ca,
        }
    )
    client = build_client_context(
        {
            "ca_certs": files.ca,
            "certfile": files.client_certfile,
            "keyfile": files.client_keyfile,
        }
    )
    for name in ("localhost", "127.0.0.1", "app.test", "x.dev.test"):
        ends = shake_hands(server.select(None).context, client, name=name)
        assert ends.server.getpeercert()
    assert files.names == ("localhost", "127.0.0.1", "::1", "app.test", "*.dev.test")
    assert len(files.made) == 6


def test_keys_are_their_owners_only(tmp_path):
    """Every key has mode 0600, and the doctor has nothing to say of the files."""
    files = ensure_dev_certificates(tmp_path)
    for path in (files.keyfile, files.ca_key, files.client_keyfile):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert check_files([str(path) for path in files.made]).findings == []
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_new_directory_keeps_keys_out_of_the_repository(tmp_path):
    """A directory that did not exist is told to version control as one of secrets."""
    ensure_dev_certificates(tmp_path / "new" / "certs")
    assert "*.key" in (tmp_path / "new" / "certs" / ".gitignore").read_text().splitlines()


def test_good_files_are_kept(tmp_path):
    """A second run writes nothing, and needs no trustme."""
    first = ensure_dev_certificates(tmp_path, ["app.test"])
    content = first.certfile.read_bytes()
    second = ensure_dev_certificates(tmp_path)
    assert second.made == ()
    assert second.names == first.names
    assert second.certfile.read_bytes() == content


def test_a_new_name_keeps_the_authority_and_the_names(tmp_path):
    """Clients that trust the authority need not be told again."""
    first = ensure_dev_certificates(tmp_path, ["one.test"])
    ca = first.ca.read_bytes()
    second = ensure_dev_certificates(tmp_path, ["two.test"])
    assert second.ca.read_bytes() == ca
    assert second.made == (second.certfile, second.keyfile)
    assert {"one.test", "two.test", "localhost"} <= set(second.names)


def test_what_is_about_to_expire_is_made_anew(tmp_path):
    """A certificate in its last month is replaced, under the same authority."""
    files = ensure_dev_certificates(tmp_path)
    ca = trustme.CA.from_pem(files.ca.read_bytes(), files.ca_key.read_bytes())
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=5)
    leaf = ca.issue_cert("localhost", not_after=soon)
    files.certfile.write_bytes(leaf.cert_chain_pems[0].bytes())
    files.keyfile.write_bytes(leaf.private_key_pem.bytes())
    again = ensure_dev_certificates(tmp_path)
    assert again.made == (files.certfile, files.keyfile)


def test_a_lost_authority_key_makes_everything_anew(tmp_path):
    """Without the authority's key a new authority signs all."""
    files = ensure_dev_certificates(tmp_path)
    files.ca_key.unlink()
    assert len(ensure_dev_certificates(tmp_path).made) == 6
    files.keyfile.write_text("damaged")
    assert ensure_dev_certificates(tmp_path).made == (files.certfile, files.keyfile)


@pytest.mark.parametrize("name", ["server.pem", "server.key", "ca.pem", "client.key"])
def test_a_foreign_file_is_never_overwritten(tmp_path, name):
    """A file that somebody else made stops the command before anything is written."""
    leaf = pki.make_leaf(pki.make_ca())
    foreign = tmp_path / name
    foreign.write_bytes(leaf.key_pem if name.endswith(".key") else leaf.pem)
    before = foreign.read_bytes()
    with pytest.raises(TLSConfigurationError, match="was not made by") as caught:
        ensure_dev_certificates(tmp_path)
    assert "--force" in str(caught.value)
    assert foreign.read_bytes() == before
    assert os.listdir(tmp_path) == [name]
    assert len(ensure_dev_certificates(tmp_path, force=True).made) == 6


@pytest.mark.parametrize("name", ["https://a.test", "a b", "", "a.test:1"])
def test_wrong_names(tmp_path, name):
    """What is no host name is refused by its flag."""
    with pytest.raises(TLSConfigurationError, match="--host is"):
        ensure_dev_certificates(tmp_path, [name])


def test_trustme_missing(tmp_path, monkeypatch):
    """Without trustme the error is one line with the command that installs it."""
    monkeypatch.delitem(sys.modules, "trustme")
    original = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "trustme":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ConfigurationError, match=r"pip install 'edgeserver\[dev\]'"):
        ensure_dev_certificates(tmp_path)


def test_a_directory_that_cannot_be_written(tmp_path):
    """A file in the directory's place is a usage error, not a traceback."""
    (tmp_path / "certs").write_text("in the way")
    result = CliRunner().invoke(certs, ["dev", "--out", str(tmp_path / "certs")])
    assert result.exit_code == 2
    assert "choose another directory with --out" in result.output


def test_command_says_which_file_is_for_whom(tmp_path):
    """Each file stands with its purpose, and whether it was made or kept."""
    arguments = ["dev", "--out", str(tmp_path / "c"), "--host", "app.test"]
    first = CliRunner().invoke(certs, arguments)
    assert first.exit_code == 0
    assert "for localhost, 127.0.0.1, ::1, app.test" in first.output
    assert first.output.count("made  ") == 6
    assert "--certfile" in first.output
    assert "curl --cacert" in first.output
    assert CliRunner().invoke(certs, arguments).output.count("kept  ") == 6


def test_an_empty_directory_name_is_refused(tmp_path, monkeypatch):
    """A variable that nobody set does not strew keys over the current directory."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(certs, ["dev", "--out", ""])
    assert result.exit_code == 2
    assert "--out is empty" in result.output
    assert not list(tmp_path.iterdir())
