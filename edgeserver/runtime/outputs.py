"""The logs of a process that serves, and how they go elsewhere while it runs.

Decides which logs there are, and that others are opened before any of those in force ends. How a
line looks and how it is written is `edgeserver.logs`' and `edgeserver.audit`'s.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeserver.config.model import setting
from edgeserver.logs.access import AccessLog
from edgeserver.logs.sampling import SLOW_S
from edgeserver.logs.writer import AppendedFile, check_log
from edgeserver.runtime.plan import AccessRequest, ServePlan
from edgeserver.runtime.prepare import open_audit_log
from edgeserver.support.escape import escape
from edgeserver.support.loggers import gen_log

if TYPE_CHECKING:
    from edgeserver.audit.log import AuditLog
    from edgeserver.httpserver import HTTPServer
    from edgeserver.logs.setup import ErrorLog

__all__ = ["OpenedLogs", "Outputs"]

CLOSE_WAIT_S = 1.0
"""How long a log that ends may still write."""


class OpenedLogs(NamedTuple):
    """Logs that are open and not in force yet.

    Args:
        plan: The plan that asks for them.
        access: The access log, where another is asked for and there is to be one.
        stream: Where that goes.
        audit: The audit log, likewise.
    """

    plan: ServePlan
    access: AccessLog | None
    stream: Any
    audit: AuditLog | None


class Outputs:
    """The logs of one process.

    Args:
        plan: What is in force; a reload writes its audit log there.
        kind: What the application was taken for: Tornado's log requests themselves.
        worker: Which worker this is.
        errors: The log of everything else.

    Attributes:
        access: Called with each exchange that has ended, or None.
    """

    def __init__(self, plan: ServePlan, kind: str, worker: int, errors: ErrorLog) -> None:
        self._plan = plan
        self._kind = kind
        self._worker = worker
        self._errors = errors
        self._dropped = {"access": 0, "audit": 0}  # by logs that have ended
        self.access: AccessLog | None = None
        self._stream: Any = None
        if self._is_wanted(plan.access):
            self.access, self._stream = self._open_access(plan, required=False)

    @property
    def dropped(self) -> dict[str, int]:
        """How many lines each log could not write."""
        dropped = {**self._dropped, "error": self._errors.dropped}
        if self.access is not None:
            dropped["access"] += self.access.dropped
        audit = self._plan.server_options.get("audit_log")
        if audit is not None:
            dropped["audit"] += audit.dropped
        return dropped

    def open(self, plan: ServePlan) -> OpenedLogs:
        """Open what a plan asks for in the place of what is in force; nothing has changed yet.

        Raises:
            ConfigurationError: A file cannot be opened.
        """
        access = stream = audit = None
        if plan.audit is not None and plan.audit != self._plan.audit:
            audit = open_audit_log(plan.audit)
        if plan.access != self._plan.access and self._is_wanted(plan.access):
            assert plan.access is not None, "it is wanted"
            try:
                if plan.access.target != "-":
                    check_log(setting("access-log").flag, plan.access.target)
                access, stream = self._open_access(plan, required=True)
            except BaseException:
                if audit is not None:
                    audit.close()
                raise
        return OpenedLogs(plan, access, stream, audit)

    def discard(self, opened: OpenedLogs) -> None:
        """Close what was opened in vain."""
        if opened.access is not None:
            _end_access(opened.access, opened.stream)
        if opened.audit is not None:
            opened.audit.close()

    def put_in_force(
        self,
        opened: OpenedLogs,
        server: HTTPServer,
        take_access: Callable[[AccessLog | None], object],
    ) -> None:
        """Write to what was opened from now on, and end what there was before.

        Args:
            opened: What `open` has returned.
            server: The server.
            take_access: Called with another access log, to be told of what has ended.
        """
        before, after = self._plan, opened.plan
        if after.logging.level != before.logging.level:
            self._errors.set_level(after.logging.level, is_asked=after.logging.has_level)
        if after.access != before.access:
            ended, stream = self.access, self._stream
            self.access, self._stream = opened.access, opened.stream
            take_access(self.access)
            if ended is not None:
                ended.flush()
                self._dropped["access"] += ended.dropped
                self._end(lambda: _end_access(ended, stream))
        if after.audit != before.audit:
            audit = before.server_options.get("audit_log")
            before.server_options["audit_log"] = opened.audit
            server.set_audit_log(opened.audit)
            if audit is not None:
                self._dropped["audit"] += audit.dropped
                self._end(audit.close)

    def reopen(self) -> None:
        """Open the access log's file again by its name."""
        if self.access is not None:
            self.access.reopen()

    def flush(self, timeout_s: float) -> None:
        """Have everything written that can be; nothing is closed."""
        if self.access is not None:
            self.access.flush(timeout_s)

    def close(self) -> None:
        """End the access log."""
        if self.access is not None:
            self.access.close()

    def _is_wanted(self, access: AccessRequest | None) -> bool:
        """Return whether there is to be an access log."""
        if access is None or (access.target == "-" and sys.stdout is None):  # closed at start
            return False
        # Tornado applications log themselves, so they are asked for.
        return self._kind != "tornado" or access.is_asked

    def _open_access(self, plan: ServePlan, *, required: bool) -> tuple[AccessLog, Any]:
        """Return the access log of a plan, and where it goes."""
        access = plan.access
        assert access is not None, "asked for where one is wanted"
        stream: Any = sys.stdout
        if access.target != "-":
            stream = AppendedFile(access.target, required=required)
            if stream.failure is not None:  # it could be at the first start
                gen_log.error(
                    "access log %s: %s; requests are not logged before SIGUSR1 finds it",
                    escape(access.target),
                    stream.failure.strerror,
                )
        slow_s = plan.server_options.get("slow_request")
        log = AccessLog(
            stream,
            access.format,
            sample=access.sample,
            slow_s=SLOW_S if slow_s is None else slow_s,
            worker=self._worker,
            coloured=self._plan.coloured and access.target == "-",
        )
        return log, stream

    @staticmethod
    def _end(call: Callable[[], object]) -> None:
        """End a log without having the event loop wait for its disk."""
        asyncio.get_running_loop().run_in_executor(None, call)


def _end_access(log: AccessLog, stream: Any) -> None:
    """Write what is left, and let go of the file unless somebody may still write to it."""
    is_done = log.flush(CLOSE_WAIT_S)
    log.close()
    if is_done and isinstance(stream, AppendedFile):
        stream.close()
