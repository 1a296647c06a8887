"""Flags that say where to listen.

Decides the scheme of a bind that names none; the grammar is `bind.py`'s, opening `listening.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.options import count_flag, flag, list_flag, switch
from edgeserver.config.bind import DEFAULT_BIND, Bind, parse_bind, render_bind
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import Listener, ServePlan

__all__ = ["GROUP"]


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write the listeners into `plan`."""
    for text in values["bind"] or (DEFAULT_BIND,):
        bind = parse_bind(text)
        is_tls = bind.scheme == "https" or (bind.scheme is None and plan.tls is not None)
        if is_tls and plan.tls is None:
            raise ConfigurationError(
                f"--bind {render_bind(bind)}: https needs a certificate; add --certfile FILE "
                "(and --keyfile FILE), or --dev-tls for development"
            )
        _require_trust(bind, plan)
        plan.listeners.append(Listener(bind=bind, is_tls=is_tls))
    if plan.tls is not None and not any(listener.is_tls for listener in plan.listeners):
        raise ConfigurationError(
            "a certificate is given but every --bind says http://; write --bind https://HOST:PORT, "
            "or leave the certificate out"
        )
    if values["http_redirect"] is not None:
        plan.redirects.append(_redirect_listener(values["http_redirect"], plan))
    plan.backlog = values["backlog"]
    plan.reuse_port = values["reuse_port"]


def _require_trust(bind: Bind, plan: ServePlan) -> None:
    """Refuse a PROXY prelude that nobody is allowed to send."""
    policy = plan.server_options.get("trust")
    if bind.proxy is not None and (policy is None or policy.mode != "policy"):
        raise ConfigurationError(
            f"--bind {render_bind(bind)}: nobody may send the prelude; name the proxies with "
            "--trust"
        )


def _redirect_listener(port: int, plan: ServePlan) -> Listener:
    """Return the plain listener that sends clients to the first https one."""
    secure = next((listener.bind for listener in plan.listeners if listener.is_tls), None)
    if secure is None or secure.host is None:
        raise ConfigurationError(
            f"--http-redirect {port} has no https to send clients to; add --bind https://HOST:PORT"
            " and --certfile FILE"
        )
    return Listener(bind=replace(secure, scheme="http", port=port, proxy=None), is_tls=False)


GROUP = FlagGroup(
    title="Listening",
    options=(
        list_flag(
            "--bind",
            "ADDRESS",
            "[http://|https://]HOST:PORT, unix:PATH or fd:N, with ,proxy=v1|v2|any where a PROXY "
            "prelude comes first; repeatable. Without a scheme it is https where a certificate is "
            f"given. [default: {DEFAULT_BIND}]",
        ),
        flag(
            "--http-redirect",
            "PORT",
            "A plain port, on the host of the first https one, that sends clients there.",
            type=click.IntRange(0, 65535),
        ),
        count_flag(
            "--backlog",
            "Connections that may wait to be accepted. [default: 128]",
            65535,
            default=128,
        ),
        switch("--reuse-port", "Let other processes listen on the same port."),
    ),
    apply=_apply,
)
