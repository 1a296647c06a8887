"""Certificates for tests: authorities, chains, leaves, clients and CRLs, made with `cryptography`.

Decides how a test says what it wants: a few calls, each returning an `Issued` (certificate, key
and the chain that a server would send), which writes itself where the test needs a file. Keys are
new each time, but for RSA, where they are made once per name, since that is slow.
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

__all__ = [
    "Issued",
    "client_context",
    "issue",
    "make_ca",
    "make_client",
    "make_crl",
    "make_intermediate",
    "make_key",
    "make_leaf",
    "render_certs",
    "render_key",
    "write_crl",
    "write_pair",
]

DAY = datetime.timedelta(days=1)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@functools.cache
def _rsa_key(bits: int, label: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def make_key(kind: str, label: str = "") -> PrivateKey:
    """Return a key of `kind`: `"ec"`, `"ec384"`, `"ed25519"` or `"rsa"` with optional bits.

    RSA keys are made once per `label` (they are slow to make); all others are new each time.
    """
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ec384":
        return ec.generate_private_key(ec.SECP384R1())
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return _rsa_key(int(kind[3:] or 2048), label)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and the intermediates above it (leaf not included)."""

    cert: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()
    root: x509.Certificate | None = None

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.cert.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate and its intermediates, in order, as PEM."""
        return render_certs(self.cert, *self.chain)

    @property
    def key_pem(self) -> bytes:
        """The key as unencrypted PKCS #8 PEM."""
        return render_key(self.key)


def render_certs(*certs: x509.Certificate) -> bytes:
    """Return certificates as PEM, in the order given."""
    return b"".join(cert.public_bytes(serialization.Encoding.PEM) for cert in certs)


def render_key(key: PrivateKey, *, password: bytes | None = None, legacy: bool = False) -> bytes:
    """Return a private key as PEM: PKCS #8, or the older per-algorithm form if `legacy`."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL
        if legacy
        else serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _san(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def issue(
    common_name: str,
    *,
    issuer: Issued | None = None,
    names: Sequence[str] = (),
    kind: str = "ec",
    ca: bool = False,
    usage: x509.ObjectIdentifier | None = None,
    start_days: float = -1,
    end_days: float = 90,
    key: PrivateKey | None = None,
    digest: hashes.HashAlgorithm | None = None,
    ca_issuers: str | None = None,
    key_usage: Sequence[str] = (),
) -> Issued:
    """Make a certificate, self-signed without an `issuer`.

    Args:
        common_name: The subject's common name.
        issuer: Who signs.
        names: Subject alternative names: DNS names, IP addresses or URIs.
        kind: The kind of key (see `make_key`).
        ca: Whether it may sign others.
        usage: The extended key usage.
        start_days: Start of validity, in days from now.
        end_days: End of validity, in days from now.
        key: A key to use instead of a new one.
        digest: The signature's hash; SHA-256 if not given.
        key_usage: The bits of the key usage, such as `"key_encipherment"`; no extension if empty.
        ca_issuers: A URL for the "CA Issuers" access method, as public authorities put there.
    """
    key = key or make_key(kind, common_name)
    signer = issuer.key if issuer else key
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common_name))
        .issuer_name(issuer.cert.subject if issuer else _name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start_days * DAY)
        .not_valid_after(now + end_days * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if key_usage:
        every = (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        )
        usages = x509.KeyUsage(**{bit: bit in key_usage for bit in every})
        builder = builder.add_extension(usages, True)
    if ca:
        bits = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **bits), True
        )
    if issuer:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.cert.public_key()), False
        )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_san(name) for name in names]), critical=False
        )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if ca_issuers:
        access = x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(ca_issuers)
        )
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    if digest is None and not isinstance(signer, ed25519.Ed25519PrivateKey):
        digest = hashes.SHA256()
    cert = builder.sign(signer, digest)
    chain: tuple[x509.Certificate, ...] = ()
    if issuer and issuer.root is not None and issuer.cert != issuer.root:
        chain = (issuer.cert, *issuer.chain)
    return Issued(cert, key, chain, issuer.root if issuer else cert)


def make_ca(name: str = "Test Root", *, kind: str = "ec", end_days: float = 3650) -> Issued:
    """Make a root authority."""
    return issue(name, kind=kind, ca=True, end_days=end_days)


def make_intermediate(root: Issued, name: str = "Test Intermediate", *, kind: str = "ec") -> Issued:
    """Make an authority below another one."""
    return issue(name, issuer=root, kind=kind, ca=True, end_days=1000)


def make_leaf(
    issuer: Issued,
    *names: str,
    kind: str = "ec",
    start_days: float = -1,
    end_days: float = 90,
    key: PrivateKey | None = None,
) -> Issued:
    """Make a server's certificate for `names` (`localhost` and `127.0.0.1` if none are given)."""
    names = names or ("localhost", "127.0.0.1")
    return issue(
        names[0],
        issuer=issuer,
        names=names,
        kind=kind,
        usage=ExtendedKeyUsageOID.SERVER_AUTH,
        start_days=start_days,
        end_days=end_days,
        key=key,
    )


def make_client(
    issuer: Issued,
    common_name: str = "alice",
    *names: str,
    kind: str = "ec",
    start_days: float = -1,
    end_days: float = 90,
) -> Issued:
    """Make a client's certificate."""
    return issue(
        common_name,
        issuer=issuer,
        names=names,
        kind=kind,
        usage=ExtendedKeyUsageOID.CLIENT_AUTH,
        start_days=start_days,
        end_days=end_days,
    )


def make_crl(
    issuer: Issued, *revoked: Issued, start_days: float = -1, end_days: float = 7
) -> bytes:
    """Make a CRL of `issuer` as PEM; expired when `end_days` is negative."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.cert.subject)
        .last_update(now + start_days * DAY)
        .next_update(now + end_days * DAY)
    )
    for each in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder()
            .serial_number(each.cert.serial_number)
            .revocation_date(now - DAY / 2)
            .build()
        )
    crl = builder.sign(issuer.key, hashes.SHA256())
    return crl.public_bytes(serialization.Encoding.PEM)


def write_pair(directory: Path, issued: Issued, name: str = "server") -> dict[str, str]:
    """Write `NAME.pem` (the chain) and `NAME.key` (0600) and return them as `ssl_options`."""
    certfile, keyfile = directory / f"{name}.pem", directory / f"{name}.key"
    certfile.write_bytes(issued.pem)
    keyfile.write_bytes(issued.key_pem)
    keyfile.chmod(0o600)
    return {"certfile": str(certfile), "keyfile": str(keyfile)}


def write_crl(directory: Path, data: bytes, name: str = "ca.crl") -> str:
    """Write a CRL made by `make_crl` and return its path."""
    path = directory / name
    path.write_bytes(data)
    return str(path)


def client_context(
    root: Issued | None, client: Issued | None = None, *, directory: Path | None = None
) -> ssl.SSLContext:
    """Make a client's context that trusts `root` and shows the certificate `client`.

    Args:
        root: The authority to trust; everything is trusted without one.
        client: The certificate to show when asked.
        directory: Where its pair may be written (needed with `client`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if root is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=render_certs(root.cert).decode())
    if client is not None:
        assert directory is not None
        pair = write_pair(directory, client, f"client-{client.cert.serial_number:x}")
        context.load_cert_chain(pair["certfile"], pair["keyfile"])
    return context
