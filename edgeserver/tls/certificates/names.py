"""The names in a certificate, ready to be shown: escaped, bounded, and in one spelling.

Decides how a subject and its alternative names are written. It judges nothing: a certificate that
a client showed may say anything in them.
"""

from __future__ import annotations

from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import NameOID

from edgeserver.support.escape import escape

__all__ = ["alternative_names", "common_name", "find_extension", "render_name", "server_names"]

_MAX_NAMES = 1000


_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def find_extension(cert: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """Return an extension's value; None if it is absent or cannot be parsed."""
    try:
        return cert.extensions.get_extension_for_class(kind).value
    except (
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
        ValueError,
        TypeError,
    ):
        return None


def render_name(name: x509.Name) -> str:
    """Return a distinguished name as one line of ASCII.

    Source: RFC 4514 for the order and the separators.
    """
    return escape(name.rfc4514_string(), 500)


def common_name(cert: x509.Certificate) -> str:
    """Return what a person calls a certificate: its common name, else its first name."""
    for attribute in cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        return escape(attribute.value, 100)
    names = server_names(cert)
    return names[0] if names else render_name(cert.subject) or "(no name)"


def alternative_names(cert: x509.Certificate) -> tuple[tuple[str, str], ...]:
    """Return the subject alternative names as (type, value): DNS, IP Address, URI, email.

    A damaged extension counts as absent; other types of names are left out.
    """
    extension = find_extension(cert, x509.SubjectAlternativeName)
    if extension is None:
        return ()
    names: list[tuple[str, str]] = []
    for each in list(extension)[:_MAX_NAMES]:
        if isinstance(each, x509.DNSName):
            names.append(("DNS", each.value))
        elif isinstance(each, x509.IPAddress):
            names.append(("IP Address", str(each.value)))
        elif isinstance(each, x509.UniformResourceIdentifier):
            names.append(("URI", each.value))
        elif isinstance(each, x509.RFC822Name):
            names.append(("email", each.value))
    return tuple(names)


def server_names(cert: x509.Certificate) -> tuple[str, ...]:
    """Return the DNS names and IP addresses that a server's certificate is for."""
    return tuple(
        escape(value.lower(), 260)
        for kind, value in alternative_names(cert)
        if kind in ("DNS", "IP Address")
    )
