"""The private key in a PEM file, or why it cannot be had, in words.

Decides how a key is found, decrypted and refused. It never asks a terminal for a password, and
nothing here writes a key or its password into a message.
"""

from __future__ import annotations

from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from edgeserver.errors import EdgeServerError, TLSConfigurationError
from edgeserver.tls.certificates.pem import PemBlock, describe_content, parse_pem
from edgeserver.tls.settings.values import Password

__all__ = ["LoadedKey", "PrivateKey", "describe_key", "load_key", "public_bytes", "render_key"]

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)


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
    except ValueError as error:
        raise TLSConfigurationError(f"{where}: {error}") from None
    block = next((block for block in blocks if block.is_key), None)
    if block is None:
        raise TLSConfigurationError(_explain_no_key(data, blocks, where, own_file=own_file))
    encrypted = block.label.startswith("ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block.pem
    secret = _resolve_password(password, where) if encrypted else None
    if encrypted and not secret:
        raise TLSConfigurationError(
            f'{where} needs a password: set "password" (on the command line --key-password-file), '
            "or store the key unencrypted where only this server can read it"
        )
    key = _parse_key(block, secret, where)
    if not isinstance(key, PrivateKey):
        raise TLSConfigurationError(
            f"{where}: this kind of key is not used in TLS today: make an ECDSA P-256 or RSA key"
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


def _explain_no_key(data: bytes, blocks: list[PemBlock], where: str, *, own_file: bool) -> str:
    if own_file and any(block.is_certificate for block in blocks):
        return (
            f"{where} holds a certificate, not a private key: "
            'are "certfile" and "keyfile" the wrong way round?'
        )
    if own_file:
        if data[:1] == b"\x30":
            return (
                f"{where} is binary (DER or PKCS #12), not PEM: convert it with `openssl pkey "
                "-inform DER -in FILE -out key.pem`, or `openssl pkcs12 -in FILE -nocerts -noenc "
                "-out key.pem`"
            )
        return f"{where} holds no private key: {describe_content(data, blocks)}"
    return (
        f'{where} holds no private key: set "keyfile" to the file of the key, '
        "or append the key to this one"
    )


def _parse_key(block: PemBlock, secret: bytes | None, where: str) -> object:
    try:
        # Checking RSA's primes takes longer than all the rest; the test handshake proves the key.
        return load_pem_private_key(block.pem, secret, unsafe_skip_rsa_key_validation=True)
    except UnsupportedAlgorithm as error:
        raise TLSConfigurationError(f"{where}: this key is of no supported kind: {error}") from None
    except (ValueError, TypeError):
        pass  # what the library says is about its own arguments, not about the file
    if secret is not None:
        raise TLSConfigurationError(
            f'{where}: the "password" does not open this key (a line break at its end counts), '
            "or the key is damaged"
        )
    raise TLSConfigurationError(
        f"{where}: the private key that starts on line {block.line} is damaged: copy it again"
    )


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
