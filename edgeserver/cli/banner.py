"""The lines that `serve` prints when it is ready.

Decides their words and colours. It must not know how anything was started.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TextIO

import click

from edgeserver.adapters.detect import describe_interface
from edgeserver.cli.terminal import is_coloured
from edgeserver.netutil import served_families
from edgeserver.runtime.plan import Listener, ServePlan
from edgeserver.support.addresses import render_address
from edgeserver.support.escape import escape
from edgeserver.support.loggers import gen_log

__all__ = ["print_lines", "render_banner", "render_listener"]


_SPOKEN = {"off": "HTTP/1.1", "on": "HTTP/2 and HTTP/1.1", "only": "HTTP/2"}
"""What a listener speaks, by its `http2`."""


def render_banner(plan: ServePlan, kind: str) -> list[str]:
    """Return the start lines: one for each address, what the application is, what to know.

    Args:
        plan: What was started; its listeners hold open sockets.
        kind: What the application was taken for.
    """
    lines = [line for listener in plan.listeners for line in render_listener(listener)]
    for listener in plan.redirects:
        lines += [f"{line} (redirects to https)" for line in render_listener(listener)]
    how = f"{plan.workers} workers" if plan.workers > 1 else "1 worker"
    lines.append(f"serving {escape(plan.target)}, {describe_interface(kind)}, with {how}")
    return lines + plan.notes


def render_listener(listener: Listener) -> list[str]:
    """Return one line for each address of `listener`, with its real port."""
    scheme = "https" if listener.is_tls else "http"
    proxy = {None: "", "any": " after a PROXY prelude"}.get(
        listener.bind.proxy, f" after a PROXY {listener.bind.proxy} prelude"
    )
    spoken = f" with {_SPOKEN[listener.http2]}"
    lines = []
    for sock in listener.sockets:
        address = render_address(sock.getsockname())
        where = f"{address} ({scheme})" if address.startswith("unix:") else f"{scheme}://{address}"
        lines.append(f"listening on {where}{spoken}{proxy}{_describe_families(listener, sock)}")
    return lines


def _describe_families(listener: Listener, sock: socket.socket) -> str:
    """Return which families an address of all interfaces serves; any other says so itself."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return ""
    if sock.getsockname()[0] not in ("0.0.0.0", "::"):
        return ""
    families = served_families(sock)
    if listener.bind.host not in ("0.0.0.0", "::"):  # what stands for both, or was inherited
        return f" ({families})"
    other = "IPv6" if families == "IPv4" else "IPv4"
    return f" ({families} only; --bind :{sock.getsockname()[1]} serves {other} too)"


def print_lines(lines: Iterable[str], stream: TextIO | None) -> None:
    """Print the start lines, with colour only on a terminal that wants it.

    Args:
        lines: The lines, without their ends.
        stream: Where to; None is what Python makes of an output that was closed at start.
    """
    try:
        if stream is None:
            return
        coloured = is_coloured(stream)
        shown = [_coloured(line) if coloured else line for line in lines]
        stream.write("".join(f"{line}\n" for line in shown))
        stream.flush()
    except OSError as error:  # a reader that is gone is no reason not to serve
        gen_log.warning("the start lines cannot be printed: %s", error)


def _coloured(line: str) -> str:
    """Return `line` with its first words coloured by what it says."""
    if line.startswith("listening on "):
        return click.style("listening on ", fg="green") + click.style(line[13:], bold=True)
    if line.startswith("warning: "):
        return click.style("warning: ", fg="yellow", bold=True) + line[9:]
    return line
