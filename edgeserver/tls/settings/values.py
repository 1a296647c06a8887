"""The checks of the values in an `ssl_options` dict, one function for each kind of value.

Decides types and spellings. Which keys exist, which belong together and what is inherited is
decided in `options`.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edgeserver.errors import ConfigurationError, TLSConfigurationError
from edgeserver.support.validate import require_count, require_seconds

__all__ = [
    "DEFAULT_POLL_S",
    "Password",
    "parse_choice",
    "parse_count",
    "parse_reload",
    "parse_seconds",
    "parse_settings",
]

Password = str | bytes | Callable[[], str | bytes]

DEFAULT_POLL_S = 2.0
"""Seconds between two looks at the files."""

LEAST_POLL_S = 0.001
"""No timer of an event loop is finer."""

MOST_TICKETS = 4
"""Session tickets of one handshake: each costs it some 6 % more time, and 250 bytes on the wire."""

_CLIENT_AUTH = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def parse_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parse the keys that a listener and a host share."""
    settings: dict[str, Any] = {}
    for key in ("certfile", "keyfile", "ca_certs", "crl"):
        if key in given:
            settings[key] = _parse_path(key, given[key])
    if "password" in given:
        settings["password"] = _parse_password(given["password"])
    if "ciphers" in given:
        settings["ciphers"] = _parse_text("ciphers", given["ciphers"])
    if "alpn" in given:
        settings["alpn"] = _parse_alpn(given["alpn"])
    if "cert_reqs" in given or "client_auth" in given:
        settings["cert_reqs"] = _parse_client_auth(given)
    if "tickets" in given:
        settings["tickets"] = _parse_tickets(given["tickets"])
    settings.update(_parse_versions(given))
    return settings


def _parse_path(key: str, value: object) -> str:
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        if isinstance(path, str) and path and "\0" not in path:
            return path
    raise TLSConfigurationError(f'"{key}" must be the path of a file, not {value!r}')


def _parse_text(key: str, value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise TLSConfigurationError(f'"{key}" must be a non-empty string, not {value!r}')


def _parse_password(value: object) -> Password:
    if isinstance(value, (str, bytes)) or callable(value):
        return value
    raise TLSConfigurationError(
        '"password" must be a str, bytes or a callable that returns one, '
        f"not {type(value).__name__}"
    )


def _parse_alpn(value: object) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TLSConfigurationError(
            f'"alpn" must be a list of protocol names such as ["http/1.1"], not {value!r}'
        )
    names = []
    for each in value:
        name = each.decode("latin-1") if isinstance(each, bytes) else each
        # RFC 7301 section 3.1: opaque ProtocolName<1..2^8-1>
        if not isinstance(name, str) or not name.isascii() or not 1 <= len(name) <= 255:
            raise TLSConfigurationError(
                f'"alpn" holds {each!r}: a protocol name is 1 to 255 ASCII characters'
            )
        names.append(name)
    return tuple(dict.fromkeys(names))


def _parse_tickets(value: Any) -> int:
    """Return how many session tickets a handshake gives."""
    require_count(
        '"tickets"',
        value,
        "session tickets",
        least=0,
        most=MOST_TICKETS,
        error=TLSConfigurationError,
    )
    return int(value)


def _parse_client_auth(given: Mapping[str, Any]) -> ssl.VerifyMode:
    """Return the mode that `cert_reqs` (Tornado's) and `client_auth` (in words) agree on."""
    modes = {}
    for key in ("cert_reqs", "client_auth"):
        value = given.get(key)
        if value is None:
            continue
        if isinstance(value, str):
            modes[key] = _CLIENT_AUTH[parse_choice(key, value, tuple(_CLIENT_AUTH))]
            continue
        try:
            if isinstance(value, bool):  # True is 1, which would be "optional"
                raise ValueError
            modes[key] = ssl.VerifyMode(value)
        except ValueError:
            raise TLSConfigurationError(
                f'"{key}" must be "none", "optional" or "required" (or ssl.CERT_NONE and so on), '
                f"not {value!r}"
            ) from None
    if len(set(modes.values())) > 1:
        raise TLSConfigurationError(
            '"cert_reqs" and "client_auth" say the same thing and differ here: keep one'
        )
    return next(iter(modes.values()))


def _parse_versions(given: Mapping[str, Any]) -> dict[str, ssl.TLSVersion]:
    """Return `min_version` and `max_version` from `ssl_version`, `min_version` and `policy`."""
    versions: dict[str, ssl.TLSVersion] = {}
    if "ssl_version" in given:
        versions.update(_parse_ssl_version(given["ssl_version"]))
    if "min_version" in given:
        versions["min_version"] = _parse_min_version(given["min_version"])
    if "policy" in given:
        policy = parse_choice("policy", given["policy"], ("default", "modern"))
        if policy == "modern":
            if versions.get("min_version") is ssl.TLSVersion.TLSv1_2:
                raise TLSConfigurationError(
                    '"policy": "modern" is TLS 1.3 only, which contradicts the TLS 1.2 asked for '
                    'by "min_version" or "ssl_version": keep one'
                )
            versions["min_version"] = ssl.TLSVersion.TLSv1_3
    if (
        versions.get("max_version") is ssl.TLSVersion.TLSv1_2
        and versions.get("min_version") is ssl.TLSVersion.TLSv1_3
    ):
        raise TLSConfigurationError(
            '"ssl_version" allows TLS 1.2 only and "min_version" TLS 1.3 only: keep one'
        )
    return versions


def _parse_ssl_version(value: object) -> dict[str, ssl.TLSVersion]:
    """Give Tornado's `ssl_version` its meaning without the deprecated protocol constants."""
    # PROTOCOL_TLS = 2, PROTOCOL_TLS_SERVER = 17: what both ends can, from our minimum on
    if value in (2, ssl.PROTOCOL_TLS_SERVER):
        return {}
    if value == 5:  # PROTOCOL_TLSv1_2
        return {"min_version": ssl.TLSVersion.TLSv1_2, "max_version": ssl.TLSVersion.TLSv1_2}
    if value in (1, 3, 4):  # PROTOCOL_SSLv3, PROTOCOL_TLSv1, PROTOCOL_TLSv1_1
        raise _too_old("ssl_version", value)
    raise TLSConfigurationError(
        f'"ssl_version" must be ssl.PROTOCOL_TLS_SERVER, not {value!r}: '
        'remove it, and use "min_version" to raise the lowest version'
    )


def _parse_min_version(value: object) -> ssl.TLSVersion:
    if isinstance(value, str):
        text = value.lower().replace("_", ".").removeprefix("tls").removeprefix("v").strip(" ")
        if text in _VERSIONS:
            return _VERSIONS[text]
        if text in ("1", "1.0", "1.1"):
            raise _too_old("min_version", value)
    elif value in _VERSIONS.values():
        return ssl.TLSVersion(value)  # type: ignore[arg-type] # one of the two, as was just seen
    elif value in (0x0300, 0x0301, 0x0302):  # SSLv3, TLSv1, TLSv1_1, deprecated as attributes
        raise _too_old("min_version", value)
    raise TLSConfigurationError(f'"min_version" must be "1.2" or "1.3", not {value!r}')


def _too_old(key: str, value: object) -> TLSConfigurationError:
    return TLSConfigurationError(
        f'"{key}" asks for {value!r}: TLS 1.0, 1.1 and SSL must not be used (RFC 8996). Use "1.2"; '
        "if an old device leaves no choice, pass an ssl.SSLContext of your own"
    )


def parse_choice(key: str, value: object, choices: tuple[str, ...]) -> str:
    """Return one of `choices`, in lower case."""
    if isinstance(value, str) and value.lower() in choices:
        return value.lower()
    words = " or ".join(f'"{choice}"' for choice in choices)
    raise TLSConfigurationError(f'"{key}" must be {words}, not {value!r}')


def parse_seconds(key: str, value: Any) -> float:
    """Return a time above 0, which has an end."""
    _require(require_seconds, key, value)
    if value == float("inf"):
        raise TLSConfigurationError(
            f"ssl_options: {key}={value!r} never ends: give seconds, or leave it out for 10"
        )
    return float(value)


def parse_count(key: str, value: Any) -> int:
    """Return a number of handshakes, at least 1."""
    _require(require_count, key, value, "handshakes")
    return int(value)


def _require(check: Callable[..., None], *args: Any) -> None:
    """Let a check of all settings be one of `ssl_options`."""
    try:
        check(*args)
    except ConfigurationError as error:
        raise TLSConfigurationError(f"ssl_options: {error}") from None


def parse_reload(value: Any) -> float:
    """Return the seconds between two looks at the files; 0 for never."""
    if isinstance(value, bool):
        return DEFAULT_POLL_S if value else 0.0
    try:
        require_seconds("reload", value, zero=True)
    except ConfigurationError:
        raise TLSConfigurationError(
            f'"reload" must be True, False or the seconds between looks at the files, not {value!r}'
        ) from None
    if 0 < value < LEAST_POLL_S or value == float("inf"):
        raise TLSConfigurationError(
            f'"reload" must be at least {LEAST_POLL_S:g} seconds and have an end, not {value!r}: '
            f"give False for never, or leave it out for every {DEFAULT_POLL_S:g} seconds"
        )
    return float(value)
