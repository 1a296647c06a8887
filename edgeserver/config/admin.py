"""The value of `--admin`: where operators are answered.

Decides the grammar, and that nothing is told to the network without a token. It opens nothing.
"""

from __future__ import annotations

import ipaddress

from edgeserver.config.bind import Bind, parse_bind
from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file

__all__ = ["is_loopback", "parse_admin", "read_token"]

LEAST_TOKEN = 16
"""The fewest characters of a token."""

MOST_TOKEN_BYTES = 4096


def parse_admin(text: str, *, has_token: bool) -> Bind:
    """Parse one value of `--admin`: `unix:PATH` or `HOST:PORT`.

    Args:
        text: The value.
        has_token: Whether operators have to show one.

    Raises:
        ConfigurationError: It is neither, or open to the network without a token.
    """
    try:
        bind = parse_bind(text)
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace("--bind", "--admin")) from error
    if bind.scheme is not None or bind.proxy is not None:
        raise _refusal(text, "it is plain HTTP, without a scheme or a PROXY prelude")
    if bind.fd is not None:
        raise _refusal(text, "it takes no inherited descriptor")
    if bind.path is not None and bind.path.startswith("@"):
        raise _refusal(text, "an abstract socket has no rights, so that everybody could connect")
    if bind.path is not None and bind.mode != 0o600:
        raise _refusal(text, "it is for this user alone, so that mode= is 600")
    if bind.path is None and not has_token and not is_loopback(bind.host):
        raise ConfigurationError(
            f"--admin {escape(text)}: others than this machine can connect there; add"
            f" --admin-token-file FILE, or write 127.0.0.1:{bind.port}"
        )
    return bind


def is_loopback(host: str) -> bool:
    """Return whether nobody but this machine can connect to an address."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(path: str) -> bytes:
    """Return the token in the first line of a file.

    Raises:
        ConfigurationError: It cannot be read, or holds none that could not be guessed.
    """
    shown = f"--admin-token-file {escape(path)}"
    try:
        token = read_file(path, MOST_TOKEN_BYTES).split(b"\n", 1)[0].strip()
    except OSError as error:
        raise ConfigurationError(
            f"{shown}: {error.strerror}; name a file that holds the token and that this user may"
            " read"
        ) from error
    if len(token) < LEAST_TOKEN:
        raise ConfigurationError(
            f"{shown}: its first line has {len(token)} characters, and a token has at least"
            f" {LEAST_TOKEN}; write one with openssl rand -hex 32"
        )
    if not (token.isascii() and token.decode("ascii").isprintable()) or b" " in token:
        raise ConfigurationError(
            f"{shown}: a token is printable ASCII without spaces; write one with openssl rand"
            " -hex 32"
        )
    return token


def _refusal(text: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"--admin {escape(text)}: {why}; write unix:/run/edgeserver/admin.sock, or 127.0.0.1:9000"
    )
