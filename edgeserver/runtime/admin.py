"""The admin listener of a parent: its sockets opened, and joined to whoever supervises.

Decides what stops the start, and which facts operators are told that do not change. What is
answered is `edgeserver.operate`'s.
"""

from __future__ import annotations

import platform
import selectors
import socket
import time
from collections.abc import Callable

from edgeserver.config.admin import read_token
from edgeserver.config.bind import Bind, render_bind
from edgeserver.config.effective import render
from edgeserver.errors import ConfigurationError
from edgeserver.operate.admin import Admin
from edgeserver.operate.endpoint import Endpoint
from edgeserver.operate.metrics import INSTALL, can_render, forget_imports
from edgeserver.operate.report import Facts, ServerReport
from edgeserver.runtime.exits import StartError
from edgeserver.runtime.plan import ServePlan
from edgeserver.runtime.prepare import policy_lines
from edgeserver.runtime.processes import Operators
from edgeserver.runtime.sockets import close_sockets, open_sockets
from edgeserver.support.addresses import render_address
from edgeserver.support.escape import escape

__all__ = ["open_admin"]


def open_admin(
    plan: ServePlan,
    in_force: Callable[[], ServePlan],
    listeners: Callable[[ServePlan], tuple[str, ...]],
    say: Callable[[str], None],
) -> Operators:
    """Open the sockets of the admin listener; return what has it listen.

    Args:
        plan: What is served, and where operators are answered.
        in_force: Returns what is served now, which a reload or a roll may have changed.
        listeners: Returns where a plan listens, a line each.
        say: Prints one line for the operator.

    Raises:
        ConfigurationError: The token cannot be had.
        StartError: An address cannot be had.
    """
    token = None if plan.admin_token_file is None else read_token(plan.admin_token_file)
    sockets: list[socket.socket] = []
    try:
        for bind in plan.admin:
            sockets += _open(bind)
    except BaseException:
        close_sockets(sockets)
        raise
    for sock in sockets:
        plan.notes.append(f"operators: {_shown(sock)}")
    if not can_render():
        plan.notes.append(f"warning: {INSTALL}; until then /metrics is told so")

    known = plan, _facts(plan, listeners(plan))

    def facts() -> Facts:
        # Asked for once for each plan: at the end of the server its sockets are closed.
        nonlocal known
        now = in_force()
        if now is not known[0]:
            try:
                where = listeners(now)
            except OSError:
                where = known[1].listeners
            known = now, _facts(now, where)
        return known[1]

    def configuration() -> tuple[str, ...]:
        effective = in_force().effective
        return () if effective is None else tuple(render(effective))

    def operators(
        selector: selectors.BaseSelector,
        report: Callable[[bool], ServerReport],
        command: Callable[[str], str],
    ) -> Endpoint:
        return Endpoint(
            sockets,
            selector,
            Admin(facts, report, command, configuration),
            clock=time.monotonic,
            token=token,
            names=[bind.host for bind in plan.admin if bind.host],
            close=close_sockets,
            on_fork=forget_imports,
            on_error=lambda error: say(
                f"the admin listener could not answer: {type(error).__name__}:"
                f" {escape(str(error), 200)}"
            ),
        )

    return operators


def _open(bind: Bind) -> list[socket.socket]:
    """Open what `bind` names.

    Raises:
        ConfigurationError: There is something else at a path.
        StartError: The address cannot be had.
    """
    shown = render_bind(bind)
    try:
        return open_sockets(bind)
    except ConfigurationError as error:
        raise ConfigurationError(_renamed(error, shown)) from error
    except StartError as error:
        raise StartError(_renamed(error, shown)) from error


def _renamed(error: Exception, shown: str) -> str:
    """Return what is said of a bind, with the flag as it was typed."""
    return str(error).replace(f"--bind {shown}", f"--admin {shown}", 1)


def _shown(sock: socket.socket) -> str:
    address = render_address(sock.getsockname())
    return address if address.startswith("unix:") else f"http://{address}"


def _facts(plan: ServePlan, listeners: tuple[str, ...]) -> Facts:
    from importlib.metadata import PackageNotFoundError, version

    from edgeserver.support import escape as compiled

    try:
        own = version("edgeserver")
    except PackageNotFoundError:  # run from a directory
        own = "unknown"
    return Facts(
        version=own,
        python=platform.python_version(),
        is_compiled=not compiled.__file__.endswith(".py"),
        application=escape(plan.target),
        listeners=listeners,
        policy=tuple(line for line in policy_lines(plan) if not line.startswith("warning: ")),
    )
