"""Tests of edgeserver.tls.settings.hosts: names as configured, as sent, and how they meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls.settings.hosts import (
    covers,
    find_host,
    name_of_authority,
    normalize_name,
    parse_host_name,
)

HOSTS = frozenset({"example.com", "*.example.com", "www.example.com", "*.deep.example.com"})


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("example.com", "example.com"),
        ("www.example.com", "www.example.com"),
        ("other.example.com", "*.example.com"),
        ("a.b.example.com", None),
        ("a.deep.example.com", "*.deep.example.com"),
        ("deep.example.com", "*.example.com"),
        (".example.com", None),
        ("com", None),
        ("", None),
        ("example.org", None),
        ("xexample.com", None),
    ],
)
def test_exact_then_one_label_wildcard(name, host):
    """An exact name wins, then a wildcard for exactly one label, then nothing."""
    assert find_host(HOSTS, name) == host
    assert covers(HOSTS, name) is (host is not None)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Example.COM.", "example.com"),
        ("*.Example.com", "*.example.com"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_dmarc.example.com", "_dmarc.example.com"),
    ],
)
def test_configured_names(written, name):
    """A configured name is brought into the form of the table."""
    assert parse_host_name(written) == name


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", "non-empty string"),
        (None, "non-empty string"),
        ("bücher.example", '"xn--bcher-kva.example"'),
        ("192.0.2.1", "RFC 6066 section 3"),
        ("[2001:db8::1]", "RFC 6066 section 3"),
        ("www.*.com", "the whole first label"),
        ("w*.example.com", "the whole first label"),
        ("*", "the whole first label"),
        ("https://a.test", "without scheme, port or path"),
        ("a.test:443", "without scheme, port or path"),
        ("a..test", "not a host name"),
        ("-a.test", "not a host name"),
        ("a" * 64 + ".test", "not a host name"),
        ("a." * 130 + "test", "not a host name"),
        ("a b.test", "not a host name"),
    ],
)
def test_configured_names_refused(written, words):
    """What a client can never ask for is refused when it is configured."""
    with pytest.raises(TLSConfigurationError) as caught:
        parse_host_name(written)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("Example.com", "example.com"),
        ("example.com:8443", "example.com"),
        ("example.com.:443", "example.com"),
        ("[2001:DB8::1]:443", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("", ""),
        ("[broken", ""),
    ],
)
def test_name_of_a_host_field(authority, name):
    """The name in a Host field is found without its port, in the form of the table."""
    assert name_of_authority(authority) == name


@given(st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,3}", fullmatch=True))
def test_what_is_configured_is_found(name):
    """A configured name is found however a client spells its case and its trailing dot."""
    hosts = {parse_host_name("h." + name)}
    assert find_host(hosts, normalize_name(f"H.{name.upper()}.")) == f"h.{name}"
