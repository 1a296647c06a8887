"""The answers of the admin listener: which path says what, and which command does what.

Decides the paths. It must not know sockets, nor how a server is supervised: it asks for reports,
and hands commands on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from edgeserver.operate.audited import live_audit, render_live_page
from edgeserver.operate.endpoint import AdminRefusal, AdminRequest, Answer
from edgeserver.operate.metrics import NotInstalledError, render_metrics
from edgeserver.operate.report import Facts, ServerReport
from edgeserver.operate.status import render_status_page, status_of

__all__ = ["COMMANDS", "PATHS", "Admin"]

COMMANDS: Final = ("reload", "roll", "drain")
"""What can be asked for with POST, over the Unix socket only."""

PATHS: Final = ("/live", "/ready", "/metrics", "/status", "/audit", "/config")
"""What can be read."""


class Admin:
    """Answers requests.

    Args:
        facts: Returns what changes with the configuration alone.
        report: Returns what else does; told whether memory is asked for, which takes time to find
            out.
        command: Does what `COMMANDS` name; it returns at once, with why it is not done if so.
        configuration: Returns the configuration in force, as the lines of a file.
    """

    def __init__(
        self,
        facts: Callable[[], Facts],
        report: Callable[[bool], ServerReport],
        command: Callable[[str], str],
        configuration: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._facts = facts
        self._report = report
        self._command = command
        self._configuration = configuration
        self._answers: Mapping[str, Callable[[AdminRequest], Answer]] = {
            "/live": self._live,
            "/ready": self._ready,
            "/metrics": self._metrics,
            "/status": self._status,
            "/audit": self._audit,
            "/config": self._config,
        }

    def __call__(self, request: AdminRequest) -> Answer:
        """Answer one request.

        Raises:
            AdminRefusal: There is nothing of that name, or not for whoever asks.
        """
        if request.path.removeprefix("/") in COMMANDS:
            return self._do(request)
        answer = self._answers.get(request.path)
        if answer is None:
            known = ", ".join((*PATHS, *(f"/{name}" for name in COMMANDS)))
            raise AdminRefusal(404, f"there are {known}")
        if request.method not in ("GET", "HEAD"):
            raise AdminRefusal(405, f"{request.path} is for GET", "Allow: GET, HEAD")
        return answer(request)

    def _do(self, request: AdminRequest) -> Answer:
        name = request.path.removeprefix("/")
        if request.method != "POST":
            raise AdminRefusal(405, f"{request.path} is for POST", "Allow: POST")
        if not request.is_local:
            raise AdminRefusal(
                403, f"{request.path} is for the Unix socket only: --admin unix:PATH"
            )
        before = self._report(False)
        if before.is_stopping and name != "drain":
            raise AdminRefusal(409, "the server drains: it was told to stop")
        refused = self._command(name)
        if refused:
            raise AdminRefusal(409, refused)
        return Answer(status=202, body={"accepted": name, "roll": self._report(False).roll.number})

    def _live(self, request: AdminRequest) -> Answer:
        return Answer(body={"live": True})

    def _ready(self, request: AdminRequest) -> Answer:
        why = self._report(False).not_ready()
        body: dict[str, Any] = {"ready": not why}
        if request.is_known:
            body["why"] = why
        return Answer(status=503 if why else 200, body=body)

    def _metrics(self, request: AdminRequest) -> Answer:
        try:
            body, content_type = render_metrics(request.accept, self._facts(), self._report(True))
        except NotInstalledError as error:
            raise AdminRefusal(501, str(error)) from error
        return Answer(body=body, content_type=content_type)

    def _status(self, request: AdminRequest) -> Answer:
        status = status_of(self._facts(), self._report(True))
        if "text/html" in request.accept:
            return Answer(body=render_status_page(status), content_type="text/html; charset=utf-8")
        return Answer(body=status)

    def _audit(self, request: AdminRequest) -> Answer:
        facts = self._facts()
        value = live_audit(facts, self._report(False))
        if "text/html" in request.accept:
            body = render_live_page(value, version=facts.version)
            return Answer(body=body, content_type="text/html; charset=utf-8")
        return Answer(body=value)

    def _config(self, request: AdminRequest) -> Answer:
        if not request.is_local:
            raise AdminRefusal(403, "/config is for the Unix socket only: --admin unix:PATH")
        return Answer(body={"lines": list(self._configuration())})
