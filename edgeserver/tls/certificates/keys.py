"""The private key in a PEM file, or why it cannot be had, in words.

Decides how a key is found, decrypted and refused. It never asks a terminal for a password, and
nothing here writes a key or its password into a message.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edgeserver.errors import EdgeServerError, TLSConfigurationError
from edgeserver.tls.certificates.pem import (
    PemBlock,
    PemError,
    TLSFileError,
    describe_content,
    parse_pem,
)
from edgeserver.tls.settings.values import Password

__all__ = [
    "EXPLICIT_CURVE",
    "LoadedKey",
    "PrivateKey",
    "describe_key",
    "has_explicit_curve",
    "load_key",
    "public_bytes",
    "render_key",
]

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)


_PRIME_FIELD = bytes.fromhex("06072a8648ce3d0101")
_BINARY_FIELD = bytes.fromhex("06072a8648ce3d0102")
"""Object identifiers, which stand where a curve is given by its numbers. Source: RFC 3279 2.3.5."""

EXPLICIT_CURVE = (
    " gives its curve by explicit parameters and not by name, which TLS forbids (RFC 8422 section "
    "5.1.1) and clients refuse",
    "write the key anew with `openssl ec -in KEY -param_enc named_curve -out new.key`, or make "
    "another one of P-256, and request a new certificate with it",
)
"""What is wrong with a key or certificate of that kind, and the fix."""


class LoadedKey(NamedTuple):
    """A private key, parsed, and as it stands in its file.

    Attributes:
        key: The key; `cryptography` does not tell RSA-PSS from RSA.
        pem: Its block of the file.
        password: What decrypts `pem`; None if it is not encrypted.
    """

    key: PrivateKey
    pem: bytes
    password: bytes | None


def load_key(data: bytes, password: Password | None, where: str, *, own_file: bool) -> LoadedKey:
    """Return the private key in a PEM file's content.

    Args:
        data: The file's content.
        password: What decrypts it, or a callable that returns it; not used for a plain key.
        where: The key and path for messages, such as `keyfile "server.key"`.
        own_file: Whether the file is a `keyfile`, and not a `certfile` with the key in it.

    Raises:
        TLSConfigurationError: There is no key, or it cannot be decrypted or used.
    """
    try:
        blocks = parse_pem(data)
    except PemError as error:
        raise TLSFileError(where, f": {error.what}", error.fix) from None
    block = next((block for block in blocks if block.is_key), None)
    if block is None:
        raise TLSFileError(where, *_explain_no_key(data, blocks, own_file=own_file))
    encrypted = block.label.startswith("ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block.pem
    secret = _resolve_password(password, where) if encrypted else None
    if encrypted and not secret:
        raise TLSFileError(
            where,
            " needs a password",
            'set "password" (on the command line --key-password-file), or store the key '
            "unencrypted where only this server can read it",
        )
    key = _parse_key(block, secret, where)
    if not isinstance(key, PrivateKey):
        raise TLSFileError(
            where, ": this kind of key is not used in TLS today", "make an ECDSA P-256 or RSA key"
        )
    return LoadedKey(key, block.pem, secret)


def public_bytes(key: PublicKeyTypes) -> bytes:
    """Return a public key in the one form in which two are compared."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def render_key(key: PrivateKey) -> bytes:
    """Return a private key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def describe_key(key: PublicKeyTypes) -> str:
    """Return a public key's kind and size, such as `RSA 2048` or `ECDSA secp256r1`."""
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


def _explain_no_key(data: bytes, blocks: list[PemBlock], *, own_file: bool) -> tuple[str, str]:
    """Return what is wrong, and the fix."""
    if own_file and any(block.is_certificate for block in blocks):
        return (
            " holds a certificate, not a private key",
            'are "certfile" and "keyfile" the wrong way round?',
        )
    if own_file:
        if data[:1] == b"\x30":
            return (
                " is binary (DER or PKCS #12), not PEM",
                "convert it with `openssl pkey -inform DER -in FILE -out key.pem`, or `openssl "
                "pkcs12 -in FILE -nocerts -noenc -out key.pem`",
            )
        return f" holds no private key: {describe_content(data, blocks)}", ""
    return (
        " holds no private key",
        'set "keyfile" to the file of the key, or append the key to this one',
    )


def has_explicit_curve(der: bytes) -> bool:
    """Return whether a key or certificate gives its curve by numbers, as none in TLS may."""
    return _PRIME_FIELD in der or _BINARY_FIELD in der


def _parse_key(block: PemBlock, secret: bytes | None, where: str) -> object:
    start = f": the private key that starts on line {block.line}"
    try:
        # Checking RSA's primes takes longer than all the rest; the test handshake proves the key.
        return load_pem_private_key(block.pem, secret, unsafe_skip_rsa_key_validation=True)
    except UnsupportedAlgorithm as error:
        _refuse_explicit_curve(block, where, start)
        if secret is None:
            what = f": this key is of no supported kind ({error})"
            raise TLSFileError(where, what, "make an ECDSA P-256 or RSA key") from None
        raise TLSFileError(
            where,
            f": this key is encrypted in a way that is not supported ({error})",
            "encrypt it anew with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out new.key`",
        ) from None
    except (ValueError, TypeError):
        pass  # what the library says is about its own arguments, not about the file
    _refuse_explicit_curve(block, where, start)
    if block.label == "OPENSSH PRIVATE KEY":
        raise TLSFileError(
            where,
            f"{start} is in OpenSSH's own form",
            "write it anew with `ssh-keygen -p -m PKCS8 -f COPY`, which changes the file COPY",
        )
    if secret is not None:
        raise TLSFileError(
            where,
            ': the "password" does not open this key (a line break at its end counts), or the key '
            "is damaged",
            "give the password with which the key was encrypted",
        )
    raise TLSFileError(where, f"{start} is damaged", "copy it again")


def _refuse_explicit_curve(block: PemBlock, where: str, start: str) -> None:
    """Say of a key that cannot be read that its curve is why, where it is."""
    with contextlib.suppress(ValueError):  # not base64: then it is damaged
        if has_explicit_curve(block.der()):
            raise TLSFileError(where, start + EXPLICIT_CURVE[0], EXPLICIT_CURVE[1])


def _resolve_password(password: Password | None, where: str) -> bytes | None:
    if callable(password):
        try:
            password = password()
        except EdgeServerError as error:  # it says itself what was wrong, where, and the fix
            raise TLSConfigurationError(f"{where} needs a password: {error}") from error
        except Exception as error:
            raise TLSConfigurationError(
                f'{where}: the "password" callable failed: {type(error).__name__}: {error}'
            ) from error
    if password is None or isinstance(password, bytes):
        return password
    if isinstance(password, str):
        return password.encode()
    raise TLSConfigurationError(
        f'{where}: the "password" callable must return a str or bytes, '
        f"not {type(password).__name__}"
    )
