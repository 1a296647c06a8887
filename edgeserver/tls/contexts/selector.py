"""The selection of a context for a connection, and of requests that it may not answer.

Decides on names and protocols that a client offered before any OpenSSL object exists, since a
context cannot be exchanged later without losing its client policy. It reads no bytes of the wire.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls.contexts.host import HostContext
from edgeserver.tls.contexts.status import HostStatus, status_of_given
from edgeserver.tls.settings.hosts import DEFAULT_HOST, find_host, name_of_authority, normalize_name
from edgeserver.tls.settings.options import (
    ClientPolicy,
    HandshakeLimits,
    TLSOptions,
    parse_ssl_options,
)

__all__ = ["ReloadResult", "Selection", "TLSContexts", "build_contexts"]

_UNRECOGNIZED_NAME = 112
_NO_APPLICATION_PROTOCOL = 120
"""Alerts. Source: RFC 6066 section 3, RFC 7301 section 3.2."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a connection gets: a context, or an alert instead.

    Args:
        context: The context for its handshake; not to be used where there is an alert.
        host: The configured host name; empty for the default.
        alert: The alert to send instead of a handshake, or None.
    """

    context: ssl.SSLContext
    host: str = DEFAULT_HOST
    alert: int | None = None


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What a reload did, by configured host (the default is the empty name).

    Args:
        replaced: Hosts whose new connections use a new context.
        kept: Hosts that keep their last good files, each with what is wrong with the new ones.
    """

    replaced: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.kept


class _Choice:
    """The selections that one host can end in, ready to be returned."""

    __slots__ = ("_alpn", "_no_protocol", "_selection", "unrecognized")

    def __init__(self, context: ssl.SSLContext, host: str, alpn: tuple[str, ...]) -> None:
        self._selection = Selection(context, host)
        self.unrecognized = Selection(context, DEFAULT_HOST, _UNRECOGNIZED_NAME)
        self._no_protocol = Selection(context, host, _NO_APPLICATION_PROTOCOL)
        # Offers come as bytes of the wire or as text, and one set answers both.
        self._alpn = frozenset((*alpn, *(name.encode("ascii") for name in alpn)))

    def select(self, alpn: tuple[bytes, ...] | tuple[str, ...]) -> Selection:
        if alpn and self._alpn and self._alpn.isdisjoint(alpn):
            return self._no_protocol
        return self._selection


class TLSContexts:
    """The contexts of a listener, by host name; `build_contexts` makes it.

    Args:
        options: The listener's settings; or a context given by the application, which serves all
            names, is honoured with its own `sni_callback`, and is never changed or reloaded.
        clock: Seconds that only grow, as `time.monotonic`.

    Attributes:
        handshake_timeout: Seconds from the connection to the end of the handshake.
        handshake_limits: How many steps of handshakes a turn has, and how many may be stalled.
        poll_s: Seconds between looks at the files; 0 for never.
        is_given: Whether the context is the application's.
        options: The settings of each host; empty for a given context.

    Raises:
        TLSConfigurationError: A file of any host is wrong.
    """

    def __init__(
        self,
        options: TLSOptions | ssl.SSLContext,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_given = isinstance(options, ssl.SSLContext)
        self._given = options if isinstance(options, ssl.SSLContext) else None
        settings = _SETTINGS_OF_GIVEN if isinstance(options, ssl.SSLContext) else options
        self.handshake_timeout: float = settings.handshake_timeout
        self.handshake_limits: HandshakeLimits = settings.handshake_limits
        self.poll_s: float = 0.0 if self.is_given else settings.reload
        self._reject_unknown = settings.unknown_sni == "reject"
        self._policies = {DEFAULT_HOST: settings.client_policy}  # by configured host, as the next
        self._contexts: dict[str, HostContext] = {}  # empty for a given context
        self._choices: dict[str, _Choice] = {}  # what `select` returns from
        if self._given is not None:
            self._choices[DEFAULT_HOST] = _Choice(self._given, DEFAULT_HOST, ())
        else:
            for host, each in {DEFAULT_HOST: settings, **settings.hosts}.items():
                self._contexts[host] = HostContext(host, each, clock=clock)
                self._policies[host] = each.client_policy
                self._publish(host)
        self._names = frozenset(settings.hosts)
        self.options: Mapping[str, TLSOptions] = {
            host: each.options for host, each in self._contexts.items()
        }
        self._one_policy = len(set(self._policies.values())) == 1

    def select(
        self, server_name: str | None, alpn: tuple[bytes, ...] | tuple[str, ...] = ()
    ) -> Selection:
        """Return what a connection gets that asks for `server_name` and offers `alpn`.

        Exact name, then one-label wildcard, then the default. Only looks up: no I/O, no OpenSSL.
        """
        if not server_name or not (self._names or self._reject_unknown):
            return self._choices[DEFAULT_HOST].select(alpn)
        name = normalize_name(server_name)
        host = find_host(self._names, name)
        if host is not None:
            return self._choices[host].select(alpn)
        if self._reject_unknown and not self._contexts[DEFAULT_HOST].covers(name):
            return self._choices[DEFAULT_HOST].unrecognized
        return self._choices[DEFAULT_HOST].select(alpn)

    def host_of(self, authority: str) -> str:
        """Return the configured host that the value of a `Host` field belongs to."""
        if not self._names:
            return DEFAULT_HOST
        return find_host(self._names, name_of_authority(authority)) or DEFAULT_HOST

    def client_policy_of(self, host: str) -> ClientPolicy:
        """Return what is asked of clients of a configured host (empty for the default)."""
        return self._policies.get(host) or self._policies[DEFAULT_HOST]

    @property
    def policies_differ(self) -> bool:
        """Whether some hosts ask other things of clients than others: `misdirected` may be True."""
        return not self._one_policy

    def misdirected(self, handshake_host: str, request_host: str) -> bool:
        """Return whether a request must be answered 421 on a connection made for another host.

        Args:
            handshake_host: `Selection.host` of the connection.
            request_host: The value of the request's `Host` field (or the target's authority).

        Source: RFC 9110 section 15.5.20; that client policies differ is the reason here.
        """
        if self._one_policy:
            return False
        asked = self.client_policy_of(self.host_of(request_host))
        return asked != self.client_policy_of(handshake_host)

    def changed(self) -> bool:
        """Return whether `reload(force=False)` has something to do, by the files' metadata."""
        return any(each.changed() for each in self._contexts.values())

    def reload(self, *, force: bool = True) -> ReloadResult:
        """Read the files again and use what is good for new connections.

        Args:
            force: Whether to read every host's files and build all contexts anew, which renews
                ticket keys; if not, only hosts whose files changed are looked at.
        """
        replaced: list[str] = []
        kept: dict[str, str] = {}
        for host, each in self._contexts.items():
            if not (force or each.changed()):
                continue
            outcome = each.reload(force=force)
            if outcome == "replaced":
                self._publish(host)
                replaced.append(host)
            elif outcome == "kept":
                kept[host] = each.problem
        return ReloadResult(tuple(replaced), kept)

    def renew_aged(self) -> str | None:
        """Renew the ticket keys of one host, if any has had them for too long.

        One at a time, so that many hosts made at the same start do not stop the event loop.

        Returns:
            The host that was renewed, or None.
        """
        for host, each in self._contexts.items():
            if each.due and each.renew_tickets():
                self._publish(host)
                return host
        return None

    def status(self) -> tuple[HostStatus, ...]:
        """Return what is served, per host, for people and for metrics."""
        if self._given is not None:
            return (status_of_given(self._given),)
        return tuple(each.status() for each in self._contexts.values())

    def _publish(self, host: str) -> None:
        """Let new connections have the host's current context, in one assignment."""
        each = self._contexts[host]
        self._choices[host] = _Choice(each.context, host, each.options.alpn)


_SETTINGS_OF_GIVEN = TLSOptions(certfile="")


def build_contexts(
    ssl_options: Mapping[str, Any] | TLSOptions | ssl.SSLContext | TLSContexts,
    *,
    alpn: tuple[str, ...] = (),
) -> TLSContexts:
    """Make the contexts of a listener from its `ssl_options`, all files read and proved.

    Args:
        ssl_options: A dict, options that are checked already, or contexts.
        alpn: The protocols that a dict offers which says nothing of them; empty for the default.

    Raises:
        KeyError: A dict has no `certfile`.
        TLSConfigurationError: A `ValueError`: an option or a file is wrong.
    """
    if isinstance(ssl_options, TLSContexts):
        return ssl_options
    if isinstance(ssl_options, ssl.SSLContext):
        if ssl_options.protocol is ssl.PROTOCOL_TLS_CLIENT:
            raise TLSConfigurationError(
                "ssl_options is a client's SSLContext (PROTOCOL_TLS_CLIENT): make a server's with "
                "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)"
            )
        return TLSContexts(ssl_options)
    if alpn and isinstance(ssl_options, Mapping) and "alpn" not in ssl_options:
        ssl_options = {**ssl_options, "alpn": alpn}
    return TLSContexts(parse_ssl_options(ssl_options))
