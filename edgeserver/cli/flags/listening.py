"""Flags that say where to listen.

Decides the scheme of a bind that names none; the grammar is `bind.py`'s, opening is `sockets.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.config.bind import Bind, parse_bind, render_bind
from edgeserver.config.model import DEFAULT_BIND, setting
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import PlannedListener, ServePlan
from edgeserver.support.escape import escape

__all__ = ["GROUP"]

_REDIRECT = re.compile(r"([0-9]{1,9})(?:=([0-9]{1,9}))?")


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write the listeners into `plan`."""
    for text in values["bind"] or (DEFAULT_BIND,):
        bind = parse_bind(text)
        is_tls = bind.scheme == "https" or (bind.scheme is None and plan.tls_request is not None)
        if is_tls and plan.tls_request is None:
            raise ConfigurationError(
                f"--bind {render_bind(bind)}: https needs a certificate; add --certfile FILE "
                "(and --keyfile FILE), or --dev-tls for development"
            )
        _require_trust(bind, plan)
        http2 = bind.http2 or ("on" if setting("http2").value_in(values) else "off")
        plan.listeners.append(PlannedListener(bind=bind, is_tls=is_tls, http2=http2))
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


def _require_trust(bind: Bind, plan: ServePlan) -> None:
    """Refuse a PROXY prelude that nobody is allowed to send."""
    if bind.proxy is not None and not plan.lists_proxies:
        raise ConfigurationError(
            f"--bind {render_bind(bind)}: nobody may send the prelude; name the proxies with "
            f"--trust{' in place of --xheaders' if plan.trust.get('xheaders') else ''}"
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
