"""The answers of the admin listener: paths, commands, readiness, and the page."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from edgeserver.operate.admin import COMMANDS, PATHS, Admin
from edgeserver.operate.endpoint import AdminRefusal, AdminRequest, Answer, render_answer
from edgeserver.operate.report import ServerReport
from tests.operate.reports import FACTS, HOSTILE, row_of, running, worker


class Asked:
    """An admin with a report, which notes the commands."""

    def __init__(self, report: ServerReport) -> None:
        self.commands: list[str] = []
        self.refused = ""
        self._admin = Admin(
            lambda: FACTS, lambda with_memory: report, self._do, lambda: ("[process]",)
        )

    def _do(self, command: str) -> str:
        self.commands.append(command)
        return self.refused

    def __call__(self, path: str, method: str = "GET", **facts: Any) -> Answer:
        """Ask."""
        return self._admin(AdminRequest(method=method, path=path, **{"is_known": True, **facts}))

    def status(self, *arguments: Any, **facts: Any) -> int:
        """Return the status of an answer or of a refusal."""
        try:
            return self(*arguments, **facts).status
        except AdminRefusal as refusal:
            return refusal.answer.status


@pytest.mark.parametrize("path", PATHS)
def test_what_can_be_read(path: str) -> None:
    """Each path answers GET and HEAD, and nothing else."""
    ask = Asked(running())
    local = {"is_local": path == "/config"}
    assert ask.status(path, **local) == ask.status(path, "HEAD", **local) == 200
    assert ask.status(path, "POST", is_local=True) == 405


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name: str) -> None:
    """A command is done for POST over the Unix socket, and for nobody else."""
    ask = Asked(running())
    assert ask.status(f"/{name}", "POST") == 403
    assert ask.status(f"/{name}", "GET", is_local=True) == 405
    assert ask.commands == []
    assert ask.status(f"/{name}", "POST", is_local=True) == 202
    assert ask.commands == [name]


def test_a_command_that_is_refused() -> None:
    """Whoever asks is told why nothing is done."""
    ask = Asked(running())
    ask.refused = "edge.toml:7: no such key"
    with pytest.raises(AdminRefusal) as caught:
        ask("/reload", "POST", is_local=True)
    assert caught.value.answer.status == 409
    assert caught.value.answer.body == {"error": "edge.toml:7: no such key"}


@pytest.mark.parametrize(("name", "status"), [("roll", 409), ("reload", 409), ("drain", 202)])
def test_commands_of_a_server_that_stops(name: str, status: int) -> None:
    """Only the end can be asked for again."""
    assert Asked(running(is_stopping=True)).status(f"/{name}", "POST", is_local=True) == status


@pytest.mark.parametrize("path", ["/", "/metrics/", "/status.json", "//live", "/Roll", "/../live"])
def test_other_paths(path: str) -> None:
    """There is nothing else."""
    assert Asked(running()).status(path) == 404


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, None),
        ({"is_stopping": True}, "drains"),
        ({"has_started": False}, "2 of 2 workers"),
        ({"workers": (worker(1, "leaving"),)}, "no worker serves"),
        (
            {"has_started": False, "workers": (worker(1, "starting", waits_for="the import"),)},
            "worker 1 waits for the import",
        ),
    ],
    ids=["ready", "drains", "starts", "nobody", "waits"],
)
def test_readiness(facts: dict[str, Any], why: str | None) -> None:
    """It is ready while it serves; whoever is known hears why it is not."""
    ask = Asked(running(**facts))
    answer = ask("/ready")
    assert answer.status == (503 if why else 200)
    assert answer.body["ready"] == (why is None)
    assert (why or "") in " ".join(answer.body["why"])
    assert ask("/ready", is_known=False).body == {"ready": why is None}
    assert ask("/live").status == 200


def test_status() -> None:
    """The status says in JSON what the numbers and the workers say."""
    status = Asked(running())("/status").body
    assert json.loads(json.dumps(status)) == status
    assert status["requests_total"] == {"200": 106, "404": 2}
    assert status["connections"] == 4
    assert status["certificates"][0]["days_left"] == 12.5
    assert status["policy"] == ["client address: X-Forwarded-For of trusted proxies 10.0.0.0/8"]
    assert status["waiting_for"][0] == "GET /sse 40 s"
    assert [each["worker"] for each in status["workers"]] == [1, 2]
    assert status["workers"][1]["loop_lag_s"] == 7.5


def test_status_of_a_server_that_has_said_nothing() -> None:
    """Before a worker tells of itself there is what its parent knows."""
    status = Asked(ServerReport(wanted=2))("/status").body
    assert status["policy"] == list(FACTS.policy)
    assert status["workers"] == []
    assert not status["ready"]


def test_the_page() -> None:
    """A browser gets a page, in which nothing that a stranger wrote is more than text."""
    answer = Asked(running())("/status", accept="text/html,*/*;q=0.8")
    assert answer.content_type == "text/html; charset=utf-8"
    page = answer.body.decode("ascii")
    for text in ("ready", "GET /sse 40 s", "12 days", "shop.main:app", "1 d 1 h", "64 MiB"):
        assert text in page
    assert "<script" not in page
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"<\w[^>]*\s(on\w+|src|href)=", page)


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"null", b'{"policy": 3, "waiting": [1, {}], "certificates": [7]}', b"{", b"\xff"],
    ids=["nothing", "list", "null", "odd", "half", "binary"],
)
def test_a_worker_that_says_nonsense(text: bytes) -> None:
    """An application that has written over its row spoils only what it says."""
    row = row_of({})
    row.write_text(text)
    ask = Asked(running(workers=(worker(1, row=row),), rows=(row,)))
    render_answer(ask("/status"))
    render_answer(ask("/status", accept="text/html"))
    assert ask.status("/metrics") == 200


def test_the_configuration_in_force() -> None:
    """It is told over the Unix socket alone: it names files and addresses."""
    ask = Asked(running())
    assert ask("/config", is_local=True).body == {"lines": ["[process]"]}
    assert ask.status("/config") == 403
