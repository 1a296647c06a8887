"""The doctor for a server on the network: what clients are shown, and what they may be made to use.

Decides which handshakes to try and what their outcomes mean. It sends nothing but handshakes, and
believes nothing that the server says of itself.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from edgeserver.errors import TLSConfigurationError
from edgeserver.support.escape import escape
from edgeserver.tls.certificates.files import parse_certs
from edgeserver.tls.certificates.pem import load_file
from edgeserver.tls.doctor.chain import ChainCheck, check_chain
from edgeserver.tls.doctor.findings import Report

__all__ = ["TLSEndpoint", "check_endpoint", "parse_endpoint"]

_OLD = {"TLS 1.0": ssl.TLSVersion.TLSv1, "TLS 1.1": ssl.TLSVersion.TLSv1_1}
_NEW = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}
_REASONS = {
    "WRONG_VERSION_NUMBER": (
        "what answers speaks no TLS (plain HTTP?)",
        "name the port of https, or give the server a certificate",
    ),
    "UNEXPECTED_EOF_WHILE_READING": (
        "the server closed the connection without an alert",
        "its log says why, or that of a proxy or firewall in between",
    ),
    "TLSV1_UNRECOGNIZED_NAME": (
        "the server has no certificate for the name that was asked for",
        "ask for one that it serves (--host NAME), or configure that name there",
    ),
    "TLSV1_ALERT_PROTOCOL_VERSION": (
        "the server speaks neither TLS 1.2 nor TLS 1.3",
        "turn on TLS 1.2 and TLS 1.3 there",
    ),
}
"""What OpenSSL's reasons mean, where that is not plain, and the fix."""

# Everything but forward secrecy with AEAD. Source: RFC 9325 section 4.1 and 4.2.
_WEAK = "ALL:!ECDHE+AESGCM:!DHE+AESGCM:!CHACHA20:!ECDHE+AESCCM:!DHE+AESCCM:!PSK:!SRP:!aNULL"


@dataclass(frozen=True, slots=True)
class TLSEndpoint:
    """A host and port; `str()` gives them as they are written."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return escape(f"{host}:{self.port}")


def parse_endpoint(text: str) -> TLSEndpoint:
    """Parse `HOST:PORT`, with an IPv6 address in brackets.

    Raises:
        TLSConfigurationError: It is neither.
    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise TLSConfigurationError(
            f'"{escape(text)}" is neither a file nor HOST:PORT (such as www.example.com:443)'
        )
    return TLSEndpoint(host, int(port))


def check_endpoint(
    endpoint: TLSEndpoint,
    *,
    names: Sequence[str] = (),
    ca_certs: str | None = None,
    timeout_s: float = 5.0,
) -> Report:
    """Shake hands with a server in several ways and return what is wrong.

    Args:
        endpoint: Where it listens.
        names: The names that clients use; the first is asked for. The endpoint's host if empty.
        ca_certs: A PEM file of roots to trust besides the system's.
        timeout_s: Seconds for each connection.

    Raises:
        TLSConfigurationError: `ca_certs` cannot be used.
    """
    report = Report()
    where = str(endpoint)
    wanted = tuple(names) or (endpoint.host,)
    roots: tuple[x509.Certificate, ...] = ()
    if ca_certs is not None:
        roots = tuple(parse_certs(load_file(ca_certs, "ca_certs"), f'ca_certs "{ca_certs}"'))
    prober = _Prober(endpoint, wanted[0], timeout_s)
    try:
        seen = prober.shake(prober.context(ssl.TLSVersion.TLSv1_2, None))
    except (OSError, ValueError) as error:
        what, fix = _explain(error)
        report.add("handshake-failed", where, f"no handshake: {what}", fix)
        return report
    certs = [x509.load_der_x509_certificate(der) for der in seen.chain]
    if certs:
        against = ChainCheck(
            now=datetime.datetime.now(datetime.UTC),
            names=wanted,
            roots=roots,
            roots_known=ca_certs is not None,
            is_server=True,
        )
        report.extend([check_chain(certs, certs[0], where, against)])
    if not names:  # what else the certificate is for is not known to be unused
        report.findings = [each for each in report.findings if each.code != "name-unused"]
    report.subjects.append(f"{where}: {seen.version}, {seen.cipher}, ALPN {seen.alpn or 'none'}")
    _check_trust(prober, ca_certs, where, report)
    _check_versions(prober, where, report)
    return report


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one handshake ended with."""

    version: str
    cipher: str
    alpn: str
    chain: list[bytes]


class _Prober:
    """Connects to one endpoint, once per question."""

    def __init__(self, endpoint: TLSEndpoint, name: str, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._name: str | None = name
        try:
            ipaddress.ip_address(name)
        except ValueError:
            self._sni: str | None = name
        else:
            self._sni = None  # RFC 6066 section 3: never an address

    def context(
        self, low: ssl.TLSVersion, high: ssl.TLSVersion | None, ciphers: str = "ALL"
    ) -> ssl.SSLContext:
        """Return a client's context that accepts anything within these versions."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.0 is asked for on purpose
            context.minimum_version = low
            context.maximum_version = high or ssl.TLSVersion.MAXIMUM_SUPPORTED
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def shake(self, context: ssl.SSLContext) -> _Seen:
        """Connect, shake hands, close.

        Raises:
            OSError: No connection or no handshake; `ssl.SSLError` is one.
        """
        address = (self._endpoint.host, self._endpoint.port)
        with socket.create_connection(address, timeout=self._timeout_s) as sock:
            name = self._name if context.check_hostname else self._sni
            with context.wrap_socket(sock, server_hostname=name) as tls:
                cipher = tls.cipher()
                return _Seen(
                    version=tls.version() or "",
                    cipher=cipher[0] if cipher else "",
                    alpn=tls.selected_alpn_protocol() or "",
                    chain=_shown_chain(tls),
                )

    def works(self, context: ssl.SSLContext) -> _Seen | None:
        """Return what a handshake ended with, None if it failed."""
        try:
            return self.shake(context)
        except OSError:
            return None


def _shown_chain(tls: ssl.SSLSocket) -> list[bytes]:
    """Return the certificates that the server sent, in its order, as DER."""
    # Public from 3.13 on; before that the object below has the same, as certificate objects.
    public = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return [bytes(der) for der in public()]
    private = getattr(getattr(tls, "_sslobj", None), "get_unverified_chain", None)
    chain = private() if private is not None else None
    if chain:
        return [ssl.PEM_cert_to_DER_cert(cert.public_bytes()) for cert in chain]
    leaf = tls.getpeercert(binary_form=True)
    return [leaf] if leaf else []


def _check_trust(prober: _Prober, ca_certs: str | None, where: str, report: Report) -> None:
    context = ssl.create_default_context()
    if ca_certs:
        context.load_verify_locations(ca_certs)
    try:
        prober.shake(context)
    except ssl.SSLCertVerificationError as error:
        # dates and names have findings of their own, with more to say
        if not {
            "expired",
            "not-yet-valid",
            "name-missing",
            "no-san",
            "not-for-servers",
            "self-signed",
        } & {each.code for each in report.findings}:
            report.add(
                "untrusted",
                where,
                f"a client of this system does not trust it: {escape(error.verify_message)}",
                "send every intermediate; for a private authority give it with --ca-certs",
            )
    except OSError:
        pass  # it asks for a client certificate, or the like: not a matter of trust


def _check_versions(prober: _Prober, where: str, report: Report) -> None:
    offered = []
    for name, version in {**_OLD, **_NEW}.items():
        if prober.works(prober.context(version, version)):
            offered.append(name)
            if name in _OLD:
                report.add(
                    "old-version",
                    where,
                    f"it speaks {name}, which must not be used (RFC 8996)",
                    "set the lowest version to TLS 1.2",
                )
    report.subjects.append(f"{where}: speaks {', '.join(offered) or 'no version alone'}")
    if "TLS 1.3" not in offered:
        report.add(
            "no-tls13", where, "it does not speak TLS 1.3", "turn TLS 1.3 on (RFC 9325 section 3.1)"
        )
    low, high = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_2
    weak = prober.works(prober.context(low, high, _WEAK))
    if weak:
        report.add(
            "weak-cipher",
            where,
            f"it accepts {weak.cipher}, which lacks forward secrecy or AEAD (RFC 9325)",
            "allow only ECDHE suites with AES-GCM or ChaCha20-Poly1305",
        )


def _explain(error: OSError | ValueError) -> tuple[str, str]:
    """Return why there was no handshake, and what to do about it."""
    if isinstance(error, ssl.SSLError):
        said = escape(error.reason or str(error))
        return _REASONS.get(error.reason or "", (said, "the server's log says more"))
    if isinstance(error, TimeoutError):
        return "no answer in time", "see whether a firewall drops the port; else raise --timeout"
    if isinstance(error, socket.gaierror):
        return "the host name is not known", "correct the name, or its entry in the DNS"
    if isinstance(error, ConnectionRefusedError):
        return "Connection refused: nothing listens there", "start the server, or correct the port"
    said = escape(getattr(error, "strerror", None) or str(error))
    return said, "see whether this machine has a way to that host and port"
