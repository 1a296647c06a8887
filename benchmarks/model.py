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
# Names the directory of the certificates to the servers, see `servers/common.py`.
CERTIFICATES_VARIABLE = "BENCH_CERTIFICATES"


class BenchmarkError(Exception):
    """A measurement that cannot be trusted, or not be made; the message says why."""


@dataclass(frozen=True)
class Server:
    """One script under `servers/` with the options that make it this entry.

    A script takes `PORT` and the options of `servers/common.py`, serves on 127.0.0.1, and answers
    every target with 13 bytes of text/plain (or `--answer-bytes` of them), `/client` with the
    address that it takes for the client's. `resolves` says whether it reads that from the head,
    where it does so whatever the workload is; `compiled`, whether it runs what `make wheel` makes;
    `home`, the directory whose edgeserver it runs, where that is another than this checkout's.
    """

    name: str
    script: str
    about: str
    options: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    program: str | None = None
    parses: bool = True
    resolves: bool | None = None
    compiled: bool = False
    home: str = ""


@dataclass(frozen=True)
class Workload:
    """One kind of request, sent over keep-alive connections unless it `closes` them.

    `loader` is wrk or a module of `benchmarks.loaders`; `unit` is what is counted: the CPU time is
    quoted for one of them. `app` is which of the applications under `servers/` is served. Where it
    is `http2`, the head in the file is sent as that, `streams` of them at a time on a connection;
    where there is a `total`, so many in all, however long that takes.
    """

    name: str
    about: str
    request: str
    proxied: bool = False
    varied: bool = False
    body_bytes: int = 0
    answer_bytes: int = len(PLAIN_ANSWER)
    connections: int = 64
    tls: bool = False
    closes: bool = False
    app: str = "app"
    loader: str = "wrk"
    loader_options: tuple[str, ...] = ()
    unit: str = "request"
    http2: bool = False
    streams: int = 1
    total: int = 0

    @property
    def path(self) -> Path:
        return REQUESTS / f"{self.request}.txt"

    def template(self) -> bytes:
        """Return the head as it stands in its file, placeholders and all."""
        return self.path.read_bytes()

    def settings(self) -> tuple[str, ...]:
        """Return the options that make a server ready for this workload."""
        options: tuple[str, ...] = ("--answer-bytes", str(self.answer_bytes))
        if self.body_bytes:
            options += ("--request-bytes", str(len(self.template()) + self.body_bytes))
        if self.proxied:
            options += ("--proxied",)
        if self.tls:
            options += ("--tls",)
        if self.closes:
            options += ("--closes",)
        if self.http2:
            options += ("--http2",)
        if self.app != "app":
            options += ("--app", self.app)
        return options


@dataclass(frozen=True)
class Target:
    """What the project promised: `server` costs at most `limit` times `reference`.

    Where the promise depends on the version of Python, it holds from `since` on and `before` that.
    """

    workload: str
    server: str
    reference: str
    limit: float
    since: tuple[int, int] = (3, 0)
    before: tuple[int, int] = (4, 0)


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


@dataclass(frozen=True)
class IdleCase:
    """Memory of connections that stay open after one request, from `few` of them to `many`."""

    name: str
    title: str
    servers: tuple[Server, ...]
    workload: Workload
    limit_kib: float
    few: int = 500
    many: int = 3000
    quick: tuple[int, int] = (100, 600)


@dataclass(frozen=True)
class Counted:
    """What is counted in process, without a network, and of which workload.

    `options` for `script` are added to the workload's own; `unit` is "instructions" of a request,
    or of a connection where each request `closes` its own, or "bytecodes" of a connection.
    """

    name: str
    about: str
    workload: Workload
    options: tuple[str, ...] = ()
    script: str = "serve_edgeserver"
    unit: str = "instructions"
