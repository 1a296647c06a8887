"""The types of what a request knows of its client and its connection.

Decides only which attributes an application may count on: the interfaces of what `proxyheaders`
and `tls` put there, which this room must not know. Nothing is checked when the program runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

__all__ = ["CertificateDetails", "ClientDetails", "ClientProof", "TLSDetails"]


class ClientDetails(Protocol):
    """Who the client is; `edgeserver.proxyheaders.Resolved` says what each attribute means."""

    @property
    def remote_ip(self) -> str:
        """The client's address."""
        ...

    @property
    def port(self) -> int | None:
        """The client's port, where somebody trusted named it."""
        ...

    @property
    def zone(self) -> str | None:
        """The zone of a link-local address."""
        ...

    @property
    def protocol(self) -> str:
        """The scheme, `http` or `https`."""
        ...

    @property
    def verified(self) -> bool:
        """Whether nothing unusable stood where the client should be named."""
        ...

    @property
    def reason(self) -> str:
        """Why this address was chosen: a key of `REASONS`."""
        ...

    @property
    def prelude(self) -> Any:
        """The connection's PROXY prelude, or None."""
        ...

    @property
    def host(self) -> str | None:
        """The host that a proxy with `sets=` named."""
        ...

    @property
    def forwarded_port(self) -> int | None:
        """The port that a proxy with `sets=` named."""
        ...

    @property
    def prefix(self) -> str | None:
        """The path prefix that a proxy with `sets=` named."""
        ...

    @property
    def client_cert(self) -> bytes | None:
        """The DER certificate that a proxy with `sets=` passed on."""
        ...


class ClientProof(Protocol):
    """The proof of a client; `edgeserver.proxyheaders.Provenance` says what each means."""

    @property
    def resolved(self) -> ClientDetails:
        """The client."""
        ...

    @property
    def hops(self) -> Sequence[Any]:
        """The chain, nearest first: a `Hop` each."""
        ...

    @property
    def findings(self) -> Sequence[Any]:
        """What was odd: a `Finding` each."""
        ...

    @property
    def unseen(self) -> int:
        """How many entries beyond the client are not in `hops`."""
        ...

    @property
    def reason(self) -> str:
        """Why this address was chosen."""
        ...

    def as_dict(self) -> dict[str, object]:
        """Return the proof as JSON values."""
        ...


class CertificateDetails(Protocol):
    """A client's certificate; see `edgeserver.tls.ClientCertificateInfo`."""

    @property
    def der(self) -> bytes:
        """The certificate itself."""
        ...

    @property
    def subject(self) -> str:
        """The subject's distinguished name, such as `CN=alice,O=Example`."""
        ...

    @property
    def issuer(self) -> str:
        """The issuer's distinguished name."""
        ...

    @property
    def common_name(self) -> str:
        """The common name, or the first alternative name."""
        ...

    @property
    def serial_number(self) -> str:
        """The serial number, hexadecimal."""
        ...

    @property
    def alternative_names(self) -> tuple[tuple[str, str], ...]:
        """The subject alternative names, as (type, value)."""
        ...

    @property
    def spiffe_id(self) -> str | None:
        """The SPIFFE id, if there is one."""
        ...

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate, hexadecimal."""
        ...


class TLSDetails(Protocol):
    """The TLS of a connection; `edgeserver.tls.connection.info.TLSInfo` says what each means."""

    @property
    def version(self) -> str:
        """The protocol version, such as `TLSv1.3`."""
        ...

    @property
    def cipher(self) -> str:
        """The cipher suite's name in OpenSSL."""
        ...

    @property
    def sni(self) -> str | None:
        """The server name that the client asked for."""
        ...

    @property
    def host(self) -> str:
        """The configured host whose certificate was served, empty for the default."""
        ...

    @property
    def alpn(self) -> str | None:
        """The application protocol agreed on."""
        ...

    @property
    def ja4(self) -> str:
        """The JA4 fingerprint of the ClientHello."""
        ...

    @property
    def resumed(self) -> bool:
        """Whether a session was resumed."""
        ...

    @property
    def client_certificate_der(self) -> bytes | None:
        """The client's verified certificate, or None."""
        ...

    @property
    def verified_chain(self) -> tuple[bytes, ...] | None:
        """The client's certificate and those up to its authority, as DER."""
        ...

    @property
    def client_certificate(self) -> CertificateDetails | None:
        """The client's certificate, parsed, or None."""
        ...
