"""The keys of an `ssl_options` dict, and the checked value that it becomes.

Decides names, types, defaults and which settings contradict each other. It opens no file and
builds no context: `material` reads, `contexts` builds.
"""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls.settings.hosts import parse_host_name
from edgeserver.tls.settings.values import (
    DEFAULT_POLL_S,
    Password,
    parse_choice,
    parse_count,
    parse_reload,
    parse_seconds,
    parse_settings,
)

__all__ = [
    "DEFAULT_ALPN",
    "SSL_OPTION_KEYS",
    "ClientPolicy",
    "HandshakeLimits",
    "MissingCertfileError",
    "TLSOptions",
    "parse_client_options",
    "parse_ssl_options",
]

DEFAULT_ALPN = ("http/1.1", "http/1.0")
"""What is offered over TLS unless somebody says more. Source: IANA's registry of protocol ids."""

DEFAULT_TICKETS = 2
"""OpenSSL's own number: browsers open more than one connection. Source: RFC 9149 section 1."""

_TORNADO_KEYS = ("ssl_version", "certfile", "keyfile", "cert_reqs", "ca_certs", "ciphers")
_HOST_KEYS = (
    *_TORNADO_KEYS,
    "password",
    "alpn",
    "min_version",
    "policy",
    "crl",
    "client_auth",
    "tickets",
)
_SERVER_KEYS = (
    "hosts",
    "unknown_sni",
    "handshake_timeout",
    "max_handshakes",
    "max_handshakes_per_client",
    "max_stalled_handshakes",
    "reload",
)
SSL_OPTION_KEYS = (*_HOST_KEYS, *_SERVER_KEYS)
"""Every key of an `ssl_options` dict; a host's own dict takes the first thirteen."""


class MissingCertfileError(TLSConfigurationError, KeyError):
    """No `certfile` in a server's `ssl_options`; a `KeyError`, as Tornado raises."""

    __str__ = Exception.__str__  # KeyError would show the repr


class HandshakeLimits(NamedTuple):
    """The limits of handshakes: their part of a turn of the event loop, and how many may wait.

    Attributes:
        total: Steps of handshakes in one turn.
        per_client: How many of them for one client (/64 for IPv6; four times as many for a /48).
        stalled: Handshakes that wait for their client.
    """

    total: int
    per_client: int
    stalled: int


class ClientPolicy(NamedTuple):
    """What is asked of a client: two hosts with different ones are never one connection's."""

    mode: Literal["none", "optional", "required"]
    ca_certs: str | None = None
    crl: str | None = None

    def __str__(self) -> str:
        """Return the policy in words, for start lines and status."""
        if self.mode == "none":
            return "no client certificates"
        text = f"client certificate {self.mode}, CA {self.ca_certs}"
        return f"{text}, CRL {self.crl}" if self.crl else text


@dataclass(frozen=True, kw_only=True, slots=True)
class TLSOptions:
    """The settings of a TLS listener, checked; `parse_ssl_options` makes it from a dict.

    Args:
        certfile: The PEM file with the certificate and its intermediates.
        keyfile: The PEM file with the private key; in `certfile` if None.
        password: The key's password, or a callable that returns it at each (re)load.
        cert_reqs: Whether clients are asked for a certificate.
        ca_certs: The PEM file of authorities that sign client certificates.
        crl: The PEM (or DER) file of revoked client certificates.
        ciphers: TLS 1.2 cipher suites in OpenSSL's notation, best first; None for ours, of which
            the client chooses.
        alpn: The protocols offered to a client, best first; empty for no ALPN.
        min_version: The lowest version: TLS 1.2 or 1.3.
        max_version: The highest version; only Tornado's `ssl_version` lowers it.
        tickets: How many session tickets a full handshake of TLS 1.3 gives; 0 to 4.
        hosts: Settings per host name, each complete: what a host leaves out it has inherited.
        unknown_sni: `"default"`: an unknown name gets the default certificate; `"reject"`: alert
            112 for a name that neither a host nor the default certificate covers.
        handshake_timeout: Seconds from the connection to the end of the handshake.
        max_handshakes: Steps of handshakes that one turn of the event loop computes at most.
        max_handshakes_per_client: The same for one client address.
        max_stalled_handshakes: How many handshakes may wait for their client.
        reload: Seconds between looks at the files; 0 for never.
    """

    certfile: str
    keyfile: str | None = None
    password: Password | None = field(default=None, repr=False)
    cert_reqs: ssl.VerifyMode = ssl.CERT_NONE
    ca_certs: str | None = None
    crl: str | None = None
    ciphers: str | None = None
    alpn: tuple[str, ...] = DEFAULT_ALPN
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
    tickets: int = DEFAULT_TICKETS
    hosts: Mapping[str, TLSOptions] = field(default_factory=lambda: MappingProxyType({}))
    unknown_sni: str = "default"
    handshake_timeout: float = 10.0
    max_handshakes: int = 256
    max_handshakes_per_client: int = 32
    max_stalled_handshakes: int = 8192
    reload: float = DEFAULT_POLL_S

    @property
    def client_policy(self) -> ClientPolicy:
        """What is asked of a client of this host (its configuration, not the files' content)."""
        if self.cert_reqs is ssl.CERT_NONE:
            return ClientPolicy("none")
        mode: Literal["optional", "required"] = (
            "required" if self.cert_reqs is ssl.CERT_REQUIRED else "optional"
        )
        return ClientPolicy(mode, self.ca_certs, self.crl)

    @property
    def handshake_limits(self) -> HandshakeLimits:
        """How many steps of handshakes a turn has, and how many handshakes may be stalled."""
        return HandshakeLimits(
            self.max_handshakes, self.max_handshakes_per_client, self.max_stalled_handshakes
        )

    @property
    def versions(self) -> str:
        """The versions offered, in words."""
        if self.min_version is ssl.TLSVersion.TLSv1_3:
            return "TLS 1.3"
        if self.max_version is ssl.TLSVersion.TLSv1_2:
            return "TLS 1.2"
        return "TLS 1.2 and 1.3"


def parse_ssl_options(ssl_options: Mapping[str, Any] | TLSOptions) -> TLSOptions:
    """Check an `ssl_options` dict and return its value; a `TLSOptions` comes back as it is.

    A key whose value is None counts as not given.

    Raises:
        KeyError: `certfile` is missing, with Tornado's message.
        TLSConfigurationError: A `ValueError` that names the key, what is wrong and the fix.
    """
    if isinstance(ssl_options, TLSOptions):
        return ssl_options
    given = _given(ssl_options, where="ssl_options")
    _refuse_unknown(given, SSL_OPTION_KEYS, where="ssl_options")
    if "certfile" not in given:
        raise MissingCertfileError('missing key "certfile" in ssl_options')
    settings = parse_settings(given)
    _check_sense(settings, given)
    if "hosts" in given:
        settings["hosts"] = _parse_hosts(given["hosts"], given)
    if "handshake_timeout" in given:
        settings["handshake_timeout"] = parse_seconds(
            "handshake_timeout", given["handshake_timeout"]
        )
    for key in ("max_handshakes", "max_handshakes_per_client", "max_stalled_handshakes"):
        if key in given:
            settings[key] = parse_count(key, given[key])
    if "unknown_sni" in given:
        settings["unknown_sni"] = parse_choice(
            "unknown_sni", given["unknown_sni"], ("default", "reject")
        )
    if "reload" in given:
        settings["reload"] = parse_reload(given["reload"])
    return TLSOptions(**settings)


def parse_client_options(ssl_options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the `ssl_options` of a client and return those that were given, parsed.

    Raises:
        TLSConfigurationError: A `ValueError`: a key is unknown, or only a server's, or wrong.
    """
    given = _given(ssl_options, where="ssl_options")
    for key in _SERVER_KEYS:
        if key in given:
            raise TLSConfigurationError(
                f'the key "{key}" in ssl_options is for servers, and this is a client: remove it'
            )
    _refuse_unknown(given, _HOST_KEYS, where="ssl_options")
    return parse_settings(given)


def _given(options: object, *, where: str) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise TLSConfigurationError(
            f"{where} must be a dict{' or an ssl.SSLContext' if where == 'ssl_options' else ''}, "
            f"not {type(options).__name__}"
        )
    return {key: value for key, value in options.items() if value is not None}


def _refuse_unknown(given: Iterable[str], known: Iterable[str], *, where: str) -> None:
    known = tuple(known)
    for key in given:
        if key in known:
            continue
        if key in _SERVER_KEYS:  # known, but not here
            raise TLSConfigurationError(
                f'the key "{key}" in {where} holds for the whole listener: '
                "move it up to ssl_options"
            )
        near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else "known keys: " + ", ".join(known)
        raise TLSConfigurationError(f'unknown key "{key}" in {where}; {hint}')


def _check_sense(settings: Mapping[str, Any], given: Mapping[str, Any], where: str = "") -> None:
    """Refuse settings that contradict each other or that would refuse every client.

    Args:
        settings: The parsed settings of one host, inherited ones included.
        given: The keys that the person wrote at this place, as opposed to inherited ones.
        where: A prefix for messages.
    """
    mode = settings.get("cert_reqs", ssl.CERT_NONE)
    if mode is not ssl.CERT_NONE and "ca_certs" not in settings:
        raise TLSConfigurationError(
            f"{where}client certificates are asked for, but no authority could have signed one: "
            'set "ca_certs" to the PEM file of the authority'
        )
    if mode is ssl.CERT_NONE and "crl" in given:
        raise TLSConfigurationError(
            f'{where}"crl" is set, but no client is asked for a certificate: '
            'set "client_auth" to "optional" or "required", or remove "crl"'
        )
    only_13 = settings.get("min_version") is ssl.TLSVersion.TLSv1_3
    if only_13 and "ciphers" in given:
        raise TLSConfigurationError(
            f'{where}"ciphers" chooses suites of TLS 1.2, which is off here: remove "ciphers", '
            'or the "policy" or "min_version" that leaves only TLS 1.3'
        )


def _parse_hosts(value: object, parent: Mapping[str, Any]) -> Mapping[str, TLSOptions]:
    if not isinstance(value, Mapping):
        raise TLSConfigurationError(
            '"hosts" must be a dict of host name to ssl_options, such as '
            '{"www.example.com": {"certfile": "www.pem", "keyfile": "www.key"}}, '
            f"not {type(value).__name__}"
        )
    inherited = {
        key: each
        for key, each in parent.items()
        if key in _HOST_KEYS and key not in ("certfile", "keyfile", "password")
    }
    hosts: dict[str, TLSOptions] = {}
    for written, options in value.items():
        name = parse_host_name(written)
        if name in hosts:
            raise TLSConfigurationError(f'"hosts" names "{name}" twice')
        hosts[name] = _parse_host(name, options, inherited)
    return MappingProxyType(hosts)


def _parse_host(name: str, options: object, inherited: Mapping[str, Any]) -> TLSOptions:
    where = f'hosts["{name}"]'
    given = _given(options, where=where)
    _refuse_unknown(given, _HOST_KEYS, where=where)
    if "certfile" not in given:
        raise TLSConfigurationError(f'missing key "certfile" in {where}')
    merged = dict(inherited)
    # One setting under several names: what a host says replaces all of what it inherits.
    for group in (("cert_reqs", "client_auth"), ("ssl_version", "min_version", "policy")):
        if any(key in given for key in group):
            for key in group:
                merged.pop(key, None)
    merged.update(given)
    try:
        settings = parse_settings(merged)
        _check_sense(settings, given)
    except TLSConfigurationError as error:
        raise TLSConfigurationError(f"{where}: {error}") from None
    if settings.get("cert_reqs", ssl.CERT_NONE) is ssl.CERT_NONE:
        for key in ("ca_certs", "crl"):  # inherited, for hosts that do ask
            if key not in given:
                settings.pop(key, None)
    if settings.get("min_version") is ssl.TLSVersion.TLSv1_3:
        settings.pop("ciphers", None)  # inherited from a listener that also speaks TLS 1.2
    return TLSOptions(**settings)
