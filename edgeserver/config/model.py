"""The table of settings: each with its name, table, kind, default, unit and help, once.

Decides what can be set and what is in force where nobody says anything. The command's flags are
made from it, the server's constructor takes its defaults from it, and the reference shows it. It is
data: it must not know how a value comes in, nor what is done with it, and costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = [
    "BELONG_TOGETHER",
    "DEFAULT_BIND",
    "DEV_DIRECTORY",
    "SETTINGS",
    "TABLES",
    "Applies",
    "Kind",
    "Setting",
    "Taker",
    "library_default",
    "listener_settings",
    "setting",
    "settings_of",
]

KIB = 1024
MIB = 1024 * KIB

DEFAULT_BIND = "127.0.0.1:8000"
"""Where `serve` listens unless it is told."""

DEV_DIRECTORY = "certs"
"""Where the certificates for development are made."""

Kind = Literal[
    "text",
    "file",
    "directory",
    "address",
    "choice",
    "number",  # a whole number
    "bytes",
    "seconds",
    "share",  # a number above 0, 1 at most
    "switch",  # said or not
    "toggle",  # said either way, or not
    "application",  # what is served, an argument of the command and not a flag
    "rate",  # such as 20/s,burst=40
    "output",  # a file to write to, - for standard output, or off
]
"""How a value is written and checked."""

Applies = Literal["reload", "roll", "restart"]
"""What puts a changed value in force: SIGHUP, SIGUSR2 (new workers), or only a new start."""

Taker = Literal["serve", "server", "adapter", "trust", "tls", "audit"]
"""Whose setting it is: the command's alone, or an argument of `HTTPServer`, of the adapter of an
application's kind, of `TrustPolicy`, of the `ssl_options` dict, or of `AuditLog`."""

TABLES = {
    "application": "Application",
    "listening": "Listening",
    "tls": "TLS",
    "proxies": "Behind a proxy",
    "audit": "Audit",
    "admin": "Operators",
    "limits": "Limits (of one worker)",
    "logs": "Logs",
    "process": "Process",
}
"""The tables of settings, in the order in which people read them, and the title of each."""

_METAVARS = {
    "file": "FILE",
    "directory": "DIR",
    "bytes": "BYTES",
    "seconds": "SECONDS",
    "output": "-|FILE|off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that can be set.

    Args:
        name: What it is called everywhere, in kebab-case: `max-body-size` is the flag
            `--max-body-size`.
        table: Which of `TABLES` it stands in.
        kind: How its value is written.
        help: What it says, as a sentence for a person who reads `--help`.
        taker: Whose argument it becomes.
        argument: The name of that argument; the setting's own, with underscores, if empty.
        default: What is in force in a program that does not say it; None for nothing, or for what
            `shown` describes.
        serve_default: What is in force with `serve`, where that differs.
        shown: How the default is written for people where it is no plain value.
        metavar: What stands for the value in `--help`.
        choices: The values that there are, for a choice; in capitals, too.
        aliases: How other servers write some of them.
        least: The smallest value; for seconds, 0 says that no time at all is one.
        most: The largest value.
        many: Whether it may be said more than once.
        reloads: Whether SIGHUP reads again what it names.
        applies: What puts a changed value in force.
        short: Its second spelling on the command line, such as `-b`.
    """

    name: str
    table: str
    kind: Kind
    help: str
    taker: Taker = "serve"
    argument: str = ""
    default: Any = None
    serve_default: Any = None
    shown: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    least: int | None = None
    most: int | None = None
    many: bool = False
    reloads: bool = False
    applies: Applies = "roll"
    short: str = ""

    @property
    def key(self) -> str:
        """The name as an identifier, such as `max_body_size`."""
        return self.name.replace("-", "_")

    @property
    def flag(self) -> str:
        """The flag, such as `--max-body-size`."""
        return f"--{self.name}"

    @property
    def has_flag(self) -> bool:
        """Whether it is a flag of the command, and not its argument."""
        return self.kind != "application"

    @property
    def variable(self) -> str:
        """The variable of the environment, such as `EDGESERVER_MAX_BODY_SIZE`."""
        return f"EDGESERVER_{self.key.upper()}"

    @property
    def parameter(self) -> str:
        """The argument of its taker that it becomes; empty where it is the command's alone."""
        return "" if self.taker == "serve" else self.argument or self.key

    @property
    def in_force(self) -> Any:
        """What `serve` has where nobody says anything."""
        return self.default if self.serve_default is None else self.serve_default

    @property
    def placeholder(self) -> str:
        """What stands for the value in `--help`; empty where there is none, or only choices."""
        return self.metavar or _METAVARS.get(self.kind, "")

    def value_in(self, given: Mapping[str, Any]) -> Any:
        """Return what `given` says by the setting's key, else what `serve` has by default."""
        value = given[self.key]
        return self.in_force if value is None else value

    def write(self, value: object) -> str:
        """Return `value` as a person writes it: `64K`, `2.5`, `on`; None is an empty text."""
        if value is None:
            return ""
        if isinstance(value, bool):
            return "on" if value else "off"
        if self.kind == "bytes" and isinstance(value, int):
            for unit, size in (("G", 1024 * MIB), ("M", MIB), ("K", KIB)):
                if value and value % size == 0:
                    return f"{value // size}{unit}"
        return f"{value:g}" if isinstance(value, float) else str(value)

    def written_default(self, *, serve: bool) -> str:
        """Return what is in force by default, as a person writes it; empty where nothing is."""
        value = self.in_force if serve else self.default
        if value is None or (self.kind == "switch" and not value):
            return self.shown
        return self.write(value)


_APPLICATION = (
    Setting(
        name="app",
        table="application",
        kind="application",
        metavar="MODULE:ATTR",
        help="The application, where the command line does not name it.",
    ),
    Setting(
        name="app-dir",
        table="application",
        kind="directory",
        default=".",
        help="Where the application's module is looked for.",
    ),
    Setting(
        name="interface",
        table="application",
        kind="choice",
        choices=("auto", "callback", "asgi", "wsgi", "tornado"),
        default="auto",
        help="What the application is; auto looks at the object.",
    ),
    Setting(
        name="factory",
        table="application",
        kind="switch",
        help="ATTR is a function that returns the application.",
    ),
    Setting(
        name="root-path",
        table="application",
        kind="text",
        taker="adapter",
        default="",
        metavar="PATH",
        help="ASGI, WSGI: the path under which the application stands.",
    ),
    Setting(
        name="threads",
        table="application",
        kind="number",
        taker="adapter",
        default=8,
        metavar="N",
        least=1,
        most=1024,
        help="WSGI: requests that it works on at once.",
    ),
    Setting(
        name="wsgi-buffering",
        table="application",
        kind="toggle",
        taker="adapter",
        default=True,
        help="WSGI: whether a body of unknown length is collected, so that the application is told"
        " of its length; else it is streamed.",
    ),
    Setting(
        name="lifespan",
        table="application",
        kind="choice",
        taker="adapter",
        choices=("auto", "on", "off"),
        default="auto",
        help="ASGI: whether it is told of start and stop.",
    ),
    Setting(
        name="shutdown-timeout",
        table="application",
        kind="seconds",
        taker="adapter",
        default=10.0,
        least=0,
        help="ASGI: seconds for its tasks to end, and again for its own shutdown.",
    ),
    Setting(
        name="ws-max-size",
        table="application",
        kind="bytes",
        taker="adapter",
        default=1 * MIB,
        least=1,
        help="ASGI: most bytes of a WebSocket message.",
    ),
    Setting(
        name="ws-ping-interval",
        table="application",
        kind="seconds",
        taker="adapter",
        default=20.0,
        help="ASGI: seconds between WebSocket pings.",
    ),
    Setting(
        name="ws-ping-timeout",
        table="application",
        kind="seconds",
        taker="adapter",
        default=20.0,
        help="ASGI: seconds for a WebSocket pong.",
    ),
    Setting(
        name="ws-per-message-deflate",
        table="application",
        kind="toggle",
        taker="adapter",
        default=False,
        help="ASGI: whether WebSockets may be compressed.",
    ),
)

_LISTENING = (
    Setting(
        name="bind",
        table="listening",
        kind="address",
        short="-b",
        default=DEFAULT_BIND,
        metavar="ADDRESS",
        many=True,
        help=(
            "[http://|https://]HOST:PORT, unix:PATH, fd:N or systemd:NAME, with ,proxy=v1|v2|any "
            "where a PROXY prelude comes first, and ,http2=on|off|only; repeatable. Without a "
            "scheme it is https where a certificate is given. --host and --port say HOST:PORT, too."
        ),
    ),
    Setting(
        name="http2",
        table="listening",
        kind="toggle",
        taker="server",
        default=True,
        help="Speak HTTP/2 with clients that choose it: over TLS by ALPN, without by prior "
        "knowledge.",
    ),
    Setting(
        name="http-redirect",
        table="listening",
        kind="text",
        metavar="PORT[=PUBLIC]",
        help="A plain port, on each host of the https ones, that sends clients there; to the port "
        "PUBLIC where clients see another one than is listened on, as with containers.",
    ),
    Setting(
        name="backlog",
        table="listening",
        kind="number",
        applies="restart",
        default=128,
        metavar="N",
        least=1,
        most=65535,
        help="Connections that may wait to be accepted.",
    ),
    Setting(
        name="reuse-port",
        table="listening",
        kind="switch",
        applies="restart",
        help="Let other processes listen on the same port.",
    ),
)

_TLS = (
    Setting(
        name="certfile",
        table="tls",
        kind="file",
        applies="reload",
        taker="tls",
        reloads=True,
        help="The certificate, followed by its chain (PEM).",
    ),
    Setting(
        name="keyfile",
        table="tls",
        kind="file",
        applies="reload",
        taker="tls",
        reloads=True,
        help="Its private key (PEM); not needed if --certfile holds it.",
    ),
    Setting(
        name="key-password-file",
        table="tls",
        kind="file",
        applies="reload",
        taker="tls",
        argument="password",
        reloads=True,
        help="The password of that key, in its first line.",
    ),
    Setting(
        name="ca-certs",
        table="tls",
        kind="file",
        applies="reload",
        taker="tls",
        reloads=True,
        help="The CAs whose client certificates count (PEM).",
    ),
    Setting(
        name="cert-reqs",
        table="tls",
        kind="choice",
        applies="reload",
        taker="tls",
        choices=("none", "optional", "required"),
        aliases=(("0", "none"), ("1", "optional"), ("2", "required")),
        shown="none",
        help="Whether clients show a certificate.",
    ),
    Setting(
        name="crl",
        table="tls",
        kind="file",
        applies="reload",
        taker="tls",
        reloads=True,
        help="Client certificates that were revoked (PEM or DER).",
    ),
    Setting(
        name="ciphers",
        table="tls",
        kind="text",
        applies="reload",
        taker="tls",
        metavar="LIST",
        help="OpenSSL's cipher list, for TLS 1.2.",
    ),
    Setting(
        name="tls-policy",
        table="tls",
        kind="choice",
        applies="reload",
        taker="tls",
        argument="policy",
        choices=("default", "modern"),
        shown="TLS 1.2 and 1.3",
        help="modern is TLS 1.3 only.",
    ),
    Setting(
        name="tickets",
        table="tls",
        kind="number",
        applies="reload",
        taker="tls",
        default=2,
        metavar="N",
        least=0,
        most=4,
        help="Session tickets that a full handshake of TLS 1.3 gives.",
    ),
    Setting(
        name="tls-host",
        table="tls",
        kind="text",
        applies="reload",
        taker="tls",
        argument="hosts",
        metavar="NAME=CERT:KEY",
        many=True,
        reloads=True,
        help="Another certificate for clients that ask for NAME; repeatable.",
    ),
    Setting(
        name="handshake-timeout",
        table="tls",
        kind="seconds",
        applies="reload",
        taker="tls",
        default=10.0,
        help="Seconds for a handshake.",
    ),
    Setting(
        name="hsts",
        table="tls",
        kind="number",
        taker="server",
        argument="strict_transport_security",
        metavar="SECONDS",
        least=0,
        help="Tell clients over TLS to come back over TLS only, for so long (RFC 6797).",
    ),
    Setting(
        name="dev-tls",
        table="tls",
        kind="switch",
        help=f"A development certificate for localhost, made under {DEV_DIRECTORY}/.",
    ),
)

_PROXIES = (
    Setting(
        name="trust",
        table="proxies",
        kind="text",
        applies="reload",
        taker="trust",
        argument="proxies",
        metavar="CIDR[,...]",
        many=True,
        help="Proxies to believe: addresses, ranges, 'unix:', 'loopback', 'private'.",
    ),
    Setting(
        name="trust-file",
        table="proxies",
        kind="file",
        applies="reload",
        taker="trust",
        argument="proxies",
        many=True,
        reloads=True,
        help="A file of proxies to believe: one range a line, '#' comments.",
    ),
    Setting(
        name="trust-file-max-age",
        table="proxies",
        kind="number",
        metavar="DAYS",
        least=1,
        most=36500,
        help="Warn where a --trust-file is older: clouds and CDNs change their ranges.",
    ),
    Setting(
        name="source",
        table="proxies",
        kind="text",
        applies="reload",
        taker="trust",
        default="x-forwarded-for",
        metavar="HEADER",
        help=(
            "The header that names the client: x-forwarded-for, forwarded, or one that holds a "
            "single address."
        ),
    ),
    Setting(
        name="proto-header",
        table="proxies",
        kind="text",
        applies="reload",
        taker="trust",
        argument="proto",
        default="x-forwarded-proto",
        metavar="HEADER",
        help="The header that names the scheme, or 'none'.",
    ),
    Setting(
        name="max-hops",
        table="proxies",
        kind="number",
        applies="reload",
        taker="trust",
        default=20,
        metavar="N",
        least=1,
        help="How many entries of the source to examine.",
    ),
    Setting(
        name="unlisted",
        table="proxies",
        kind="choice",
        applies="reload",
        taker="trust",
        choices=("strip", "keep"),
        default="strip",
        metavar="strip|keep",
        help="Whether applications see forwarding headers of unlisted peers.",
    ),
    Setting(
        name="undeclared",
        table="proxies",
        kind="choice",
        applies="reload",
        taker="trust",
        choices=("strip", "keep"),
        default="strip",
        metavar="strip|keep",
        help="Whether they see those of proxies beside the source and the scheme header.",
    ),
    Setting(
        name="xheaders",
        table="proxies",
        kind="switch",
        applies="reload",
        taker="server",
        help="Tornado's rules: believe X-Real-Ip, X-Forwarded-For and the like of any peer.",
    ),
    Setting(
        name="trusted-downstream",
        table="proxies",
        kind="text",
        applies="reload",
        taker="server",
        metavar="IP|CIDR[,...]",
        many=True,
        help="With --xheaders: proxies to skip in X-Forwarded-For, from the right.",
    ),
    Setting(
        name="protocol",
        table="proxies",
        kind="choice",
        taker="server",
        choices=("http", "https"),
        help="The scheme that clients used, where no header says so.",
    ),
)

_AUDIT = (
    Setting(
        name="audit-log",
        table="audit",
        kind="file",
        applies="reload",
        taker="audit",
        argument="target",
        reloads=True,
        help="One JSON line for each request: who its client is, and why.",
    ),
    Setting(
        name="audit-findings",
        table="audit",
        kind="switch",
        applies="reload",
        taker="audit",
        argument="mode",
        help="Only requests with findings, such as headers that contradict each other.",
    ),
    Setting(
        name="audit-sample",
        table="audit",
        kind="share",
        applies="reload",
        taker="audit",
        argument="sample",
        metavar="SHARE",
        help="Only a share of the requests, such as 0.01.",
    ),
    Setting(
        name="audit-echo",
        table="audit",
        kind="text",
        metavar="PATH",
        help="Where `edgeserver audit probe` is told what has arrived of it, such as "
        "/.well-known/edgeserver-audit; 404 for everybody else.",
    ),
    Setting(
        name="audit-token-file",
        table="audit",
        kind="file",
        reloads=True,
        help="The secret that a probe and its answer are proved with, in its first line.",
    ),
)

_ADMIN = (
    Setting(
        name="admin",
        table="admin",
        kind="text",
        applies="restart",
        metavar="ADDRESS",
        many=True,
        help="Answer operators at unix:PATH or HOST:PORT: /live, /ready, /metrics, /status, and for"
        " `edgeserver ctl`; repeatable.",
    ),
    Setting(
        name="admin-token-file",
        table="admin",
        kind="file",
        applies="restart",
        help="The token that they show where that is not a Unix socket, in its first line.",
    ),
)

_LIMITS = (
    Setting(
        name="max-header-size",
        table="limits",
        kind="bytes",
        applies="reload",
        taker="server",
        default=64 * KIB,
        least=1,
        help="Bytes of a request's head; more is 431.",
    ),
    Setting(
        name="max-header-fields",
        table="limits",
        kind="number",
        applies="reload",
        taker="server",
        default=256,
        metavar="N",
        least=1,
        help="Fields of a request's head.",
    ),
    Setting(
        name="max-streams",
        table="limits",
        kind="number",
        taker="server",
        applies="reload",
        default=100,
        metavar="N",
        least=1,
        most=100_000,
        help="HTTP/2: requests of one connection at a time; one that was reset counts until the "
        "application has let it go.",
    ),
    Setting(
        name="max-resets",
        table="limits",
        kind="number",
        taker="server",
        applies="reload",
        default=200,
        metavar="N",
        least=1,
        most=1_000_000,
        help="HTTP/2: streams of one connection that are reset before their end, or refused, in a "
        "row; 20 more a second.",
    ),
    Setting(
        name="max-body-size",
        table="limits",
        kind="bytes",
        applies="reload",
        taker="server",
        default=100 * MIB,
        least=0,
        help="Bytes of a request's body; more is 413.",
    ),
    Setting(
        name="max-buffer-size",
        table="limits",
        kind="bytes",
        applies="reload",
        taker="server",
        default=100 * MIB,
        least=1,
        help="Bytes held for one connection.",
    ),
    Setting(
        name="max-held",
        table="limits",
        kind="bytes",
        applies="reload",
        taker="server",
        default=512 * MIB,
        least=1,
        help="Bytes held for all connections; then 503.",
    ),
    Setting(
        name="chunk-size",
        table="limits",
        kind="bytes",
        applies="reload",
        taker="server",
        default=64 * KIB,
        least=1,
        help="Bytes given to the application at a time.",
    ),
    Setting(
        name="idle-connection-timeout",
        table="limits",
        kind="seconds",
        applies="reload",
        taker="server",
        default=3600.0,
        serve_default=75.0,
        help="Seconds between two requests.",
    ),
    Setting(
        name="header-timeout",
        table="limits",
        kind="seconds",
        applies="reload",
        taker="server",
        default=60.0,
        help="Seconds for a head, from its first byte.",
    ),
    Setting(
        name="body-timeout",
        table="limits",
        kind="seconds",
        applies="reload",
        taker="server",
        shown="no limit",
        serve_default=300.0,
        help="Seconds for a whole body.",
    ),
    Setting(
        name="write-timeout",
        table="limits",
        kind="seconds",
        applies="reload",
        taker="server",
        default=60.0,
        help="Seconds without the client reading.",
    ),
    Setting(
        name="max-connections",
        table="limits",
        kind="number",
        applies="reload",
        taker="server",
        shown="80% of the file limit",
        metavar="N",
        least=1,
        help="Connections at a time.",
    ),
    Setting(
        name="max-connections-per-client",
        table="limits",
        kind="number",
        applies="reload",
        taker="server",
        shown="no limit",
        metavar="N",
        least=1,
        help="Connections of one client, listed proxies apart.",
    ),
    Setting(
        name="max-in-flight",
        table="limits",
        kind="number",
        applies="reload",
        taker="server",
        shown="no limit",
        metavar="N",
        least=1,
        help="Requests that are served at once; then 503.",
    ),
    Setting(
        name="client-rate",
        table="limits",
        kind="rate",
        applies="reload",
        taker="server",
        shown="no limit",
        metavar="N/s[,burst=N]",
        help="Requests of one client, as resolved, a second, minute (/m) or hour (/h); then 429.",
    ),
    Setting(
        name="client-connections",
        table="limits",
        kind="number",
        applies="reload",
        taker="server",
        shown="no limit",
        metavar="N",
        least=1,
        help="Connections of one client, as resolved; then 429.",
    ),
    Setting(
        name="decompress-request",
        table="limits",
        kind="switch",
        taker="server",
        default=False,
        help="Decode gzip bodies, up to --max-body-size.",
    ),
    Setting(
        name="no-keep-alive",
        table="limits",
        kind="switch",
        taker="server",
        default=False,
        help="One request for each connection.",
    ),
)

_LOGS = (
    Setting(
        name="access-log",
        table="logs",
        kind="output",
        applies="reload",
        default="-",
        reloads=True,
        help=(
            "Where the line for each request goes: - is standard output. A Tornado application has "
            "a log of its own, and this one where a flag asks for it."
        ),
    ),
    Setting(
        name="no-access-log",
        table="logs",
        kind="switch",
        applies="reload",
        help="The same as --access-log off.",
    ),
    Setting(
        name="access-log-format",
        table="logs",
        kind="choice",
        applies="reload",
        choices=("text", "json", "combined"),
        shown="as --log-format",
        help="How such a line looks; json moves the start lines to standard error.",
    ),
    Setting(
        name="access-log-sample",
        table="logs",
        kind="share",
        applies="reload",
        metavar="SHARE",
        help="A line for a share of the requests only, and for all errors, slow ones and those "
        "with findings.",
    ),
    Setting(
        name="request-id-header",
        table="logs",
        kind="text",
        taker="server",
        metavar="HEADER",
        help="Give each request an id, in answer and logs too: a listed proxy's of this header, "
        "else a new one; such as X-Request-ID.",
    ),
    Setting(
        name="slow-request",
        table="logs",
        kind="seconds",
        taker="server",
        applies="reload",
        help="Log what a request waits for that has run for longer than this.",
    ),
    Setting(
        name="log-format",
        table="logs",
        kind="choice",
        choices=("text", "json"),
        default="text",
        help="How the lines on standard error look, and those of the access log.",
    ),
    Setting(
        name="log-level",
        table="logs",
        kind="choice",
        applies="reload",
        choices=("debug", "info", "warning", "error", "critical"),
        aliases=(("trace", "debug"), ("warn", "warning"), ("fatal", "critical")),
        default="info",
        help="Which lines the server writes to standard error.",
    ),
    Setting(
        name="log-config",
        table="logs",
        kind="file",
        help="Python's logging for each worker, as logging.config.dictConfig takes it: TOML, or "
        "JSON where the name ends with .json.",
    ),
)

_PROCESS = (
    Setting(
        name="workers",
        table="process",
        kind="number",
        applies="reload",
        short="-w",
        default=1,
        metavar="N",
        least=1,
        most=1024,
        help="How many processes serve.",
    ),
    Setting(
        name="single-process",
        table="process",
        kind="switch",
        applies="restart",
        help="Serve in this process, which nothing watches or replaces.",
    ),
    Setting(
        name="start-timeout",
        table="process",
        kind="seconds",
        applies="reload",
        default=60.0,
        least=0,
        help="How long a worker may take to start; 0 for no limit.",
    ),
    Setting(
        name="worker-timeout",
        table="process",
        kind="seconds",
        applies="reload",
        default=60.0,
        least=0,
        help="A worker whose event loop is held for longer is replaced; 0 for never.",
    ),
    Setting(
        name="slow-loop",
        table="process",
        kind="seconds",
        help="Log where the event loop was held, if for longer than this.",
    ),
    Setting(
        name="max-requests",
        table="process",
        kind="number",
        metavar="N",
        least=1,
        help="Renew a worker after about so many requests.",
    ),
    Setting(
        name="max-lifetime",
        table="process",
        kind="seconds",
        applies="reload",
        help="Renew a worker after about so long.",
    ),
    Setting(
        name="max-memory",
        table="process",
        kind="bytes",
        applies="reload",
        help="Renew a worker that takes more memory.",
    ),
    Setting(
        name="graceful-timeout",
        table="process",
        kind="seconds",
        applies="reload",
        default=30.0,
        least=0,
        help="How long requests in flight may take after SIGTERM or SIGINT.",
    ),
    Setting(
        name="drain-idle",
        table="process",
        kind="seconds",
        applies="reload",
        default=1.0,
        least=0,
        help="How long a connection may be silent after SIGTERM before it is closed.",
    ),
    Setting(
        name="drain-delay",
        table="process",
        kind="seconds",
        applies="reload",
        default=0.0,
        least=0,
        help="How long to go on accepting after SIGTERM, so that a load balancer can look away.",
    ),
    Setting(
        name="reload",
        table="process",
        kind="switch",
        applies="restart",
        help="For development: replace the workers when a source file changes.",
    ),
    Setting(
        name="loop",
        table="process",
        kind="choice",
        choices=("auto", "uvloop", "asyncio"),
        default="auto",
        help="The event loop; auto is uvloop where it is installed.",
    ),
    Setting(
        name="debug",
        table="process",
        kind="switch",
        applies="restart",
        help="Show tracebacks of errors at start.",
    ),
)

SETTINGS: dict[str, Setting] = {
    each.name: each
    for each in (
        *_APPLICATION,
        *_LISTENING,
        *_TLS,
        *_PROXIES,
        *_AUDIT,
        *_ADMIN,
        *_LIMITS,
        *_LOGS,
        *_PROCESS,
    )
}
"""Every setting by its name, in the order of `--help`."""


BELONG_TOGETHER = (
    ("certfile", "keyfile", "key-password-file", "tls-host"),
    ("ca-certs", "cert-reqs", "crl"),
    ("trust", "trust-file"),
)
"""Settings of which a `[[listener]]` has all for itself as soon as it says one of them."""


def listener_settings() -> Iterator[Setting]:
    """Yield the settings that a `[[listener]]` can have of its own, beside its address."""
    return (each for each in SETTINGS.values() if each.taker in ("tls", "trust"))


def setting(name: str) -> Setting:
    """Return the setting `name`, such as `max-body-size`."""
    return SETTINGS[name]


def settings_of(*, table: str = "", taker: Taker | None = None) -> Iterator[Setting]:
    """Yield the settings of one table, of one taker, or of both, in the order of `--help`."""
    for each in SETTINGS.values():
        if (not table or each.table == table) and (taker is None or each.taker == taker):
            yield each


def library_default(argument: str) -> Any:
    """Return what is in force where a program does not give `argument` to `HTTPServer`."""
    for each in SETTINGS.values():
        if each.taker == "server" and each.parameter == argument:
            return each.default
    raise KeyError(argument)
