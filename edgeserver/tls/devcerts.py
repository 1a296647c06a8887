"""Certificates for development: an authority of this machine's own, a server's pair, a client's.

Decides which files there are, when they are still good, and that no file of somebody else is ever
overwritten. `trustme` makes them; it is imported when something must be made.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from cryptography import x509

from edgeserver.errors import ConfigurationError, TLSConfigurationError
from edgeserver.tls.certificates.chain import is_issued_by
from edgeserver.tls.certificates.files import parse_certs, public_bytes_of
from edgeserver.tls.certificates.keys import load_key, public_bytes
from edgeserver.tls.certificates.names import server_names
from edgeserver.tls.certificates.pem import load_file
from edgeserver.tls.settings.hosts import covers, parse_host_name

if TYPE_CHECKING:
    import trustme

__all__ = ["DEV_NAMES", "DevCertificates", "ensure_dev_certificates"]

DEV_NAMES = ("localhost", "127.0.0.1", "::1")
"""What a development server is always reached by."""

_ORGANIZATION = "edgeserver development"
_CLIENT = "developer@localhost"
_VALID_DAYS = 365
_RENEW_DAYS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class DevCertificates:
    """Where the files are.

    Args:
        ca: The authority's certificate: what clients are told to trust.
        ca_key: The authority's key: whoever has it can pose as any site to those clients.
        certfile: The server's certificate.
        keyfile: The server's key.
        client_certfile: A client's certificate, to try client certificates with.
        client_keyfile: Its key.
        names: What the server's certificate is for.
        made: The files that were written now; empty if all were still good.
    """

    ca: Path
    ca_key: Path
    certfile: Path
    keyfile: Path
    client_certfile: Path
    client_keyfile: Path
    names: tuple[str, ...]
    made: tuple[Path, ...]


def ensure_dev_certificates(
    directory: str | os.PathLike[str] = "certs",
    names: Iterable[str] = (),
    *,
    force: bool = False,
) -> DevCertificates:
    """Return development certificates, making what is missing, expired or lacks a name.

    The authority is kept as long as it is valid, so that clients need to be told only once.

    Args:
        directory: Where the files are; made if missing.
        names: Host names and addresses beside `DEV_NAMES`.
        force: Whether files that were not made here may be overwritten.

    Raises:
        TLSConfigurationError: A name is not one, or a file in the way was made by somebody else.
        ConfigurationError: Something must be made and trustme is not installed, or the directory
            cannot be written.
    """
    wanted = tuple(dict.fromkeys((*DEV_NAMES, *(_parse_name(name) for name in names))))
    try:
        return _ensure(Path(directory), wanted, force=force)
    except OSError as error:
        raise ConfigurationError(
            f'cannot write development certificates: "{error.filename or directory}": '
            f"{error.strerror}; choose another directory with --out"
        ) from error


def _ensure(directory: Path, wanted: tuple[str, ...], *, force: bool) -> DevCertificates:
    if not directory.exists():
        directory.mkdir(parents=True)
        (directory / ".gitignore").write_text(
            "# keys do not belong in a repository\n*.pem\n*.key\n"
        )
    authority = _Pair(directory, "ca")
    server = _Pair(directory, "server")
    client = _Pair(directory, "client")
    pairs = (authority, server, client)
    if not force:
        for pair in pairs:
            pair.refuse_foreign()
    made: list[Path] = []
    ca: trustme.CA | None = None
    if not authority.is_good():
        ca = _trustme().CA(organization_name=_ORGANIZATION)
        made += authority.write([ca.cert_pem.bytes()], ca.private_key_pem.bytes())
    for pair, names in ((server, wanted), (client, (_CLIENT,))):
        names = (*pair.names(issuer=authority), *names) if pair is server else names
        names = tuple(dict.fromkeys(names))
        if pair.is_good(issuer=authority, names=names if pair is server else ()):
            continue
        if ca is None:
            ca = _trustme().CA.from_pem(authority.cert_bytes(), authority.key_bytes())
        made += _issue(ca, pair, names)
    return DevCertificates(
        ca=authority.certfile,
        ca_key=authority.keyfile,
        certfile=server.certfile,
        keyfile=server.keyfile,
        client_certfile=client.certfile,
        client_keyfile=client.keyfile,
        names=server.names(issuer=authority),
        made=tuple(made),
    )


def _issue(ca: trustme.CA, pair: _Pair, names: Sequence[str]) -> list[Path]:
    now = datetime.datetime.now(datetime.UTC)
    leaf = ca.issue_cert(
        *names,
        common_name=names[0],
        organization_name=_ORGANIZATION,
        not_before=now - datetime.timedelta(hours=1),
        # Apple's clients refuse more than 825 days, and browsers are moving lower
        not_after=now + datetime.timedelta(days=_VALID_DAYS),
    )
    chain = [blob.bytes() for blob in leaf.cert_chain_pems]
    return pair.write(chain, leaf.private_key_pem.bytes())


class _Pair:
    """`NAME.pem` and `NAME.key` in a directory, which may be missing, stale or not ours."""

    def __init__(self, directory: Path, name: str) -> None:
        self.certfile = directory / f"{name}.pem"
        self.keyfile = directory / f"{name}.key"

    def cert_bytes(self) -> bytes:
        return load_file(str(self.certfile), "file")

    def key_bytes(self) -> bytes:
        return load_file(str(self.keyfile), "file")

    def cert(self) -> x509.Certificate | None:
        """Return the first certificate; None if there is none that can be read."""
        try:
            return parse_certs(self.cert_bytes(), str(self.certfile))[0]
        except TLSConfigurationError:
            return None

    def has_key_of(self, cert: x509.Certificate) -> bool:
        try:
            loaded = load_key(self.key_bytes(), None, str(self.keyfile), own_file=True)
        except TLSConfigurationError:
            return False
        return public_bytes(loaded.key.public_key()) == public_bytes_of(cert)

    def refuse_foreign(self) -> None:
        """Refuse to go on where a file is in the way that was not made here."""
        cert = self.cert()
        ours = cert is not None and _is_ours(cert)
        for path in (self.certfile, self.keyfile):
            if path.exists() and not ours:
                raise TLSConfigurationError(
                    f'"{path}" was not made by `edgeserver certs dev`, and is left as it is: '
                    "choose another directory with edgeserver certs dev --out DIR, or overwrite it"
                    " with --force"
                )

    def is_good(self, *, issuer: _Pair | None = None, names: Sequence[str] = ()) -> bool:
        """Return whether the pair is ours, complete, valid for some time, and for `names`."""
        cert = self.cert()
        if cert is None or not _is_ours(cert) or not self.has_key_of(cert):
            return False
        left = cert.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        if left < datetime.timedelta(days=_RENEW_DAYS):
            return False
        if issuer is not None:
            above = issuer.cert()
            if above is None or not is_issued_by(cert, above):
                return False
        return all(covers(server_names(cert), name) for name in names)

    def names(self, *, issuer: _Pair) -> tuple[str, ...]:
        """Return what a certificate of ours is for; nothing if it is not `issuer`'s."""
        cert = self.cert()
        above = issuer.cert()
        if cert is None or above is None or not is_issued_by(cert, above):
            return ()
        return server_names(cert)

    def write(self, chain: Sequence[bytes], key: bytes) -> list[Path]:
        """Write both files, each whole or not at all, the key for its owner only."""
        _write(self.keyfile, key, 0o600)
        _write(self.certfile, b"".join(chain), 0o644)
        return [self.certfile, self.keyfile]


def _is_ours(cert: x509.Certificate) -> bool:
    found = cert.issuer.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return [attribute.value for attribute in found] == [_ORGANIZATION]


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _parse_name(name: str) -> str:
    try:
        return str(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        pass
    try:
        return parse_host_name(name)
    except TLSConfigurationError as error:
        raise TLSConfigurationError(str(error).replace('"hosts" holds', "--host is", 1)) from None


def _trustme() -> ModuleType:
    try:
        import trustme
    except ImportError as error:
        raise ConfigurationError(
            "development certificates are made by trustme, which is not installed: "
            "pip install 'edgeserver[dev]'"
        ) from error
    return trustme
