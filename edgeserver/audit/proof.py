"""The proof that a probe and its answer come from holders of one token, by HMAC-SHA256.

Decides what is signed, and what a token must be. It must not know who asks or answers.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file

__all__ = [
    "DEFAULT_PATH",
    "FIELD",
    "NONCE_BYTES",
    "load_token",
    "minute_of",
    "sign_answer",
    "sign_probe",
    "signed_host",
]

FIELD = "Edgeserver-Audit"
"""The field of a probe: its nonce and its proof, in hex, with a space between."""

DEFAULT_PATH = "/.well-known/edgeserver-audit"
NONCE_BYTES = 16

_MIN_TOKEN_BYTES = 16
_MAX_TOKEN_BYTES = 4096
_MAX_HOST_BYTES = 255


def load_token(path: str | os.PathLike[str], *, flag: str) -> bytes:
    """Return the token in the first line of a file.

    Args:
        path: The file.
        flag: What it was named with.

    Raises:
        ConfigurationError: It cannot be read, or the line is too short to be a secret.
    """
    shown = f"{flag} {escape(os.fspath(path), 400)}"
    try:
        content = read_file(path, _MAX_TOKEN_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"{shown}: {reason}; name a file that holds the token and that this user may read"
        ) from error
    token = content.split(b"\n", 1)[0].strip(b" \t\r")
    if not _MIN_TOKEN_BYTES <= len(token) <= _MAX_TOKEN_BYTES:
        raise ConfigurationError(
            f"{shown}: its first line has {len(token)} bytes; a token has {_MIN_TOKEN_BYTES} to "
            f"{_MAX_TOKEN_BYTES}, and nobody can guess it: openssl rand -hex 32 makes one"
        )
    return token


def minute_of(now_s: float) -> int:
    """Return the minute of a time in seconds since the epoch."""
    return int(now_s // 60)


def signed_host(host: bytes) -> bytes:
    """Return a host as it is signed: in lower case, without a port and a dot at its end."""
    head, colon, port = host[:_MAX_HOST_BYTES].rpartition(b":")
    if colon and (not port or port.isdigit()) and (b":" not in head or head.endswith(b"]")):
        host = head
    return host[:_MAX_HOST_BYTES].lower().removesuffix(b".")


def sign_probe(token: bytes, nonce: bytes, host: bytes, minute: int) -> bytes:
    """Return the proof of a probe: 32 bytes.

    Args:
        token: The secret.
        nonce: What is never said twice.
        host: Whom it is for, as `signed_host` returns it.
        minute: When, as `minute_of` returns it.
    """
    text = b"\0".join((b"edgeserver audit probe 1", nonce.hex().encode(), host, b"%d" % minute))
    return hmac.new(token, text, hashlib.sha256).digest()


def sign_answer(token: bytes, nonce: bytes, body: bytes) -> bytes:
    """Return the proof of an answer to the probe with this nonce: 32 bytes."""
    text = b"\0".join((b"edgeserver audit answer 1", nonce.hex().encode(), body))
    return hmac.new(token, text, hashlib.sha256).digest()
