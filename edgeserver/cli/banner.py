"""The lines that `serve` prints when it is ready.

Decides their words and colours. It must not know how anything was started.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, NamedTuple, TextIO

import click

from edgeserver.adapters.detect import describe_interface
from edgeserver.cli.terminal import is_coloured, is_terminal
from edgeserver.netutil import served_families
from edgeserver.runtime.plan import PlannedListener, ServePlan
from edgeserver.support.addresses import render_address
from edgeserver.support.escape import escape
from edgeserver.support.loggers import gen_log

__all__ = ["lay_out", "print_lines", "render_banner", "render_listener", "render_listeners"]


_SPOKEN = {"off": "HTTP/1.1", "on": "HTTP/2 and HTTP/1.1", "only": "HTTP/2"}
"""What a listener speaks, by its `http2`."""


def render_banner(plan: ServePlan, kind: str) -> list[str]:
    """Return the start lines: one for each address, what the application is, what to know.

    Args:
        plan: What was started; its listeners hold open sockets.
        kind: What the application was taken for.
    """
    lines = render_listeners(plan)
    how = f"{plan.workers} workers" if plan.workers > 1 else "1 worker"
    lines.append(f"serving {escape(plan.target)}, {describe_interface(kind)}, with {how}")
    return lines + plan.notes


def render_listeners(plan: ServePlan) -> list[str]:
    """Return one line for each address."""
    lines = [line for listener in plan.listeners for line in render_listener(listener)]
    for listener in plan.redirects:
        lines += [f"{line} (redirects to https)" for line in render_listener(listener)]
    return lines


def render_listener(listener: PlannedListener) -> list[str]:
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


def _describe_families(listener: PlannedListener, sock: socket.socket) -> str:
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


def print_lines(
    lines: Iterable[str], stream: TextIO | None, *, took_s: float | None = None
) -> None:
    """Print the start lines: as they are, or laid out where somebody looks at them.

    Scripts read what goes to a file or a pipe; on a terminal the lines are a table, with colour
    where it wants that.

    Args:
        lines: The lines, without their ends.
        stream: Where to; None is what Python makes of an output that was closed at start.
        took_s: How many seconds the start took, for a terminal.
    """
    try:
        if stream is None:
            return
        shown = list(lines)
        if is_terminal(stream):
            if took_s is not None:
                shown.append(f"ready: after {took_s:.2f} s; Ctrl-C stops")
            shown = lay_out(shown, coloured=is_coloured(stream))
        stream.write("".join(f"{line}\n" for line in shown))
        stream.flush()
    except OSError as error:  # a reader that is gone is no reason not to serve
        gen_log.warning("the start lines cannot be printed: %s", error)


def lay_out(lines: Iterable[str], *, coloured: bool) -> list[str]:
    """Return start lines as a table: what each is about, and what it says."""
    rows = [_split(line) for line in lines]
    width = max((len(label) for label, _ in rows), default=0)
    shown = []
    for label, text in rows:
        cell = label.ljust(width)
        if coloured:
            style = _STYLES.get(label, _OTHER)
            cell, text = click.style(cell, **style.label), click.style(text, **style.text)
        shown.append(f"{cell}  {text}")
    return shown


class _Style(NamedTuple):
    """How a row looks: arguments of `click.style`."""

    label: dict[str, Any]
    text: dict[str, Any]


_OTHER = _Style({"dim": True}, {})
_STYLES = {
    "listening on": _Style({"fg": "green"}, {"bold": True}),
    "serving": _Style({"fg": "green"}, {}),
    "ready": _Style({"fg": "green"}, {}),
    "warning": _Style({"fg": "yellow", "bold": True}, {}),
}

_LABELS = ("listening on ", "serving ")
"""What lines begin with that have no colon behind what they are about."""

_LONGEST_LABEL = 26


def _split(line: str) -> tuple[str, str]:
    """Return what a start line is about, and what it says."""
    for label in _LABELS:
        if line.startswith(label):
            return label.rstrip(), line.removeprefix(label)
    label, colon, text = line.partition(": ")
    return (label, text) if colon and len(label) <= _LONGEST_LABEL else ("", line)
