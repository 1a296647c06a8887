"""The examination of a plan: everything that is wrong with what it names, at once.

Decides what is opened, which errors are told together, and which oddities are warnings. It changes
nothing, makes no file and imports no application.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from edgeserver.config.effective import Effective
from edgeserver.config.ip_ranges import load_ranges
from edgeserver.config.model import SETTINGS, setting
from edgeserver.config.origins import Problem, spell
from edgeserver.errors import ConfigurationError, EdgeServerError
from edgeserver.runtime.plan import PlannedListener, ServePlan, TLSRequest
from edgeserver.runtime.prepare import check_loop, load_contexts, policy_of
from edgeserver.support.escape import escape

__all__ = ["examine", "examine_said"]

Spell = Callable[[str], str]

_WRITTEN = ("audit-log",)
"""Files that are named to be written, and need not be there."""

_TLS_FILES = ("certfile", "keyfile", "ca-certs", "crl")


def examine(plan: ServePlan) -> list[Problem]:
    """Return what is wrong or odd with the files, directories and lists that a plan names."""
    problems = [
        *_attempt(lambda: check_loop(plan.loop), plan.spell),
        *_examine_directory(plan),
        *_examine_trust(plan.trust, plan.spell),
        *_examine_logs(plan),
        *_examine_files(plan),
    ]
    if plan.tls_request is not None:
        shared = [each for each in plan.listeners if each.tls_request is None]
        problems += _examine_tls(plan.tls_request, shared, plan.spell)
    for listener in plan.listeners:
        if listener.trust_values is not None:
            problems += _examine_trust(listener.trust_values, listener.spell)
        if listener.tls_request is not None:
            problems += _examine_tls(listener.tls_request, [listener], listener.spell)
    return list(dict.fromkeys(problems))


def examine_said(effective: Effective) -> list[Problem]:
    """Return what is wrong with the files that are named, where what they are for is not known.

    A value that is wrong leaves no plan to examine; whoever mends it should hear at once which
    files are missing, too.
    """
    problems = []
    for said in (effective.said, *map(effective.said_of, effective.listeners)):
        for each in SETTINGS.values():
            if each.key not in said or each.kind != "file" or each.name in _WRITTEN:
                continue
            value = said[each.key].value
            for path in value if each.many else (value,):
                why = _cannot_read(path)
                if why:
                    problems.append(Problem(spell(f"{each.flag} {escape(path)} {why}", said)))
    return list(dict.fromkeys(problems))


def _attempt(call: Callable[[], object], spell: Spell) -> Iterator[Problem]:
    """Call something, and yield what it complains of."""
    try:
        call()
    except EdgeServerError as error:
        yield Problem(spell(str(error)))


def _examine_directory(plan: ServePlan) -> Iterator[Problem]:
    if not os.path.isdir(plan.app_dir):
        yield Problem(
            plan.spell(
                f"--app-dir {escape(plan.app_dir)} is not a directory; name the one that holds the"
                " module"
            )
        )


def _examine_trust(values: Mapping[str, Any], spell: Spell) -> Iterator[Problem]:
    """Yield what is wrong with the lists of proxies, each file for itself, and with the policy."""
    wrong = False
    for path in values.get("trust_file") or ():
        flag = setting("trust-file").flag
        try:
            load_ranges(path)
        except ConfigurationError as error:
            wrong = True
            yield Problem(spell(f"{flag} {error}"))
    if wrong:
        return
    try:
        policy = policy_of(values)
    except ConfigurationError as error:
        yield Problem(spell(str(error)))
        return
    for warning in policy.warnings:
        text = f"--trust: {warning.code}: {warning.detail}; {warning.fix}"
        yield Problem(spell(text), is_error=False)


def _examine_tls(
    request: TLSRequest, listeners: Sequence[PlannedListener], spell: Spell
) -> Iterator[Problem]:
    """Yield what is wrong with the files of a certificate; all that are missing, or the first."""
    if request.development:
        return  # they are made at the start
    missing = list(_missing_files(request))
    if missing:
        yield from (Problem(spell(each)) for each in missing)
        return
    try:
        contexts = load_contexts(request, listeners)
    except ConfigurationError as error:
        yield Problem(spell(str(error)))
        return
    from edgeserver.tls import start_lines

    lines = [line for one in list(contexts.values())[:1] for line in start_lines(one)]
    for line in lines:
        if line.startswith("warning: "):
            text = f"--certfile: {line.removeprefix('warning: ')}"
            yield Problem(spell(text), is_error=False)


def _missing_files(request: TLSRequest) -> Iterator[str]:
    """Yield a complaint about each file that cannot be read."""
    named = [
        (setting(name).flag, request.options.get(setting(name).parameter)) for name in _TLS_FILES
    ]
    named.append((setting("key-password-file").flag, request.password_file))
    for host, files in request.options.get("hosts", {}).items():
        named += [(f"--tls-host {escape(host)}", path) for path in files.values()]
    for flag, path in named:
        if path and (why := _cannot_read(path)):
            yield f"{flag} {escape(path)} {why}"


def _cannot_read(path: str) -> str:
    """Return why a file cannot be read, and the fix; nothing where it can."""
    if os.access(path, os.R_OK):
        return ""
    what = "cannot be read by this user" if os.path.exists(path) else "does not exist"
    return f"{what}; name a file that is there and may be read"


def _examine_files(plan: ServePlan) -> Iterator[Problem]:
    """Yield a complaint about each file with a secret or of logging that cannot be read."""
    named = [
        ("admin-token-file", plan.admin_token_file),
        ("log-config", plan.logging.config),
    ]
    if plan.echo is not None:
        named.append(("audit-token-file", plan.echo.token_file))
    for name, path in named:
        if path is not None and not os.access(path, os.R_OK):
            text = f"{setting(name).flag} {escape(path)} cannot be read; name a file that can"
            yield Problem(plan.spell(text))


def _examine_logs(plan: ServePlan) -> Iterator[Problem]:
    """Yield what is wrong with the directories of logs, or with the files that are there."""
    named = []
    if plan.audit is not None:
        named.append(("audit-log", plan.audit.path))
    if plan.access is not None and plan.access.target != "-":
        named.append(("access-log", plan.access.target))
    for name, path in named:
        why = _cannot_write(path)
        if why:
            text = f"{setting(name).flag} {escape(path)}: {why}; name a file that this user may"
            yield Problem(plan.spell(f"{text} write"))


def _cannot_write(path: str) -> str:
    """Return why a log cannot be written; nothing where it can."""
    directory = os.path.dirname(path) or "."
    if os.path.isdir(path):
        return "this is a directory"
    if os.path.exists(path):
        return "" if os.access(path, os.W_OK) else "this user may not write to it"
    if not os.path.isdir(directory):
        return "its directory does not exist"
    if not os.access(directory, os.W_OK | os.X_OK):
        return "this user may not make files in its directory"
    return ""
