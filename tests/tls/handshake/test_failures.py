"""Tests for `tls.handshake.failures` and `failurelog`: reasons in words, and how many lines."""

import logging
import ssl

import pytest

from edgeserver.tls.handshake.clienthello import parse_client_hello
from edgeserver.tls.handshake.failure_log import ADDRESSES_A_MINUTE, KEPT, FailureLog
from edgeserver.tls.handshake.failures import (
    REASONS,
    HandshakeFailure,
    explain_alert,
    explain_error,
    render_offer,
    render_peer,
)
from tests.tls.hellos import alpn, build_hello, versions


def hello(*extensions, **fields):
    """Parse a hello built for the test."""
    return parse_client_hello(build_hello(*extensions, **fields)[4:])


def ssl_error(reason, text="x"):
    """Make an error as `ssl` raises it."""
    error = ssl.SSLError(1, f"[SSL: {reason}] {text} (_ssl.c:1006)")
    error.reason = reason
    return error


def verify_error(code, message):
    """Make a verification error as `ssl` raises it."""
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = code, message
    return error


def failure(reason="closed", *, when_s=0.0, **changes):
    """Make a failure."""
    fields = {"peer": "192.0.2.1:4", "client": None, "server_name": None, "offer": ""}
    return HandshakeFailure(when_s=when_s, reason=REASONS[reason], **(fields | changes))


@pytest.mark.parametrize(
    ("error", "name", "words"),
    [
        (ssl_error("NO_SHARED_CIPHER"), "no-common-cipher", "no cipher suite in common"),
        (ssl_error("TLSV1_ALERT_UNKNOWN_CA"), "distrusted-ca", "unknown_ca"),
        (ssl_error("SSLV3_ALERT_BAD_CERTIFICATE"), "refused-certificate", "bad_certificate"),
        (ssl_error("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "expired-certificate", "expired"),
        (ssl_error("TLSV1_ALERT_PROTOCOL_VERSION"), "no-common-version", "no TLS version"),
        (ssl_error("TLSV1_ALERT_INTERNAL_ERROR"), "refused-by-client", "internal_error"),
        (ssl_error("SOMETHING_NEW"), "error", "something new"),
        (ssl_error("UNEXPECTED_MESSAGE"), "bad-record", "unexpected message"),
        (ssl.SSLEOFError(8, "EOF occurred"), "closed", "closed the connection"),
        (verify_error(10, "certificate has expired"), "client-cert-expired", "has expired"),
        (verify_error(9, "not yet"), "client-cert-not-yet-valid", "not valid yet"),
        (verify_error(23, "revoked"), "client-cert-revoked", "revoked"),
        (verify_error(20, "unable to get"), "client-cert-unknown-ca", "(unable to get)"),
        (verify_error(3, "no CRL"), "crl-unusable", "(no CRL)"),
        (verify_error(26, "purpose"), "client-cert-refused", "(purpose)"),
        (RuntimeError("x"), "internal", "in this server"),
    ],
)
def test_errors_are_explained(error, name, words):
    """Each error has a fixed name for the counters and words for the reader."""
    reason = explain_error(error)
    assert reason.name == name
    assert words in reason.words
    assert reason.name in REASONS


def test_alert_that_python_has_no_constant_for():
    """The alert is taken out of the message where `ssl` gives no code."""
    error = ssl.SSLError(1, "[SSL] tlsv1 alert no application protocol (_ssl.c:1006)")
    reason = explain_error(error)
    assert reason.name == "refused-by-client"
    assert reason.words.endswith(": no_application_protocol")


@pytest.mark.parametrize(
    ("offer", "hint"),
    [
        (hello(version=0x0301), "the client speaks TLS 1.0 only; it must be updated"),
        (hello(versions(0x0302, 0x0301), version=0x0302), "TLS 1.1 only"),
        (hello(versions(0x0303)), "the client speaks TLS 1.2; see `min_version` and `policy`"),
        (hello(versions(0x7F1C)), "version 0x7f1c"),
        (hello(versions()), "very old, or a scanner"),
        (None, "very old, or a scanner"),
    ],
    ids=["1.0", "1.1", "1.2", "draft", "none", "no-hello"],
)
def test_hint_of_a_version_that_is_not_served(offer, hint):
    """The hint says what the client could speak."""
    assert hint in explain_error(ssl_error("UNSUPPORTED_PROTOCOL"), offer).hint


@pytest.mark.parametrize(
    ("alert", "name"), [(112, "unknown-name"), (120, "no-common-alpn"), (80, "error")]
)
def test_our_alerts_are_explained(alert, name):
    """What we refuse ourselves has a reason too."""
    assert explain_alert(alert).name == name


def test_offer_in_words():
    """What was offered is short, and GREASE is not counted."""
    offer = hello(
        versions(0x0A0A, 0x0304, 0x0303), alpn(b"h2", b"\x1b[31m"), suites=[0x1301, 0x1A1A]
    )
    assert render_offer(offer) == "TLS 1.2, TLS 1.3; 1 cipher suite; ALPN h2, \\x1b[31m"
    assert render_offer(hello(version=0x0302)).startswith("up to TLS 1.1; 2 cipher suites")
    assert render_offer(None) == ""


@pytest.mark.parametrize(
    ("peer", "text"),
    [(("192.0.2.1", 4), "192.0.2.1:4"), (("::1", 4), "[::1]:4"), (None, "unix socket")],
)
def test_peer(peer, text):
    """Addresses are written as people write them."""
    assert render_peer(peer) == text


def test_line_is_one_line():
    """Whatever a stranger asked for, the line has no control characters."""
    line = failure(server_name="a\r\nb\x1b[2J", client="203.0.113.9", offer="TLS 1.2").render()
    assert line == (
        "SSL Error on 192.0.2.1:4 for 203.0.113.9: the client closed the connection during the "
        "handshake (it may not trust our certificate and not say so); "
        "SNI a\\x0d\\x0ab\\x1b[2J; offered TLS 1.2"
    )


@pytest.fixture
def lines(caplog):
    """Return what was logged."""
    caplog.set_level(logging.WARNING, logger="edgeserver.general")
    return lambda: [each.getMessage() for each in caplog.records]


def test_lines_are_limited_per_address_and_minute(lines):
    """One address causes five lines a minute; others have their own; the rest is summed up."""
    log = FailureLog()
    for _ in range(20):
        log.add(failure(when_s=30.0), b"a")
    log.add(failure(when_s=31.0), b"b")
    assert len(lines()) == 6
    log.add(failure(when_s=61.0), b"a")
    assert len(lines()) == 8
    assert lines()[6].startswith("SSL Error on several connections: 15 more")
    assert log.counts == {"closed": 22}


def test_table_of_addresses_is_bounded(lines):
    """A flood from everywhere causes no more lines than the table has rows."""
    log = FailureLog(lines_per_minute=1)
    for number in range(ADDRESSES_A_MINUTE + 500):
        log.add(failure(), number.to_bytes(4, "big"))
    assert len(lines()) == ADDRESSES_A_MINUTE
    assert len(log._lines) == ADDRESSES_A_MINUTE
    assert len(log.recent) == KEPT
    assert log.counts["closed"] == ADDRESSES_A_MINUTE + 500
