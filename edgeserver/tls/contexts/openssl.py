"""The way of bytes in memory into an `SSLContext`, and OpenSSL's refusals in words.

Decides nothing about policy: `build` says what is loaded, this says how, since Python's `ssl`
takes keys and revocation lists from a path only.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from typing import NoReturn

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls.certificates.material import Material
from edgeserver.tls.certificates.pem import TLSFileError
from edgeserver.tls.settings.options import TLSOptions

__all__ = ["load_crls", "load_pair", "set_ciphers", "translate"]

_REASONS = {
    "EE_KEY_TOO_SMALL": (
        "the certificate's key is too short (RSA needs 2048 bits)",
        "make a new key, and request a new certificate with it",
    ),
    "CA_KEY_TOO_SMALL": (
        "an authority's key in the chain is too short (RSA needs 2048 bits)",
        "have the certificate issued by another authority",
    ),
    "CA_MD_TOO_WEAK": (
        "a signature in the chain uses SHA-1 or MD5",
        "have the certificate reissued",
    ),
    **dict.fromkeys(
        ("NO_CERTIFICATE_ASSIGNED", "KEY_TYPE_MISMATCH"),
        (
            "the certificate's key and the private key are of two kinds, such as RSA-PSS and RSA",
            "use the key file with which the certificate was requested, as it was made",
        ),
    ),
    "KEY_VALUES_MISMATCH": (
        "the private key does not belong to the certificate",
        "use the key that the certificate was requested with",
    ),
    "UNKNOWN_CERTIFICATE_TYPE": (
        "this kind of certificate key cannot be used for TLS",
        "make an ECDSA P-256 or RSA key, and request a new certificate with it",
    ),
    "NO_SUITABLE_SIGNATURE_ALGORITHM": (
        "the certificate's key suits no signature of this version",
        'make an ECDSA P-256 or RSA key, or set "policy" to "modern"',
    ),
    **dict.fromkeys(
        ("NO_SHARED_CIPHER", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        (
            "no cipher suite suits the certificate's key",
            'leave "ciphers" out, or name suites for that kind of key, too',
        ),
    ),
}
"""What OpenSSL's refusals mean, and the fix."""


def set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    """Choose the suites of TLS 1.2.

    Raises:
        TLSConfigurationError: OpenSSL knows none of them.
    """
    try:
        context.set_ciphers(ciphers)
    except ssl.SSLError:
        hint = ""
        if "TLS_" in ciphers.upper():
            hint = " (suites named TLS_... are TLS 1.3's: they are always on and not set here)"
        raise TLSConfigurationError(
            f'"ciphers" "{ciphers}" selects no cipher suite{hint}: see `openssl ciphers -v`, '
            'or remove "ciphers" for the safe default'
        ) from None


def load_pair(context: ssl.SSLContext, material: Material, options: TLSOptions) -> None:
    """Load the chain and the key of `material`; `options` only names the file in messages.

    Raises:
        TLSConfigurationError: OpenSSL refuses the pair, as when a key is too short.
    """
    try:
        with _as_file(material.pair_pem) as path:
            context.load_cert_chain(path, password=material.password or _refuse_to_ask)
    except ssl.SSLError as error:
        what, fix = translate(error)
        raise TLSFileError(f'certfile "{options.certfile}"', f": {what}", fix) from None


def load_crls(context: ssl.SSLContext, pem: bytes) -> None:
    """Check the leaf certificates of peers against these revocation lists from now on."""
    with _as_file(pem) as path:
        context.load_verify_locations(cafile=path)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF


def _refuse_to_ask() -> NoReturn:
    """Take the place of OpenSSL's prompt on the terminal, where a server would hang."""
    raise TLSConfigurationError("the private key is still encrypted")


def translate(error: ssl.SSLError) -> tuple[str, str]:
    """Return what OpenSSL's refusal means, in words where they are known, and the fix."""
    reason = error.reason or ""
    return _REASONS.get(reason, (f"OpenSSL refuses it: {reason or error}", ""))


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Give `data` a path for the moment in which OpenSSL reads it, out of others' reach.

    On Linux it stays in memory; elsewhere it is a temporary file that only we can read.
    """
    descriptor, path, unlink = -1, "", False
    if hasattr(os, "memfd_create"):
        try:
            descriptor = os.memfd_create("edgeserver-tls", os.MFD_CLOEXEC)
            path = f"/proc/self/fd/{descriptor}"
        except OSError:  # forbidden by a seccomp filter
            pass
    if not os.access(path or "/nonexistent", os.R_OK):  # no memfd, or no /proc in this jail
        if descriptor >= 0:
            os.close(descriptor)
        descriptor, path = tempfile.mkstemp(prefix="edgeserver-tls-")  # created with mode 0600
        unlink = True
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        yield path
    finally:
        os.close(descriptor)
        if unlink:
            os.unlink(path)
