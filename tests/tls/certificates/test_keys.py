"""Tests of private keys: as they stand in the file they reach OpenSSL, and both judges agree."""

import functools
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls import build_contexts
from edgeserver.tls.doctor.check import check_files
from tests.tls import pki
from tests.tls.shake import shake_hands


@functools.cache
def openssl(*words, data=None):
    """Return what a command of OpenSSL writes."""
    return subprocess.run(["openssl", *words], input=data, capture_output=True, check=True).stdout


@functools.cache
def pss_key():
    """Return a key of RSA-PSS as PEM."""
    return openssl("genpkey", "-algorithm", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048")


def self_signed(tmp_path, key):
    """Write a pair whose certificate OpenSSL made for `key`, and return it as `ssl_options`."""
    keyfile, certfile = tmp_path / "server.key", tmp_path / "server.pem"
    keyfile.write_bytes(key)
    keyfile.chmod(0o600)
    extension = "subjectAltName=DNS:localhost"
    words = ("-subj", "/CN=localhost", "-addext", extension, "-days", "90")
    certfile.write_bytes(openssl("req", "-x509", "-key", str(keyfile), *words))
    return {"certfile": str(certfile), "keyfile": str(keyfile)}


FORMS = {
    "plain": ("pkcs8", "-topk8", "-nocrypt"),
    "encrypted": ("pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:secret"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("kind", ["rsa-pss", "ec", "rsa"])
def test_a_key_reaches_openssl_as_it_stands(tmp_path, kind, form):
    """A key of any kind serves, and one of RSA-PSS is not made plain RSA on the way."""
    plain = pss_key() if kind == "rsa-pss" else pki.render_key(pki.make_key(kind))
    pair = self_signed(tmp_path, plain)
    (tmp_path / "server.key").write_bytes(openssl(*form, data=plain))
    contexts = build_contexts({**pair, "password": "secret"})
    ends = shake_hands(contexts.select(None).context, pki.client_context(None))
    assert ends.client.version() == "TLSv1.3"
    report = check_files(pair.values(), password="secret")
    assert {each.code for each in report.findings} == {"self-signed"}


def as_rsa(pair, tmp_path):
    """Write the key anew as a plain RSA key, as other software does."""
    key = load_pem_private_key((tmp_path / "server.key").read_bytes(), None)
    (tmp_path / "server.key").write_bytes(pki.render_key(key))


def explicit(curve):
    """Return a key that gives its curve by numbers."""
    return openssl("ecparam", "-name", curve, "-genkey", "-noout", "-param_enc", "explicit")


def unchanged(pair, tmp_path):
    """Leave the pair as it is."""


def in_openssh_form(pair, tmp_path):
    """Write the key anew as `ssh-keygen` does."""
    key = load_pem_private_key((tmp_path / "server.key").read_bytes(), None)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (tmp_path / "server.key").write_bytes(text)


REFUSED = {
    "odd curve by numbers": (lambda: explicit("prime239v1"), unchanged, "explicit parameters"),
    "OpenSSH": (lambda: pki.render_key(pki.make_key("ec")), in_openssh_form, "OpenSSH's own form"),
    "another kind": (pss_key, as_rsa, "are of two kinds, such as RSA-PSS and RSA"),
}


@pytest.mark.parametrize(("key", "change", "words"), REFUSED.values(), ids=REFUSED)
def test_one_judge_for_check_and_serve(tmp_path, key, change, words):
    """What stops the start is an F, in the same words and with the same fix."""
    pair = self_signed(tmp_path, key())
    change(pair, tmp_path)
    with pytest.raises(TLSConfigurationError) as refused:
        build_contexts(pair)
    report = check_files(pair.values())
    found = [each for each in report.findings if each.grade == "F"]
    assert words in str(refused.value)
    assert all(words in each.what for each in found)
    assert str(refused.value).endswith(found[0].fix)


def test_a_usual_curve_by_numbers_is_warned_of(tmp_path, caplog):
    """What this OpenSSL serves and other clients refuse is said by both, with the fix."""
    pair = self_signed(tmp_path, explicit("prime256v1"))
    build_contexts(pair)
    assert "explicit parameters" in caplog.text
    assert "-param_enc named_curve" in caplog.text
    assert "explicit-curve" in {each.code for each in check_files(pair.values()).findings}


def test_a_weak_pair_is_refused_by_both(tmp_path):
    """A key too short for OpenSSL stops the start, and is found once."""
    pair = pki.write_pair(tmp_path, pki.make_leaf(pki.make_ca(), kind="rsa1024"))
    with pytest.raises(TLSConfigurationError, match="too short"):
        build_contexts(pair)
    report = check_files(pair.values())
    assert [each.code for each in report.findings if each.grade == "F"] == ["weak-key"]
