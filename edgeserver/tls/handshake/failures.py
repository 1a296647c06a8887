"""The reasons of failed handshakes, in words that help whoever reads the log.

Decides the reason, the sentence and the hint for every way a handshake ends badly. It must know no
socket and no logger: an exception of `ssl`, or a name of ours, and the hello go in; text comes out.

A reason is a short fixed name (so that counters stay bounded), never text from the wire.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import NamedTuple

from edgeserver.support.escape import escape
from edgeserver.tls.handshake.alerts import alert_name
from edgeserver.tls.handshake.clienthello import GREASE, ClientHello

__all__ = [
    "REASONS",
    "HandshakeFailure",
    "Reason",
    "explain_alert",
    "explain_error",
    "render_offer",
    "render_peer",
]


class Reason(NamedTuple):
    """One way to fail: its name in counters, what happened, and what to do about it."""

    name: str
    words: str
    hint: str = ""


REASONS: dict[str, Reason] = {
    reason.name: reason
    for reason in (
        Reason("plain-http", "plain HTTP sent to the TLS port", "the client must use https://"),
        Reason(
            "not-tls",
            "what came is neither TLS nor HTTP",
            "a port scan, or another protocol",
        ),
        Reason("proxy-prelude", "a PROXY header, which this listener does not take"),
        Reason("sslv2", "an SSLv2 hello", "the client is some twenty years old, or a scanner"),
        Reason("malformed-hello", "the ClientHello cannot be read", "a scanner or a broken client"),
        Reason("hello-too-long", "a ClientHello over 64 KiB", "no real client sends one"),
        Reason("silent", "nothing was sent before the handshake timeout"),
        Reason(
            "timeout",
            "the handshake did not end in time",
            "a slow or lossy path, or a client that holds connections open on purpose",
        ),
        Reason(
            "closed",
            "the client closed the connection during the handshake",
            "it may not trust our certificate and not say so",
        ),
        Reason(
            "reset",
            "the client reset the connection during the handshake",
            "it may not trust our certificate and not say so",
        ),
        Reason("crowded", "too many handshakes at a time", "a burst or a flood; see the limits"),
        Reason(
            "stalled",
            "too many handshakes wait for their clients",
            "this client had the most, and waited longest; see `max_stalled_handshakes`",
        ),
        Reason(
            "unknown-name",
            "no certificate is configured for the name that was asked for",
            "DNS points here for a name that `hosts` lacks, or a scanner tries names",
        ),
        Reason(
            "no-common-alpn",
            "none of the offered application protocols is served here",
            "the client wants another protocol on this port",
        ),
        Reason("no-common-version", "no TLS version in common"),
        Reason(
            "no-common-cipher",
            "no cipher suite in common",
            "compare `ciphers` and the kind of certificate (RSA, ECDSA) with what the client has",
        ),
        Reason("no-common-group", "no key agreement group in common"),
        Reason(
            "no-common-signature",
            "no signature algorithm in common",
            "the client cannot check a certificate of this kind",
        ),
        Reason(
            "client-cert-missing",
            "a client certificate is required and none was sent",
            "the client has none from an authority in `ca_certs`",
        ),
        Reason(
            "client-cert-unknown-ca",
            "the client certificate is not from an authority in `ca_certs`",
            "add the authority, or the client must send its intermediate certificate",
        ),
        Reason("client-cert-expired", "the client certificate has expired", "renew it"),
        Reason(
            "client-cert-not-yet-valid",
            "the client certificate is not valid yet",
            "compare the clocks of this machine and of the one that issued it",
        ),
        Reason("client-cert-revoked", "the client certificate is revoked"),
        Reason(
            "crl-unusable",
            "no valid CRL for the authority of the client certificate",
            "every client is refused until `crl` holds a current list",
        ),
        Reason("client-cert-refused", "the client certificate was refused"),
        Reason(
            "distrusted-ca",
            "the client refused our certificate: unknown_ca",
            "it does not trust our CA, or our chain lacks an intermediate certificate",
        ),
        Reason(
            "refused-certificate",
            "the client refused our certificate",
            "most often it does not trust our CA, or the certificate is not for that name",
        ),
        Reason(
            "expired-certificate",
            "the client refused our certificate: certificate_expired",
            "renew it, or the client's clock is wrong",
        ),
        Reason("refused-by-client", "the client ended the handshake with an alert"),
        Reason("bad-record", "a record that cannot be decrypted or is out of order"),
        Reason("error", "OpenSSL ended the handshake"),
        Reason("internal", "an error in this server ended the handshake"),
    )
}

_ERROR_REASONS = {
    "HTTP_REQUEST": "plain-http",
    "HTTPS_PROXY_REQUEST": "plain-http",
    "WRONG_VERSION_NUMBER": "not-tls",
    "UNKNOWN_PROTOCOL": "no-common-version",
    "UNSUPPORTED_PROTOCOL": "no-common-version",
    "VERSION_TOO_LOW": "no-common-version",
    "INAPPROPRIATE_FALLBACK": "no-common-version",
    "NO_SHARED_CIPHER": "no-common-cipher",
    "NO_SUITABLE_KEY_SHARE": "no-common-group",
    "NO_SHARED_GROUP": "no-common-group",
    "NO_SHARED_GROUPS": "no-common-group",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "no-common-signature",
    "NO_SHARED_SIGNATURE_ALGORITHMS": "no-common-signature",
    "NO_APPLICATION_PROTOCOL": "no-common-alpn",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "client-cert-missing",
    "BAD_PACKET_LENGTH": "malformed-hello",
    "LENGTH_MISMATCH": "malformed-hello",
    "LENGTH_TOO_SHORT": "malformed-hello",
    "BAD_EXTENSION": "malformed-hello",
    "PACKET_LENGTH_TOO_LONG": "bad-record",
    "UNEXPECTED_MESSAGE": "bad-record",
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": "bad-record",
    "DIGEST_CHECK_FAILED": "bad-record",
}

# The numbers of X509_V_ERR_... in OpenSSL's x509_vfy.h
_VERIFY_REASONS = {
    **dict.fromkeys((2, 18, 19, 20, 21, 22, 24, 27), "client-cert-unknown-ca"),
    **dict.fromkeys((3, 11, 12), "crl-unusable"),
    9: "client-cert-not-yet-valid",
    10: "client-cert-expired",
    23: "client-cert-revoked",
}

_ALERT_REASONS = {
    "UNKNOWN_CA": "distrusted-ca",
    "BAD_CERTIFICATE": "refused-certificate",
    "CERTIFICATE_UNKNOWN": "refused-certificate",
    "UNSUPPORTED_CERTIFICATE": "refused-certificate",
    "CERTIFICATE_REVOKED": "refused-certificate",
    "CERTIFICATE_EXPIRED": "expired-certificate",
    "PROTOCOL_VERSION": "no-common-version",
}

_MESSAGE = re.compile(r"\] ([a-z0-9 ]+) \(_ssl")

_OUR_ALERTS = {112: "unknown-name", 120: "no-common-alpn"}

_VERSION_NAMES = {2: "SSL 2", 0x300: "SSL 3", 0x301: "TLS 1.0", 0x302: "TLS 1.1"} | {
    0x303: "TLS 1.2",
    0x304: "TLS 1.3",
}


def explain_alert(alert: int) -> Reason:
    """Return why we sent an alert of our own instead of a handshake."""
    name = _OUR_ALERTS.get(alert)
    if name:
        return REASONS[name]
    return REASONS["error"]._replace(words=f"refused with the alert {alert_name(alert)}")


def explain_error(exc: BaseException, hello: ClientHello | None = None) -> Reason:
    """Return why `ssl` gave up, with the words made as exact as the hello allows.

    Args:
        exc: What `do_handshake` or the first `read` raised.
        hello: What the client offered, if it could be read.
    """
    if not isinstance(exc, ssl.SSLError):
        return REASONS["internal"]._replace(hint=type(exc).__name__)
    if isinstance(exc, ssl.SSLCertVerificationError):
        reason = REASONS[_VERIFY_REASONS.get(exc.verify_code, "client-cert-refused")]
        if reason.name in ("client-cert-refused", "crl-unusable", "client-cert-unknown-ca"):
            return reason._replace(words=f"{reason.words} ({exc.verify_message})")
        return reason
    if isinstance(exc, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return REASONS["closed"]
    code = getattr(exc, "reason", None) or _code_in_words(exc)
    _, found, alert = code.partition("_ALERT_")
    if found:
        return _explain_alert(alert)
    reason = REASONS[_ERROR_REASONS.get(code, "error")]
    if reason.name == "no-common-version":
        return reason._replace(hint=_version_hint(hello))
    if reason.name in ("error", "bad-record"):
        return reason._replace(words=f"{reason.words} ({code.lower().replace('_', ' ')})")
    return reason


def _code_in_words(exc: ssl.SSLError) -> str:
    """Return the code of an error that this Python has no constant for, from its message."""
    found = _MESSAGE.search(str(exc))
    return found[1].strip().upper().replace(" ", "_") if found else ""


def _explain_alert(alert: str) -> Reason:
    reason = REASONS[_ALERT_REASONS.get(alert, "refused-by-client")]
    if reason.name in ("refused-certificate", "refused-by-client"):
        return reason._replace(words=f"{reason.words}: {alert.lower()}")
    return reason


def _version_name(version: int) -> str:
    return _VERSION_NAMES.get(version, f"version {version:#06x}")


def _version_hint(hello: ClientHello | None) -> str:
    if hello is None or not hello.versions:
        return "the client is very old, or a scanner"
    best = max(hello.versions)
    if best < 0x303:
        return f"the client speaks {_version_name(best)} only; it must be updated"
    return f"the client speaks {_render_versions(hello)}; see `min_version` and `policy`"


def _render_versions(hello: ClientHello) -> str:
    shown = sorted(set(hello.versions))[:6]
    if hello.extensions and 43 in hello.extensions:
        return ", ".join(_version_name(version) for version in shown) or "no version"
    # without supported_versions the number is the highest (RFC 5246 section 7.4.1.2)
    return f"up to {_version_name(hello.legacy_version)}"


def render_offer(hello: ClientHello | None) -> str:
    """Return what a client offered, short and safe to log; empty without a hello."""
    if hello is None:
        return ""
    suites = sum(suite not in GREASE for suite in hello.cipher_suites)
    text = f"{_render_versions(hello)}; {suites} cipher suite{'s' if suites != 1 else ''}"
    if hello.alpn:
        text += f"; ALPN {escape(', '.join(hello.alpn[:4]), 60)}"
    return text


def render_peer(peer: tuple[str, int] | None) -> str:
    """Return an address and port as they are written, `unix socket` without one."""
    if peer is None:
        return "unix socket"
    address, port = peer
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass(frozen=True, slots=True)
class HandshakeFailure:
    """One failed handshake, as it is logged and kept.

    Attributes:
        when_s: When it failed, in seconds since the epoch.
        peer: The other end of the TCP connection, `ADDRESS:PORT`, or `unix socket`.
        client: The client that a PROXY prelude named, or None.
        server_name: The name that was asked for, as it came; not escaped.
        offer: What was offered, in words.
        reason: Why, in words and with a hint.
        ja4: The fingerprint of the hello, or empty.
    """

    when_s: float
    peer: str
    client: str | None
    server_name: str | None
    offer: str
    reason: Reason
    ja4: str = ""

    def render(self) -> str:
        """Return the one line for the log, escaped, without a line break.

        It begins as Tornado's line for the same event does, so that filters made for that match.
        """
        peer = f"{self.peer} for {self.client}" if self.client else self.peer
        text = f"SSL Error on {peer}: {self.reason.words}"
        if self.reason.hint:
            text += f" ({self.reason.hint})"
        if self.server_name is not None:
            text += f"; SNI {escape(self.server_name, 100)}"
        if self.offer:
            text += f"; offered {self.offer}"
        return text
