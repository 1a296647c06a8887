"""The plan of `serve`: everything that its flags decided, in one value.

Decides nothing itself: each group of flags (`cli/flags/`) writes here what was asked for,
`prepare.py` builds what that takes, and `worker.py` and `supervisor.py` carry it out. It must not
know a flag's name.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from edgeserver.config.bind import Bind
from edgeserver.config.model import setting

if TYPE_CHECKING:
    from edgeserver.config.effective import Effective
    from edgeserver.proxyheaders import TrustPolicy
    from edgeserver.tls import TLSContexts

__all__ = [
    "HTTP2_MODES",
    "AccessRequest",
    "AuditRequest",
    "Configuration",
    "EchoRequest",
    "Hook",
    "LoggingRequest",
    "PlannedListener",
    "ServePlan",
    "TLSRequest",
]

SHUTDOWN_TIMEOUT_S: float = setting("shutdown-timeout").default
"""The longest that adapters take by default to stop an application."""

KILL_GRACE_S = 1.0
"""How much longer than all its time limits a worker may take before it is killed."""

_CHANGEABLE = (
    "trust",
    "tls_request",
    "audit",
    "access",
    "logging",
    "workers",
    "start_timeout_s",
    "worker_timeout_s",
    "max_lifetime_s",
    "max_memory",
    "graceful_timeout_s",
    "drain_idle_s",
    "drain_delay_s",
    "effective",
    "spell",
)
"""What `take_over` takes, beside the options of the server and what listeners have of their own."""

_BUILT = ("trust", "audit_log")
"""Options of the server that are built when a plan is prepared."""

Hook = Callable[[Any], Awaitable[None] | None]
"""Called with the server, in the process that serves; it may be a coroutine function."""


@dataclass(frozen=True, kw_only=True)
class TLSRequest:
    """Which TLS https listeners are to have.

    Args:
        options: An `ssl_options` dict, without what is still to be read or made.
        password_file: The file with the key's password.
        development: Whether a certificate for development is to be made where it is missing.
    """

    options: Mapping[str, Any]
    password_file: str | None = None
    development: bool = False


@dataclass(frozen=True, kw_only=True)
class AuditRequest:
    """Which audit log there is to be.

    Args:
        path: The file that is appended to.
        mode: Which requests get a line.
        sample: The share of them with mode `"sample"`.
    """

    path: str
    mode: Literal["all", "findings", "sample"]
    sample: float = 0.01


@dataclass(frozen=True, kw_only=True)
class EchoRequest:
    """Which echo for probes there is to be.

    Args:
        path: Where it answers.
        token_file: The file with its secret.
    """

    path: str
    token_file: str


class Configuration(Protocol):
    """What a plan is made of, and can be made of again.

    Attributes:
        path: The configuration file, None without one.
    """

    path: str | None

    def load(self) -> bytes | None:
        """Read the file; None where there is none.

        Raises:
            ConfigurationError: It cannot be read.
        """
        ...

    def plan(self, content: bytes | None) -> ServePlan:
        """Return the plan that `content` makes with all else that was said.

        Raises:
            ConfigurationError: Something is wrong.
        """
        ...


def _as_it_is(message: str) -> str:
    return message


@dataclass(frozen=True, kw_only=True)
class AccessRequest:
    """Which access log there is to be.

    Args:
        target: The file that is appended to, or `"-"` for standard output.
        format: `"text"`, `"json"` or `"combined"`.
        sample: The share of unremarkable requests that have a line.
        is_asked: Whether somebody asked for it: Tornado applications write one themselves.
    """

    target: str = "-"
    format: str = "text"
    sample: float = 1.0
    is_asked: bool = False

    @property
    def takes_stdout(self) -> bool:
        """Whether nothing else may go to standard output."""
        return self.target == "-" and self.format == "json"


@dataclass(frozen=True, kw_only=True)
class LoggingRequest:
    """How what is said on standard error is to look.

    Args:
        format: `"text"` or `"json"`.
        level: The least level that the server's own lines have, such as `"INFO"`.
        config: A file for `logging.config.dictConfig`, or None.
        is_asked: Whether somebody asked for the format: it then goes before what the application
            has set up.
        has_level: Whether somebody asked for the level.
    """

    format: str = "text"
    level: str = "INFO"
    config: str | None = None
    is_asked: bool = False
    has_level: bool = False

    @property
    def handler_options(self) -> dict[str, Any]:
        """The keyword arguments of `ErrorLog` that say so."""
        return {
            "format": self.format,
            "level": self.level,
            "is_asked": self.is_asked,
            "has_level": self.has_level,
        }


@dataclass(kw_only=True)
class PlannedListener:
    """One `--bind` or `[[listener]]`, and the sockets that it became.

    Args:
        bind: What the flag said.
        is_tls: Whether connections start with TLS.
        http2: Whether HTTP/2 is spoken: `"on"`, `"off"` or `"only"`.
        tls_request: The TLS that it has of its own; None for that of all.
        trust_values: What was said of proxies for it alone, by the setting's key; None for what was
            said for all.
        spell: Puts a complaint about its settings into the words in which they were said.
        tls: Its own contexts, once prepared, as those of the plan.
        trust: Its own policy, once prepared.
        sockets: The listening sockets, once opened.
    """

    bind: Bind
    is_tls: bool
    http2: str = "off"
    tls_request: TLSRequest | None = None
    trust_values: Mapping[str, Any] | None = None
    spell: Callable[[str], str] = _as_it_is
    tls: dict[str, TLSContexts] | None = None
    trust: TrustPolicy | None = None
    sockets: list[socket.socket] = field(default_factory=list)


HTTP2_MODES: Final[dict[str, bool | str]] = {"on": True, "off": False, "only": "only"}
"""What a server's `http2` is for each of a listener's."""


@dataclass(kw_only=True)
class ServePlan:
    """Everything that `serve` needs to know to start.

    Args:
        target: `MODULE:ATTR` of the application.
        app: The application itself, where a program has it; None to import `target`.
        app_dir: The application's directory.
        interface: `"auto"`, or the kind of application that the user says it is.
        factory: Whether to call the attribute first.
        adapter_options: What the application's adapter is given.
        spell_option: Writes an adapter's option as its user has.
        server_options: Keyword arguments of `HTTPServer`; those that have to be built (trust, the
            audit log) are added when the plan is prepared.
        trust: What was said of proxies, by the setting's key; see `config.trust.build_policy`.
        audit: The audit log that is wanted.
        echo: The echo for probes that is wanted.
        gate: Puts something before the application's delegate; None where nothing is.
        tls_request: The TLS that is wanted.
        listeners: Where to listen.
        redirects: Plain listeners that only send clients to https.
        redirect_port: Where they send to: the port of https as clients see it; None for the one
            that is listened on.
        backlog: The length of the queue of connections not yet accepted.
        reuse_port: Whether other processes may listen on the same port.
        tls: The contexts of https listeners, which all workers share, once prepared, by what is
            spoken on these; empty without TLS.
        workers: How many processes serve.
        single_process: Whether the first process serves itself, and nothing watches it.
        start_timeout_s: How long a worker may take to start; 0 for no limit.
        worker_timeout_s: How long its event loop may be held by one call; 0 for no limit.
        slow_loop_s: From when on it is logged that it was; 0 for never.
        max_requests: After about how many requests a worker is renewed; 0 for never.
        max_lifetime_s: After about how long a worker is renewed; 0 for never.
        max_memory: With how many bytes of memory a worker is renewed; 0 for never.
        graceful_timeout_s: How long requests in flight may take after a stop.
        drain_idle_s: How long a connection may be silent after a stop before it is closed.
        drain_delay_s: How long connections are accepted on after a signal to stop.
        reloads: Whether a source that changes has the workers replaced.
        admin: Where operators are answered.
        admin_token_file: The file with what they show where that is not a Unix socket.
        access: The access log that is wanted, or None.
        logging: How what is said on standard error looks.
        logging_config: What stood in its file, once read; None without one.
        loop: Which event loop: `"auto"`, `"uvloop"` or `"asyncio"`.
        debug: Whether errors show their traceback.
        coloured: Whether standard output is a terminal that has colours.
        began_s: When the start began, on the monotonic clock.
        effective: What all of this was made of; None where a program has made it.
        configuration: Reads that again; None where a program has made it.
        content: The configuration file that it was made of, None without one.
        spell: Puts a complaint that names flags into the words in which they were said.
        notes: Lines to print at start, after the addresses.
        on_start: Called before the first connection is accepted.
        on_reload: Called on SIGHUP.
        on_reopen: Called on SIGUSR1, when log files were renamed.
        on_stop: Called after the last connection has ended.
        on_abort: Called instead where the process is to end at once; they may take a second.
    """

    target: str
    app: Any = None
    app_dir: str = "."
    interface: str = "auto"
    factory: bool = False
    adapter_options: dict[str, Any] = field(default_factory=dict)
    spell_option: Callable[[str], str] = repr
    server_options: dict[str, Any] = field(default_factory=dict)
    trust: Mapping[str, Any] = field(default_factory=dict)
    audit: AuditRequest | None = None
    echo: EchoRequest | None = None
    gate: Callable[[Any], Any] | None = None
    tls_request: TLSRequest | None = None
    listeners: list[PlannedListener] = field(default_factory=list)
    redirects: list[PlannedListener] = field(default_factory=list)
    redirect_port: int | None = None
    backlog: int = 128
    reuse_port: bool = False
    tls: dict[str, TLSContexts] = field(default_factory=dict)
    workers: int = 1
    single_process: bool = False
    start_timeout_s: float = 60.0
    worker_timeout_s: float = 60.0
    slow_loop_s: float = 0.0
    max_requests: int = 0
    max_lifetime_s: float = 0.0
    max_memory: int = 0
    graceful_timeout_s: float = 30.0
    drain_idle_s: float = 1.0
    drain_delay_s: float = 0.0
    reloads: bool = False
    admin: list[Bind] = field(default_factory=list)
    admin_token_file: str | None = None
    access: AccessRequest | None = None
    logging: LoggingRequest = field(default_factory=LoggingRequest)
    logging_config: dict[str, Any] | None = None
    loop: str = "auto"
    debug: bool = False
    coloured: bool = False
    began_s: float = field(default_factory=time.monotonic)
    effective: Effective | None = None
    configuration: Configuration | None = None
    content: bytes | None = None
    spell: Callable[[str], str] = _as_it_is
    notes: list[str] = field(default_factory=list)
    on_start: list[Hook] = field(default_factory=list)
    on_reload: list[Hook] = field(default_factory=list)
    on_reopen: list[Hook] = field(default_factory=list)
    on_stop: list[Hook] = field(default_factory=list)
    on_abort: list[Callable[[], object]] = field(default_factory=list)

    @property
    def stop_timeout_s(self) -> float:
        """How long a worker may take to stop before it is killed.

        Requests have the graceful timeout; then an application's tasks, and again its own
        shutdown, have the shutdown timeout.
        """
        shutdown_s: float = self.adapter_options.get("shutdown_timeout", SHUTDOWN_TIMEOUT_S)
        return self.graceful_timeout_s + 2 * shutdown_s + KILL_GRACE_S

    def take_over(self, other: ServePlan) -> None:
        """Take over from a plan what a running process can change, once that is in force.

        Args:
            other: The plan; its listeners are at the same addresses in the same order.
        """
        for name in _CHANGEABLE:
            setattr(self, name, getattr(other, name))
        built = {name: each for name, each in self.server_options.items() if name in _BUILT}
        self.server_options = {**other.server_options, **built}
        for mine, others in zip(self.listeners, other.listeners, strict=True):
            mine.tls_request, mine.trust_values = others.tls_request, others.trust_values
            mine.spell = others.spell
