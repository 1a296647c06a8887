"""The commands `edgeserver audit probe` and `audit echo`: a chain, asked from outside.

Decides what the commands take, and how a report is written for people. What is sent and what it
shows, `edgeserver.audit` says.
"""

from __future__ import annotations

import json
import shlex
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import click

from edgeserver.chains.report import DOES_WORDS
from edgeserver.cli.audit_report import render_one_page
from edgeserver.cli.failures import reported
from edgeserver.cli.options import options_of
from edgeserver.config.model import setting, settings_of
from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders.explanation.render import SEVERITY_LABELS
from edgeserver.runtime.exits import EXIT_FINDINGS, EXIT_OK
from edgeserver.support.escape import escape
from edgeserver.support.files import replace_file

__all__ = ["audit_echo", "audit_probe"]

EXIT_CANNOT_TELL = 4
_WIDTH = 80
EFFECTS = {
    "client": "CAME THROUGH, as the client",
    "scheme": "CAME THROUGH, as the scheme",
    "hidden": "hides the client",
    "arrived": "arrive and are not believed",
    "nothing": "do not arrive or change nothing",
    "refused": "is refused",
}


@click.command("probe")
@click.argument("url", metavar="URL")
@click.option("--allow", multiple=True, required=True, metavar="HOST",
              help="A host that may be talked to: that of URL, once more.")  # fmt: skip
@click.option("--token-file", required=True, metavar="FILE",
              help="The secret of --audit-token-file, in its first line.")  # fmt: skip
@click.option("--received-host", metavar="HOST",
              help="The Host that the echo gets, where a proxy writes another one.")  # fmt: skip
@click.option("--from", "me", metavar="IP",
              help="The address that the chain sees this machine at, behind NAT.")  # fmt: skip
@click.option("--bind", "local", metavar="IP", help="The address of this machine to send from.")
@click.option("--ca-certs", metavar="FILE", help="The CAs of URL's certificate (PEM).")
@click.option("--save", metavar="FILE", help="Write what was seen, for audit config and check.")
@click.option("--format", "form", type=click.Choice(["text", "json", "html"]), default="text")
@click.option("--fail-on", type=click.Choice(["warning", "error", "never"]), default="warning",
              help="What exits with 1: warnings and errors (default), errors, or "
              "nothing.")  # fmt: skip
def audit_probe(
    url: str,
    *,
    allow: tuple[str, ...],
    token_file: str,
    received_host: str | None,
    me: str | None,
    local: str | None,
    ca_certs: str | None,
    save: str | None,
    form: str,
    fail_on: str,
) -> None:
    """Send forged forwarding headers through a chain of your own, and see what arrives.

    The server behind it runs with --audit-echo, or is `edgeserver audit echo`. Nothing but an
    honest request is sent until that one has come back, proved by the token; at most 40 requests
    are, five a second, to one address, and no redirect is followed.

    Exit codes: 0 nothing came through, 1 errors or warnings, 2 usage, 3 no proved answer, 4 cannot
    tell.
    """
    from edgeserver.audit.probe import Prober, parse_target, pick_address, resolve
    from edgeserver.audit.probed import judge_probe, probe_as_dict
    from edgeserver.audit.proof import load_token

    with reported():
        target = parse_target(url)
        if target.host not in {each.lower().strip("[]") for each in allow}:
            raise ConfigurationError(
                f"{escape(url)}: {escape(target.host)} is not one of --allow "
                f"{escape(', '.join(allow))}; name each host that may be talked to"
            )
        me, local = _address(me, "--from"), _address(local, "--bind")
        token = load_token(token_file, flag="--token-file")
        tls = _tls(ca_certs) if target.scheme == "https" else None
        addresses = resolve(target)
        address = pick_address(target, addresses, local)
        click.echo(f"{target.host} is {', '.join(addresses)}; probing {address}", err=True)
        prober = Prober(
            target, token, address=address, received_host=received_host, tls=tls, local=local
        )
        outcomes = [*prober.run()]
        report = judge_probe(target, address, outcomes, local=prober.local, me=me)
        code = _exit_code(report, fail_on)
        shown = json.dumps(probe_as_dict(report, exit_code=code), indent=1) + "\n"
        if save is not None:
            _save(save, shown)
    if form == "json":
        click.echo(shown, nl=False)
    elif form == "html":
        click.echo(render_one_page(probe_as_dict(report, exit_code=code)), nl=False)
    else:
        click.echo("\n".join(_render(report)))
    sys.exit(code)


def _address(text: str | None, flag: str) -> str | None:
    """Return an address of a flag.

    Raises:
        ConfigurationError: It is none.
    """
    import ipaddress

    try:
        return None if text is None else str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigurationError(f"{flag} {escape(text or '')}: not an IP address") from None


def _tls(ca_certs: str | None) -> Any:
    """Return the context for https.

    Raises:
        ConfigurationError: The file of CAs cannot be used.
    """
    import ssl

    try:
        context = ssl.create_default_context(cafile=ca_certs)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"--ca-certs {escape(ca_certs or '')}: {error.strerror or error}; name a PEM file"
            if isinstance(error, OSError)
            else f"--ca-certs {escape(ca_certs or '')}: {escape(str(error))}"
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _save(path: str, text: str) -> None:
    """Write a file whole.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        replace_file(path, text)
    except OSError as error:
        raise ConfigurationError(
            f"--save {escape(path)}: {error.strerror or error}; name a file in a directory that "
            "you may write to"
        ) from error


def _exit_code(report: Any, fail_on: str) -> int:
    failing = {"warning": ("error", "warning"), "error": ("error",), "never": ()}[fail_on]
    if any(each.severity in failing for each in report.findings):
        return EXIT_FINDINGS
    untold = any(each.code == "cannot-tell" for each in report.findings)
    return EXIT_CANNOT_TELL if untold else EXIT_OK


# -- text ------------------------------------------------------------------------------------------


def _fold(text: str, head: str, indent: int | None = None) -> list[str]:
    """Return a line folded at 80 columns, its other lines indented."""
    return textwrap.wrap(
        text, _WIDTH, initial_indent=head,
        subsequent_indent=" " * (len(head) if indent is None else indent),
        break_long_words=False, break_on_hyphens=False,
    ) or [head.rstrip()]  # fmt: skip


def _render(report: Any) -> Iterator[str]:
    """Yield the report: the chain, what it does to each field, what came through, findings."""
    from edgeserver.chains.names import display_name

    count = report.requests
    yield from _fold(f"{report.target.url} at {report.address}, {count} requests", "probe   ")
    you = f"you ({report.me}{'' if report.knows_me else ', if that is you behind NAT'})"
    hops = " -> ".join([you, *(each.address for each in report.proxies), "app"])
    source = display_name(report.honest.source)
    yield from _fold(f"{hops} (reads {source}, policy {report.honest.policy})", "chain   ")
    width = max((len(each.address) for each in report.proxies), default=0)
    for each in report.proxies:
        yield from _fold(each.did, f"  {each.address:<{width}}  ")
    read = (report.honest.source, report.honest.proto)
    for each in report.fields:
        seen = "" if each.honest is None else f"  {escape(each.honest)} arrives without it"
        if each.name in read:
            yield from _fold(f"{DOES_WORDS[each.does]}{seen}", f"  {display_name(each.name):<18} ")
    others: dict[str, list[str]] = {}
    for each in report.fields:
        if each.name not in read:
            others.setdefault(DOES_WORDS[each.does], []).append(display_name(each.name))
    for does, names in others.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield from _fold(f"{', '.join(names[:3])}{more}", f"  not read, {does}: ", 4)
    yield from _effects(report)
    for finding in report.findings:
        head = f"{SEVERITY_LABELS[finding.severity]:<5} {finding.code}  "
        yield from _fold(finding.detail, head, 6)
        if finding.effect is not None and finding.severity != "info":
            yield f"  try   {_curl(report, finding.effect.outcome.forgery)}"
        if finding.code != "note":
            yield from _fold(finding.fix, "  fix   ")
    for name, verdict in (("client", report.client), ("scheme", report.scheme)):
        words = f"right in all {count} requests" if verdict == "right" else verdict
        yield from _fold(words, f"{name}  ")
    yield from _fold("what was sent to this path of this host, now; of what was not sent a probe "
                     "proves nothing: audit config does", "about   ")  # fmt: skip


def _effects(report: Any) -> Iterator[str]:
    """Yield what each forgery did; those that nobody believed are counted."""
    counts = dict.fromkeys(("arrived", "nothing"), 0)
    for effect in report.effects:
        if effect.kind in counts:
            counts[effect.kind] += 1
            continue
        note = f": {effect.outcome.note}" if effect.kind == "refused" else ""
        answer = effect.outcome.answer
        if effect.kind == "hidden" and answer is not None:
            note = f": the app takes {answer.client}"
        yield from _fold(
            f"{escape(effect.outcome.forgery.title, 300)}  {EFFECTS[effect.kind]}{note}",
            "  forged  ", 10,
        )  # fmt: skip
    others = [f"{count} {EFFECTS[kind]}" for kind, count in counts.items() if count]
    if others:
        yield from _fold(f"of the others {', '.join(others)}", "  forged  ", 10)


def _curl(report: Any, forgery: Any) -> str:
    """Return the request as a line for a shell, without the proof that the echo asks for."""
    words = ["curl"]
    if forgery.kind == "prelude":
        words += ["--haproxy-clientip", forgery.addresses[0]]
    if forgery.nominated:
        words += ["-H", f"Connection: close, {forgery.nominated}"]
    for name, value in forgery.lines:
        words += ["-H", f"{name}: {value}" if value else f"{name};"]
    return " ".join(shlex.quote(word) for word in [*words, report.target.url])


# -- the echo alone --------------------------------------------------------------------------------

_ECHO_TABLES = ("listening", "tls", "proxies")


@click.command("echo")
@click.option("--token-file", required=True, metavar="FILE",
              help="The secret, in its first line.")  # fmt: skip
@click.option("--path", default="/.well-known/edgeserver-audit", show_default=True, metavar="PATH",
              help="Where probes are answered.")  # fmt: skip
def audit_echo(*, token_file: str, path: str, **values: Any) -> None:
    """Answer probes, and nothing else: stands in for an application behind a chain.

    The flags are those of serve. It tells what arrives only to who holds the token, each nonce
    once and ten a second; everybody else is told 404.
    """
    from edgeserver.cli.serve import execute, open_plan

    given: dict[str, Any] = {each.key: () if each.many else None for each in settings_of()}
    given |= values
    given |= {
        setting("audit-echo").key: path,
        setting("audit-token-file").key: token_file,
        setting("single-process").key: True,
        setting("interface").key: "callback",
    }
    with reported():
        sys.exit(execute(open_plan("edgeserver.audit.echo:nothing", given)))


for _table in _ECHO_TABLES:
    audit_echo.params.extend(options_of(_table))
