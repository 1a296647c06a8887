"""Flags that say where to listen.

Decides the scheme of a bind that names none; the grammar is `bind.py`'s, opening is `sockets.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.flags.tls import request_of
from edgeserver.config.bind import Bind, parse_bind, render_bind
from edgeserver.config.model import DEFAULT_BIND, setting, settings_of
from edgeserver.config.trust import check_trust, names_proxies
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import PlannedListener, ServePlan, TLSRequest
from edgeserver.support.escape import escape

__all__ = ["GROUP", "OwnListener"]

_REDIRECT = re.compile(r"([0-9]{1,9})(?:=([0-9]{1,9}))?")


@dataclass(frozen=True, kw_only=True)
class OwnListener:
    """A listener with settings of its own.

    Args:
        bind: Its address, as it was written.
        values: What holds for it of each setting, by its key.
        own: The keys of those that it says itself.
        spell: Puts a complaint that names flags into the words in which they were said.
    """

    bind: str
    values: Mapping[str, Any]
    own: Collection[str]
    spell: Callable[[str], str]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write the listeners into `plan`."""
    own: Sequence[OwnListener] = values.get("listeners", ())
    for text in values["bind"] or (() if own else (DEFAULT_BIND,)):
        bind = parse_bind(text)
        is_tls = _starts_with_tls(bind, plan.tls_request)
        _require_trust(bind, plan.trust)
        http2 = bind.http2 or ("on" if setting("http2").value_in(values) else "off")
        plan.listeners.append(PlannedListener(bind=bind, is_tls=is_tls, http2=http2))
    for each in own:
        try:
            plan.listeners.append(_own_listener(each, plan))
        except ConfigurationError as error:
            raise type(error)(each.spell(str(error))) from error
    if plan.tls_request is not None and not any(listener.is_tls for listener in plan.listeners):
        made = plan.tls_request.development
        raise ConfigurationError(
            f"{'--dev-tls' if made else 'a certificate'} is given but every --bind says http://; "
            f"write --bind https://HOST:PORT, or leave {'it' if made else 'the certificate'} out"
        )
    if values["http_redirect"] is not None:
        port, plan.redirect_port = _parse_redirect(values["http_redirect"])
        plan.redirects += _redirect_listeners(port, plan)
    plan.backlog = setting("backlog").value_in(values)
    plan.reuse_port = bool(values["reuse_port"])


def _own_listener(own: OwnListener, plan: ServePlan) -> PlannedListener:
    """Return a listener that has settings of its own."""
    bind = parse_bind(own.bind)
    has_tls = any(each.key in own.own for each in settings_of(taker="tls"))
    request = request_of({**own.values, "dev_tls": None}) if has_tls else None
    if has_tls and request is None:
        named = next(each for each in settings_of(taker="tls") if each.key in own.own)
        raise ConfigurationError(f"{named.flag} without a certificate; add --certfile FILE")
    if request is not None and bind.scheme == "http":
        raise ConfigurationError(
            f"--bind {render_bind(bind)}: it says http://, and has a certificate of its own; write "
            "https://, or leave --certfile out"
        )
    trust = _own_trust(own)
    _require_trust(bind, plan.trust if trust is None else trust)
    return PlannedListener(
        bind=bind,
        is_tls=_starts_with_tls(bind, request or plan.tls_request),
        http2=bind.http2 or ("on" if setting("http2").value_in(own.values) else "off"),
        tls_request=request,
        trust_values=trust,
        spell=own.spell,
    )


def _own_trust(own: OwnListener) -> Mapping[str, Any] | None:
    """Return what a listener says of proxies; None where it says nothing of its own."""
    said = [each.key for each in settings_of(taker="trust") if each.key in own.own]
    if not said:
        return None
    values = {each.key: own.values[each.key] for each in settings_of(taker="trust")}
    if not names_proxies(values):
        # What is to be made of proxies is said for all; here there are none.
        values = {key: each for key, each in values.items() if key in said}
    check_trust(values)
    return values


def _starts_with_tls(bind: Bind, request: TLSRequest | None) -> bool:
    """Return whether the connections of a bind start with TLS.

    Raises:
        ConfigurationError: They are to, and there is no certificate.
    """
    is_tls = bind.scheme == "https" or (bind.scheme is None and request is not None)
    if is_tls and request is None:
        raise ConfigurationError(
            f"--bind {render_bind(bind)}: https needs a certificate; add --certfile FILE "
            "(and --keyfile FILE), or --dev-tls for development"
        )
    return is_tls


def _require_trust(bind: Bind, trust: Mapping[str, Any]) -> None:
    """Refuse a PROXY prelude that nobody is allowed to send."""
    if bind.proxy is not None and not names_proxies(trust):
        raise ConfigurationError(
            f"--bind {render_bind(bind)}: nobody may send the prelude; name the proxies with "
            f"--trust{' in place of --xheaders' if trust.get('xheaders') else ''}"
        )


def _parse_redirect(value: str) -> tuple[int, int | None]:
    """Parse `PORT` or `PORT=PUBLIC`: where to listen, and where clients are sent.

    Raises:
        ConfigurationError: It is neither.
    """
    match = _REDIRECT.fullmatch(value)
    port = int(match[1]) if match else 65536
    public = int(match[2]) if match and match[2] else None
    if port > 65535 or (public is not None and not 0 < public <= 65535):
        raise ConfigurationError(
            f"--http-redirect {escape(value)}: not a port from 0 to 65535; write 8080, or 8080=443"
            " where clients reach https on port 443"
        )
    return port, public


def _redirect_listeners(port: int, plan: ServePlan) -> list[PlannedListener]:
    """Return the plain listeners that send clients to https: one on each host of it."""
    secure = {
        listener.bind.host: listener.bind
        for listener in reversed(plan.listeners)  # so that the first of a host is kept
        if listener.is_tls and listener.bind.port is not None
    }
    if not secure:
        certificate = "" if plan.tls_request is not None else " and --certfile FILE"
        raise ConfigurationError(
            f"--http-redirect {port} has no https port to send clients to; add --bind "
            f"https://HOST:PORT{certificate}"
        )
    return [
        PlannedListener(bind=replace(bind, scheme="http", port=port, proxy=None), is_tls=False)
        for host, bind in reversed(secure.items())
        if not _is_covered(host, secure)
    ]


def _is_covered(host: str, hosts: Collection[str]) -> bool:
    """Return whether another of `hosts` is every address, that of `host` too."""
    if host == "":
        return False
    if "" in hosts:
        return True
    if host in ("0.0.0.0", "::"):
        return False
    return ("::" if ":" in host else "0.0.0.0") in hosts


GROUP = FlagGroup(table="listening", apply=_apply)
