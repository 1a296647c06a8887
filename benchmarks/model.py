"""The nouns of a benchmark: servers, workloads, and the suites that put them side by side.

Decides only what an entry of the tables says. It must not know how anything is started or measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUESTS = HERE / "requests"
SERVERS = HERE / "servers"

PLAIN_ANSWER = b"Hello, world!"
CLIENT_TARGET = "/client"  # every server that parses answers here with the address it resolved


class BenchmarkError(Exception):
    """A measurement that cannot be trusted, or not be made; the message says why."""


@dataclass(frozen=True)
class Server:
    """One script under `servers/` with the options that make it this entry.

    A script takes `PORT` and the options of `servers/common.py`, serves on 127.0.0.1, and answers
    every target with 13 bytes of text/plain (or `--answer-bytes` of them), `/client` with the
    address that it takes for the client's.
    """

    name: str
    script: str
    about: str
    options: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    program: str | None = None
    parses: bool = True


@dataclass(frozen=True)
class Workload:
    """One kind of request, sent over keep-alive connections."""

    name: str
    about: str
    request: str
    proxied: bool = False
    varied: bool = False
    body_bytes: int = 0
    answer_bytes: int = len(PLAIN_ANSWER)
    connections: int = 64

    def template(self) -> bytes:
        """Return the head as it stands in its file, placeholders and all."""
        return (REQUESTS / f"{self.request}.txt").read_bytes()

    def settings(self) -> tuple[str, ...]:
        """Return the options that make a server ready for this workload."""
        options: tuple[str, ...] = ("--answer-bytes", str(self.answer_bytes))
        if self.body_bytes:
            options += ("--request-bytes", str(len(self.template()) + self.body_bytes))
        if self.proxied:
            options += ("--proxied",)
        return options


@dataclass(frozen=True)
class Target:
    """What the project promised: `server` costs at most `limit` times `reference`."""

    workload: str
    server: str
    reference: str
    limit: float


@dataclass(frozen=True)
class Suite:
    """Workloads and servers that are measured in the same interleaved rounds.

    The first of `references` is the baseline; each gets a column of ratios in the table.
    `environment` is added to that of every server.
    """

    name: str
    title: str
    servers: tuple[Server, ...]
    workloads: tuple[Workload, ...]
    references: tuple[str, ...]
    targets: tuple[Target, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
