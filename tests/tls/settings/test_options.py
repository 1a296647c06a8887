"""Tests of tls.settings.options: what an ssl_options dict may hold, and each refusal's words."""

import ssl
from pathlib import Path

import pytest

from edgeserver.errors import ConfigurationError, TLSConfigurationError
from edgeserver.tls import TLSOptions, parse_ssl_options
from edgeserver.tls.settings.options import SSL_OPTION_KEYS

BASE = {"certfile": "server.pem", "keyfile": "server.key"}


def test_defaults_are_those_of_the_specification():
    """A certificate alone gives TLS 1.2 and 1.3, no client certificates, and bounded handshakes."""
    options = parse_ssl_options(BASE)
    assert options.min_version is ssl.TLSVersion.TLSv1_2
    assert options.cert_reqs is ssl.CERT_NONE
    assert options.alpn == ("http/1.1", "http/1.0")
    assert options.handshake_timeout == 10.0
    assert options.handshake_limits == (256, 32, 8192)
    assert options.reload == 2.0
    assert options.unknown_sni == "default"
    assert options.versions == "TLS 1.2 and 1.3"
    assert options.client_policy.mode == "none"


def test_missing_certfile_is_tornados_key_error():
    """Programs that catch Tornado's KeyError still do, and its text is the plain sentence."""
    with pytest.raises(KeyError) as caught:
        parse_ssl_options({"keyfile": "x"})
    assert caught.value.args == ('missing key "certfile" in ssl_options',)
    assert str(caught.value) == 'missing key "certfile" in ssl_options'
    assert isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize("key", ["keyfile", "cert_reqs", "ciphers", "hosts", "reload"])
def test_none_counts_as_not_given(key):
    """An option of None, as command lines pass on, is the default."""
    assert parse_ssl_options({"certfile": "c", key: None}) == parse_ssl_options({"certfile": "c"})


def test_a_value_comes_back_as_it_is():
    """A TLSOptions needs no parsing."""
    options = parse_ssl_options(BASE)
    assert parse_ssl_options(options) is options


def test_the_password_is_not_shown():
    """The repr, which ends in logs and tracebacks, has no password."""
    assert "hunter2" not in repr(parse_ssl_options({**BASE, "password": "hunter2"}))


def test_every_key_is_known():
    """The keys of the specification are all there."""
    assert set(SSL_OPTION_KEYS) >= {
        *("ssl_version", "certfile", "keyfile", "cert_reqs", "ca_certs", "ciphers"),
        *("password", "alpn", "min_version", "policy", "crl", "hosts"),
        *("handshake_timeout", "reload", "client_auth", "unknown_sni"),
    }


@pytest.mark.parametrize(
    ("given", "attribute", "expected"),
    [
        ({"certfile": Path("a/b.pem")}, "certfile", "a/b.pem"),
        ({"client_auth": "optional", "ca_certs": "ca"}, "cert_reqs", ssl.CERT_OPTIONAL),
        ({"cert_reqs": 2, "ca_certs": "ca"}, "cert_reqs", ssl.CERT_REQUIRED),
        ({"cert_reqs": "Required", "ca_certs": "ca"}, "cert_reqs", ssl.CERT_REQUIRED),
        ({"min_version": "1.3"}, "min_version", ssl.TLSVersion.TLSv1_3),
        ({"min_version": "TLSv1.2"}, "min_version", ssl.TLSVersion.TLSv1_2),
        ({"min_version": "TLSv1_3"}, "min_version", ssl.TLSVersion.TLSv1_3),
        ({"min_version": ssl.TLSVersion.TLSv1_3}, "versions", "TLS 1.3"),
        ({"policy": "modern"}, "versions", "TLS 1.3"),
        ({"policy": "default"}, "versions", "TLS 1.2 and 1.3"),
        ({"ssl_version": ssl.PROTOCOL_TLS_SERVER}, "versions", "TLS 1.2 and 1.3"),
        ({"ssl_version": 5}, "versions", "TLS 1.2"),
        ({"alpn": [b"http/1.1", "x"]}, "alpn", ("http/1.1", "x")),
        ({"alpn": []}, "alpn", ()),
        ({"reload": False}, "reload", 0.0),
        ({"reload": 30}, "reload", 30.0),
        ({"handshake_timeout": 3}, "handshake_timeout", 3),
        ({"max_handshakes": 7}, "handshake_limits", (7, 32, 8192)),
        ({"max_stalled_handshakes": 9}, "handshake_limits", (256, 32, 9)),
    ],
    ids=str,
)
def test_values(given, attribute, expected):
    """Each spelling of a value is understood."""
    assert getattr(parse_ssl_options({**BASE, **given}), attribute) == expected


REFUSED = {
    "not a dict": ([], "must be a dict or an ssl.SSLContext, not list"),
    "unknown key": ({"certfil": "x"}, 'unknown key "certfil" in ssl_options; did you mean "cert'),
    "unknown key, far": ({**BASE, "zzz": 1}, 'unknown key "zzz" in ssl_options; known keys: '),
    "path": ({"certfile": 5}, '"certfile" must be the path of a file, not 5'),
    "empty path": ({**BASE, "keyfile": ""}, '"keyfile" must be the path of a file'),
    "cert_reqs": ({**BASE, "cert_reqs": "yes"}, '"cert_reqs" must be "none" or "optional" or'),
    "cert_reqs number": ({**BASE, "cert_reqs": 7}, '"cert_reqs" must be "none"'),
    "cert_reqs bool": ({**BASE, "ca_certs": "c", "cert_reqs": True}, '"cert_reqs" must be "none"'),
    "context of a host": (
        {**BASE, "hosts": {"a.test": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)}},
        'hosts["a.test"] must be a dict, not SSLContext',
    ),
    "no ca": ({**BASE, "cert_reqs": 2}, 'set "ca_certs" to the PEM file of the authority'),
    "crl, no client": ({**BASE, "crl": "x"}, "but no client is asked for a certificate"),
    "both": (
        {**BASE, "ca_certs": "c", "cert_reqs": "none", "client_auth": "required"},
        "say the same thing and differ",
    ),
    "old version": ({**BASE, "min_version": "1.1"}, "RFC 8996"),
    "old version enum": ({**BASE, "min_version": 0x0301}, "RFC 8996"),
    "old ssl_version": ({**BASE, "ssl_version": 3}, "RFC 8996"),
    "client ssl_version": (
        {**BASE, "ssl_version": ssl.PROTOCOL_TLS_CLIENT},
        '"ssl_version" must be ssl.PROTOCOL_TLS_SERVER',
    ),
    "version": ({**BASE, "min_version": "2"}, '"min_version" must be "1.2" or "1.3"'),
    "modern with 1.2": ({**BASE, "policy": "modern", "min_version": "1.2"}, "contradicts"),
    "modern with ciphers": ({**BASE, "policy": "modern", "ciphers": "x"}, "suites of TLS 1.2"),
    "1.2 only and 1.3 only": ({**BASE, "ssl_version": 5, "min_version": "1.3"}, "keep one"),
    "policy": ({**BASE, "policy": "old"}, '"policy" must be "default" or "modern", not'),
    "alpn text": ({**BASE, "alpn": "h2"}, '"alpn" must be a list'),
    "alpn empty": ({**BASE, "alpn": [""]}, "1 to 255 ASCII characters"),
    "password": ({**BASE, "password": 5}, '"password" must be a str, bytes or a callable'),
    "timeout": ({**BASE, "handshake_timeout": 0}, "handshake_timeout=0 is no"),
    "timeout inf": ({**BASE, "handshake_timeout": float("inf")}, "never ends"),
    "limit": ({**BASE, "max_handshakes": 1.5}, "max_handshakes=1.5 is not a count"),
    "limit bool": ({**BASE, "max_handshakes": True}, "max_handshakes=True is not a count"),
    "reload": ({**BASE, "reload": -1}, '"reload" must be True, False or the seconds'),
    "reload at once": (
        {**BASE, "reload": 1e-9},
        '"reload" must be at least 0.001 seconds and have an end, not 1e-09',
    ),
    "unknown_sni": ({**BASE, "unknown_sni": "drop"}, '"default" or "reject"'),
    "ciphers": ({**BASE, "ciphers": ""}, '"ciphers" must be a non-empty string'),
    "hosts": ({**BASE, "hosts": ["a"]}, '"hosts" must be a dict of host name to ssl_options'),
    "host pair": ({**BASE, "hosts": {"a.test": "x"}}, 'hosts["a.test"] must be a dict'),
    "host key": (
        {**BASE, "hosts": {"a.test": {**BASE, "reload": 1}}},
        'the key "reload" in hosts["a.test"] holds for the whole listener',
    ),
    "host certfile": (
        {**BASE, "hosts": {"a.test": {"keyfile": "x"}}},
        'missing key "certfile" in hosts["a.test"]',
    ),
    "host value": (
        {**BASE, "hosts": {"a.test": {**BASE, "policy": "x"}}},
        'hosts["a.test"]: "policy" must be',
    ),
    "host twice": ({**BASE, "hosts": {"a.test": BASE, "A.test.": BASE}}, 'names "a.test" twice'),
}


@pytest.mark.parametrize(("given", "words"), REFUSED.values(), ids=REFUSED)
def test_refusals_say_what_and_why(given, words):
    """Each wrong option is a ValueError that names the key and what is wrong with it."""
    with pytest.raises(TLSConfigurationError) as caught:
        parse_ssl_options(given)
    assert isinstance(caught.value, ValueError)
    assert words in str(caught.value)


def test_a_host_inherits_what_it_does_not_say():
    """Versions and client policy of the listener hold for a host, but never its certificate."""
    options = parse_ssl_options(
        {
            **BASE,
            "password": "x",
            "policy": "modern",
            "client_auth": "required",
            "ca_certs": "ca.pem",
            "hosts": {"a.test": {"certfile": "a.pem"}},
        }
    )
    host = options.hosts["a.test"]
    assert isinstance(host, TLSOptions)
    assert host.keyfile is None
    assert host.password is None
    assert host.versions == "TLS 1.3"
    assert host.client_policy == options.client_policy


def test_a_host_replaces_all_of_what_it_inherits():
    """What a host says under one name is not mixed with what the listener said under another."""
    options = parse_ssl_options(
        {
            **BASE,
            "ciphers": "ECDHE+AESGCM",
            "cert_reqs": ssl.CERT_REQUIRED,
            "ca_certs": "ca.pem",
            "crl": "ca.crl",
            "hosts": {
                "open.test": {"certfile": "o.pem", "client_auth": "none"},
                "new.test": {"certfile": "n.pem", "policy": "modern"},
            },
        }
    )
    assert options.hosts["open.test"].client_policy.mode == "none"
    assert options.hosts["open.test"].ca_certs is None
    assert options.hosts["new.test"].ciphers is None
    assert options.hosts["new.test"].client_policy.mode == "required"
