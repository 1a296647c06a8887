"""The preparation of a plan: what was asked for is read, made and opened.

Decides the order, and what is said of what cannot be had: the setting as it is typed, and the fix.
It runs once, in the process that is the parent of all workers: a TLS session resumes at whichever
answers, and a file that is open before the fork is there for a worker that is started again.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeserver.config.bind import render_bind
from edgeserver.config.model import DEV_DIRECTORY, setting, settings_of
from edgeserver.config.origins import Problem, WrongConfiguration
from edgeserver.config.trust import build_policy, describe_policy, stale_files
from edgeserver.errors import ConfigurationError, TLSConfigurationError
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.runtime.plan import (
    HTTP2_MODES,
    AuditRequest,
    EchoRequest,
    PlannedListener,
    ServePlan,
    TLSRequest,
)
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file
from edgeserver.support.loggers import gen_log

if TYPE_CHECKING:
    from edgeserver.audit.log import AuditLog
    from edgeserver.httpserver import HTTPServer
    from edgeserver.tls import TLSContexts

__all__ = [
    "check_loop",
    "load_contexts",
    "open_audit_log",
    "policy_lines",
    "policy_of",
    "prepare",
    "respelled",
]

_OPTION = re.compile(r'"([a-z_]+)"')
"""An option of the dict, as complaints write it: `"crl"`."""

_OF_HOST = re.compile(r'\bhosts\["([^"]*)"\]')
"""A host of the dict, as complaints write it: `hosts["a.example"]`."""

_DAY_S = 86400

_FILES = ("certfile", "keyfile", "ca-certs", "crl")
"""Settings whose complaints begin with their option and the file."""


def prepare(plan: ServePlan, before: ServePlan | None = None) -> None:
    """Build what `plan` asks for, and write it there, with the start lines about it.

    Args:
        plan: The plan.
        before: A plan that is in force; its audit log is used on where it is the same one.

    Raises:
        ConfigurationError: A file cannot be had, or holds something wrong.
    """
    check_loop(plan.loop)
    if plan.tls_request is not None:
        shared = [each for each in plan.listeners if each.tls_request is None]
        plan.tls = _prepare_tls(plan, plan.tls_request, shared)
    _prepare_trust(plan)
    for listener in plan.listeners:
        with respelled(listener.spell):
            _prepare_listener(plan, listener)
    _note_strict_transport(plan)
    if any(listener.is_tls for listener in plan.listeners):
        plan.on_reload.append(_reload_tls)
    _prepare_files(plan, before)
    if plan.echo is not None:
        _prepare_echo(plan, plan.echo)
    _note_connections(plan)


def check_loop(loop: str) -> None:
    """Refuse an event loop that is not there."""
    if loop == "uvloop" and importlib.util.find_spec("uvloop") is None:
        raise ConfigurationError(
            f"{setting('loop').flag} uvloop: uvloop is not installed; pip install uvloop, or leave "
            "the flag out"
        )


class _PasswordFile:
    """Reads a key's password from a file, again at each reload."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self) -> bytes:
        try:
            return read_file(self._path, 4096).split(b"\n", 1)[0].rstrip(b"\r")
        except OSError as error:
            raise ConfigurationError(
                f"--key-password-file {escape(self._path)}: {error.strerror}; name a file that "
                "holds the password and that this user may read"
            ) from error


@contextmanager
def respelled(spell: Callable[[str], str]) -> Iterator[None]:
    """Put complaints that come out of the block into the words in which things were said."""
    try:
        yield
    except ConfigurationError as error:
        text = spell(str(error))
        if text == str(error):
            raise
        raise type(error)(text) from error


def _prepare_listener(plan: ServePlan, listener: PlannedListener) -> None:
    """Build what a listener has of its own, and say what is in force there."""
    before, where = len(plan.notes), render_bind(listener.bind)
    if listener.tls_request is not None:
        listener.tls = _prepare_tls(plan, listener.tls_request, [listener])
    if listener.trust_values is not None:
        listener.trust = policy_of(listener.trust_values)
        plan.notes += describe_policy(listener.trust)
    plan.notes[before:] = [_note_of(where, line) for line in plan.notes[before:]]


def policy_lines(plan: ServePlan) -> list[str]:
    """Return what is in force of proxies: for all listeners, and for those that have their own."""
    lines = describe_policy(plan.server_options.get("trust"))
    for listener in plan.listeners:
        if listener.trust is not None:
            where = render_bind(listener.bind)
            lines += [_note_of(where, line) for line in describe_policy(listener.trust)]
    return lines


def _note_of(where: str, line: str) -> str:
    """Return a start line about one listener; a warning stays one at first sight."""
    warning = "warning: " if line.startswith("warning: ") else ""
    return f"{warning}{escape(where)}: {line.removeprefix(warning)}"


def policy_of(values: Mapping[str, Any]) -> TrustPolicy:
    """Return the policy that settings describe; one that reads no header where they list nobody.

    Raises:
        ConfigurationError: A value or a file is wrong.
    """
    policy = build_policy(values)
    return TrustPolicy.off() if policy is None else policy


def _tls_options(request: TLSRequest) -> dict[str, Any]:
    """Return the `ssl_options` of a request; certificates for development are made if missing."""
    options = dict(request.options)
    if request.development:
        from edgeserver.tls.devcerts import ensure_dev_certificates

        try:
            made = ensure_dev_certificates(DEV_DIRECTORY)
        except ConfigurationError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            raise ConfigurationError(
                f"--dev-tls: {DEV_DIRECTORY}: {error.__cause__.strerror}; start it in a directory"
                " that this user may write to, or make them elsewhere with edgeserver certs dev"
                " --out DIR, and give --certfile and --keyfile"
            ) from error
        options |= {"certfile": str(made.certfile), "keyfile": str(made.keyfile)}
    if request.password_file is not None:
        options["password"] = _PasswordFile(request.password_file)
    return options


def load_contexts(
    request: TLSRequest, listeners: Iterable[PlannedListener]
) -> dict[str, TLSContexts]:
    """Read what a request names, and return contexts by what is spoken; nothing is logged.

    Args:
        request: What is asked for.
        listeners: Whose contexts they are to be; only those with TLS count.

    Raises:
        ConfigurationError: A file cannot be had or holds something wrong; it is named by its flag.
    """
    from edgeserver.server.stack import ALPN
    from edgeserver.tls import build_contexts

    options = _tls_options(request)
    gen_log.addFilter(_drop)  # who calls says every warning that it would log
    try:
        return {
            http2: build_contexts(options, alpn=ALPN[HTTP2_MODES[http2]])
            for http2 in dict.fromkeys(each.http2 for each in listeners if each.is_tls)
        }
    except TLSConfigurationError as error:
        raise TLSConfigurationError(_name_flag(str(error), options)) from error
    except ConfigurationError:
        raise
    except (ValueError, OSError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(f"TLS: {error}; see --certfile, --keyfile, --ca-certs") from error
    finally:
        gen_log.removeFilter(_drop)


def _prepare_tls(
    plan: ServePlan, request: TLSRequest, listeners: Iterable[PlannedListener]
) -> dict[str, TLSContexts]:
    """Build contexts of https listeners, by what is spoken there, and say what is served."""
    from edgeserver.tls import start_lines

    if request.development:
        plan.notes.append(f"development certificate: clients trust it with {DEV_DIRECTORY}/ca.pem")
    contexts = load_contexts(request, listeners)
    for one in list(contexts.values())[:1]:
        plan.notes += start_lines(one)
    return contexts


def _note_strict_transport(plan: ServePlan) -> None:
    strict = plan.server_options.get(setting("hsts").parameter)
    if strict is not None:
        plan.notes.append(f"Strict-Transport-Security: {strict}, with every answer over TLS")


def _spell_option(match: re.Match[str]) -> str:
    """Return the flag for a quoted option of the `ssl_options` dict."""
    name = "cert_reqs" if match[1] == "client_auth" else match[1]  # two names of one thing
    for each in settings_of(taker="tls"):
        if each.parameter == name:
            return each.flag
    return match[0]


def _drop(record: logging.LogRecord) -> bool:
    return False


def _name_flag(complaint: str, options: Mapping[str, Any]) -> str:
    """Return a complaint about a file with its flag in the place of the option, and the fix."""
    complaint = _OF_HOST.sub(rf"{setting('tls-host').flag} \1", complaint)
    complaint = _OPTION.sub(_spell_option, complaint)
    for name in _FILES:
        file = setting(name)
        given = options.get(file.parameter)
        shown = f'{file.parameter} "{given}"'
        if given is None or not complaint.startswith(shown):
            continue
        complaint = f"{file.flag} {escape(given)}{complaint.removeprefix(shown)}"
    if complaint.endswith("does not exist"):
        complaint += "; name a file that is there, from the directory you are in"
    return complaint


async def _reload_tls(server: HTTPServer) -> None:
    """Read the files again.

    Raises:
        TLSConfigurationError: Some are wrong, and those before stay in use; whoever asked is told
            each time, while the log of a poll says the same only once.
    """
    kept = [each for result in await server.reload_tls() for each in result.kept.items()]
    if kept:
        said = (f'host "{host}": {why}' if host else why for host, why in kept)
        raise TLSConfigurationError(f"TLS not reloaded: {'; '.join(said)}")


def _prepare_trust(plan: ServePlan) -> None:
    """Build the trust policy, and say what is in force."""
    # Where no header is read it is said all the same whose are not.
    policy = plan.server_options["trust"] = policy_of(plan.trust)
    plan.notes += describe_policy(policy)
    values = plan.trust
    if values.get("trust_file_max_age") is not None:
        plan.notes += [f"warning: {each}" for each in stale_files(values, now_s=time.time())]
        plan.on_reload.append(lambda server: _warn_of_stale(values))
        plan.on_start.append(lambda server: _watch_stale(values))


def _warn_of_stale(values: Mapping[str, Any]) -> None:
    """Log which files of ranges are older than they may be."""
    for each in stale_files(values, now_s=time.time()):
        gen_log.warning("%s", each)


def _watch_stale(values: Mapping[str, Any]) -> None:
    """Have it looked at once a day: a server may run for longer than a list is good."""
    import asyncio  # by who serves alone: the parent has no event loop

    def look() -> None:
        _warn_of_stale(values)
        loop.call_later(_DAY_S, look)

    loop = asyncio.get_running_loop()
    loop.call_later(_DAY_S, look)


def _prepare_files(plan: ServePlan, before: ServePlan | None) -> None:
    """Open what is written to; what is wrong with both logs is told at once."""
    steps: list[Callable[[], None]] = [
        lambda: _prepare_audit(plan, before),
        lambda: _prepare_logs(plan),
    ]
    wrong: list[ConfigurationError] = []
    for step in steps:
        try:
            step()
        except ConfigurationError as error:
            wrong.append(error)
    if len(wrong) > 1:
        raise WrongConfiguration([Problem(plan.spell(str(each))) for each in wrong])
    if wrong:
        raise wrong[0]


def _prepare_audit(plan: ServePlan, before: ServePlan | None) -> None:
    """Open the audit log: a wrong path stops the start and not the first request."""
    request = plan.audit
    if request is not None:
        opened = None
        if before is not None and before.audit == request:
            opened = before.server_options.get("audit_log")
        plan.server_options["audit_log"] = opened or open_audit_log(request)
        plan.notes.append(f"audit log: {escape(request.path)} ({request.mode})")
    _follow_audit(plan)


def _follow_audit(plan: ServePlan) -> None:
    """Have the audit log opened again and closed in time, which a reload may exchange."""

    def do(what: str, *args: float) -> None:
        log = plan.server_options.get("audit_log")
        if log is not None:
            getattr(log, what)(*args)

    plan.on_reload.append(lambda server: do("reopen"))
    plan.on_reopen.append(lambda server: do("reopen"))
    plan.on_stop.append(lambda server: do("close"))
    plan.on_abort.append(lambda: do("flush", 1.0))


def open_audit_log(request: AuditRequest) -> AuditLog:
    """Return the audit log that is asked for.

    Raises:
        ConfigurationError: Its file cannot be opened.
    """
    from edgeserver.audit.log import AuditLog

    try:
        return AuditLog(request.path, mode=request.mode, sample=request.sample)
    except ConfigurationError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise ConfigurationError(
            f"--audit-log {escape(request.path)}: {cause.strerror}; name a file that this user "
            "may write"
        ) from error


def _prepare_logs(plan: ServePlan) -> None:
    """Try to open the access log's file, and read what is said of Python's logging."""
    if plan.logging.config is not None:
        from edgeserver.logs.config import read_log_config

        plan.logging_config = read_log_config(plan.logging.config)
    if plan.access is None or plan.access.target == "-":
        return
    from edgeserver.logs.writer import check_log

    # Each worker opens it: whoever holds it open here would keep a rotated file for good.
    check_log(setting("access-log").flag, plan.access.target)
    plan.notes.append(f"access log: {escape(plan.access.target)} ({plan.access.format})")


def _prepare_echo(plan: ServePlan, request: EchoRequest) -> None:
    """Read the token, and put the echo before the application; all workers share its nonces."""
    from edgeserver.adapters.detect import delegate_for
    from edgeserver.audit.echo import Echo, EchoGate
    from edgeserver.audit.proof import load_token

    flag = setting("audit-token-file").flag
    echo = Echo(lambda: load_token(request.token_file, flag=flag))
    plan.gate = lambda delegate: EchoGate(echo, request.path, delegate_for(delegate))
    plan.on_start.append(echo.attach)
    plan.on_reload.append(lambda server: echo.reload())
    plan.notes.append(f"audit echo: {escape(request.path)}, for probes with the token")


def _note_connections(plan: ServePlan) -> None:
    """Warn of a number of connections for which a process has no file descriptors."""
    wanted = plan.server_options.get("max_connections")
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted is not None and soft != resource.RLIM_INFINITY and wanted >= soft:
        plan.notes.append(
            f"warning: --max-connections {wanted} is more than the limit of open files allows"
            f" ({soft}): raise that (ulimit -n, LimitNOFILE=) or give less"
        )
