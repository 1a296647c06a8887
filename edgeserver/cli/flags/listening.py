"""Flags that say where to listen.

Decides the scheme of a bind that names none; the grammar is `bind.py`'s, opening is `sockets.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.config.bind import Bind, parse_bind, render_bind
from edgeserver.config.model import DEFAULT_BIND, setting
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import Listener, ServePlan

__all__ = ["GROUP"]


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
        plan.listeners.append(Listener(bind=bind, is_tls=is_tls))
    if plan.tls_request is not None and not any(listener.is_tls for listener in plan.listeners):
        raise ConfigurationError(
            "a certificate is given but every --bind says http://; write --bind https://HOST:PORT, "
            "or leave the certificate out"
        )
    if values["http_redirect"] is not None:
        plan.redirects.append(_redirect_listener(values["http_redirect"], plan))
    plan.backlog = setting("backlog").value_in(values)
    plan.reuse_port = bool(values["reuse_port"])


def _require_trust(bind: Bind, plan: ServePlan) -> None:
    """Refuse a PROXY prelude that nobody is allowed to send."""
    if bind.proxy is not None and not plan.lists_proxies:
        raise ConfigurationError(
            f"--bind {render_bind(bind)}: nobody may send the prelude; name the proxies with "
            f"--trust{' in place of --xheaders' if plan.trust.get('xheaders') else ''}"
        )


def _redirect_listener(port: int, plan: ServePlan) -> Listener:
    """Return the plain listener that sends clients to the first https one."""
    binds = (listener.bind for listener in plan.listeners if listener.is_tls)
    secure = next((bind for bind in binds if bind.port is not None), None)
    if secure is None:
        certificate = "" if plan.tls_request is not None else " and --certfile FILE"
        raise ConfigurationError(
            f"--http-redirect {port} has no https port to send clients to; add --bind "
            f"https://HOST:PORT{certificate}"
        )
    return Listener(bind=replace(secure, scheme="http", port=port, proxy=None), is_tls=False)


GROUP = FlagGroup(table="listening", apply=_apply)
