"""The configuration as the parent of workers has it: read again, checked, handed on, taken back.

Decides what a reload and a roll change of what workers are started with. It must not know signals
or processes; the plan in force is `plan`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from edgeserver.config.bind import render_bind
from edgeserver.config.effective import changes
from edgeserver.config.file import MAX_FILE_BYTES
from edgeserver.errors import ConfigurationError, EdgeServerError
from edgeserver.runtime.link import SharedText
from edgeserver.runtime.plan import PlannedListener, ServePlan
from edgeserver.runtime.prepare import prepare
from edgeserver.runtime.processes import Change
from edgeserver.runtime.reload import adopt, reread
from edgeserver.runtime.sockets import ActivatedSockets, PlaceSockets, open_sockets
from edgeserver.runtime.supervisor import Limits

__all__ = ["PlanInForce", "limits_of", "open_listener"]


def limits_of(plan: ServePlan) -> Limits:
    """Return what workers are held to."""
    return Limits(
        start_timeout_s=plan.start_timeout_s,
        stop_timeout_s=plan.stop_timeout_s,
        worker_timeout_s=plan.worker_timeout_s,
        max_lifetime_s=plan.max_lifetime_s,
        max_memory=plan.max_memory,
        drain_delay_s=plan.drain_delay_s,
    )


def open_listener(
    plan: ServePlan, listener: PlannedListener, activated: ActivatedSockets | None = None
) -> None:
    """Open the sockets of one listener.

    Args:
        plan: Says how.
        listener: The listener.
        activated: Those that systemd has opened.

    Raises:
        EdgeServerError: They cannot be had.
    """
    listener.sockets = open_sockets(
        listener.bind, backlog=plan.backlog, reuse_port=plan.reuse_port, activated=activated
    )


def _open_later(plan: ServePlan, listener: PlannedListener) -> None:
    """Open the sockets of one that was not there at the start.

    Raises:
        EdgeServerError: They cannot be had.
    """
    if listener.bind.systemd is not None:
        raise ConfigurationError(
            f"--bind {render_bind(listener.bind)}: systemd passes its sockets when the service"
            " starts, and none later; restart the service (clients wait in the socket's queue"
            " meanwhile)"
        )
    open_listener(plan, listener)


class PlanInForce:
    """The plan that workers are started with, and how it changes.

    Args:
        plan: The plan; its sockets are open.
        say: Prints one line for the operator.

    Attributes:
        plan: The plan in force.
        queues: The sockets of all workers' places.
        text: The file as it is in force, for workers that run.
    """

    def __init__(self, plan: ServePlan, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.queues = PlaceSockets((*plan.listeners, *plan.redirects))
        self.text = SharedText(MAX_FILE_BYTES)
        self.text.write(plan.content)
        self._content = plan.content
        self._say = say
        self._before: tuple[ServePlan, bytes | None] | None = None  # while a roll goes on

    def reload(self) -> Change:
        """Put in force what SIGHUP can; workers are told afterwards.

        Raises:
            EdgeServerError: Something is wrong, or needs a roll; nothing has changed.
        """
        content = self._load()
        new = reread(self.plan, content, "reload")
        more = new.workers - self.plan.workers
        if new is not self.plan:
            adopt(self.plan, new)
        self._content = content
        self.text.write(content)
        return self._change(more)

    def reread(self) -> Change:
        """Have the next workers start with what is said now.

        Raises:
            EdgeServerError: Something is wrong, or needs a new start; nothing has changed.
        """
        old, content = self.plan, self._load()
        new = reread(old, content, "roll")
        if new is old or not (changes(old.effective, new.effective) or _listeners_differ(old, new)):
            return self._change(0)  # only the code may be another
        new.app, new.coloured = old.app, old.coloured
        prepare(new, old)
        known = {each.bind for each in (*old.listeners, *old.redirects)}
        self.queues.change(
            (*new.listeners, *new.redirects), lambda listener: _open_later(new, listener)
        )
        for listener in (*new.listeners, *new.redirects):
            if listener.bind not in known:
                self._say(f"SIGUSR2: listening on {render_bind(listener.bind)}, too")
        self._before = old, self._content
        self.plan, self._content = new, content
        self.text.write(content)
        return self._change(new.workers - old.workers)

    def rolled(self, *, done: bool) -> Change | None:
        """Close what nobody needs any more; where the roll was given up, go back.

        Returns:
            What going back means for the parent; None where it does not.
        """
        if self._before is None:
            return None
        (old, content), self._before = self._before, None
        left, kept = (old, self.plan) if done else (self.plan, old)
        log = left.server_options.get("audit_log")
        if log is not None and log is not kept.server_options.get("audit_log"):
            log.close()
        if done:
            self.queues.keep()
            return None
        more = old.workers - self.plan.workers
        self.queues.undo()
        self.plan, self._content = old, content
        self.text.write(content)
        return self._change(more)

    def close(self) -> None:
        """Close all sockets."""
        with suppress(EdgeServerError, OSError):
            self.queues.close()

    def _load(self) -> bytes | None:
        configuration = self.plan.configuration
        return None if configuration is None else configuration.load()

    def _change(self, more: int) -> Change:
        return Change(more, limits_of(self.plan), self.queues.is_shared)


def _listeners_differ(old: ServePlan, new: ServePlan) -> bool:
    """Return whether listeners of their own have other settings."""
    kept = [
        [(each.bind, each.is_tls, each.tls_request, each.trust_values) for each in plan.listeners]
        for plan in (old, new)
    ]
    return kept[0] != kept[1]
