"""The command `edgeserver audit explain`: who would the client of this request be, and why.

Decides how a request head gets in and in which form the proof gets out. It must not know how a
client is found.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from edgeserver.cli.audit_check import audit_check
from edgeserver.cli.audit_config import audit_config
from edgeserver.cli.audit_logs import audit_logs
from edgeserver.cli.audit_probe import audit_echo, audit_probe
from edgeserver.cli.audit_ranges import audit_ranges
from edgeserver.cli.audit_report import audit_report, render_one_page
from edgeserver.cli.failures import reported
from edgeserver.cli.terminal import is_terminal
from edgeserver.cli.trust import TRUST_OPTIONS, XHEADERS_OPTIONS, build_policy, with_config
from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders import Finding, Provenance, TrustPolicy
from edgeserver.proxyheaders.explanation.codes import is_serious
from edgeserver.proxyheaders.explanation.render import render_advice
from edgeserver.runtime.exits import EXIT_FINDINGS
from edgeserver.support.escape import escape

__all__ = ["audit", "explain", "parse_pasted_head"]

MAX_HEAD_BYTES = 1024 * 1024
"""How much is read from standard input: far more than a server takes."""

Head = list[tuple[bytes, bytes]]


@click.group("audit")
def audit() -> None:
    """Say who the client of a request is, with the proof."""


_EXAMPLES = """\b
Examples:
  edgeserver audit explain --trust 10.0.0.5 --peer 10.0.0.5 \\
      -H 'X-Forwarded-For: 6.6.6.6, 203.0.113.9'
  edgeserver audit explain --trust unix: --peer unix: - < head.txt
  edgeserver audit explain --xheaders --peer 203.0.113.9 -H 'X-Real-Ip: 6.6.6.6'
"""


@audit.command("explain", epilog=_EXAMPLES)
@click.argument("pasted", required=False, metavar="[-]", type=click.Choice(["-"]))
@click.option("--peer", required=True, metavar="IP|unix:", help="Who connected.")
@click.option("--peer-port", type=click.IntRange(0, 65535), help="From which port.")
@click.option(
    "--scheme",
    type=click.Choice(["http", "https"]),
    default="http",
    help="The scheme of the connection itself (default http).",
)
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header field."
)
@click.option("--json", "form", flag_value="json", help="Print JSON, as --format json.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "html"]),
    default="text",
    help="How the proof is written (default text).",
)
def explain(
    pasted: str | None,
    *,
    peer: str,
    peer_port: int | None,
    scheme: str,
    headers: tuple[str, ...],
    form: str,
    **values: Any,
) -> None:
    """Explain which hop is trusted and who the client is.

    The request's head comes from -H flags, or pasted on standard input. The exit code is 1 if
    there are findings of severity warning or worse, 2 if a flag is wrong.
    """
    with reported():
        values, spelled = with_config(values)
    with reported(spell=spelled):
        policy = build_policy(values)
        if policy is None:
            policy = TrustPolicy([])
        head = _read_head(headers, pasted=pasted is not None)
        try:
            provenance = policy.explain(peer=peer, peer_port=peer_port, scheme=scheme, headers=head)
        except ValueError as error:
            raise ConfigurationError(f"--peer {escape(peer)}: {error}") from error
    findings = [*provenance.findings]
    seen = {finding.code for finding in findings}
    findings.extend(warning for warning in policy.warnings if warning.code not in seen)
    _print(provenance, findings, form=form)
    if any(is_serious(finding) for finding in findings):
        sys.exit(EXIT_FINDINGS)


explain.params.extend((*TRUST_OPTIONS, *XHEADERS_OPTIONS))
audit.add_command(audit_config)
audit.add_command(audit_check)
audit.add_command(audit_logs)
audit.add_command(audit_ranges)
audit.add_command(audit_probe)
audit.add_command(audit_echo)
audit.add_command(audit_report)


def _print(provenance: Provenance, findings: list[Finding], *, form: str) -> None:
    """Print the proof: JSON, a page, a picture on a terminal, or plain text."""
    if form != "text":
        shown = provenance.as_dict()
        shown["findings"] = [finding.as_dict() for finding in findings]
        as_page = form == "html"
        click.echo(
            render_one_page(shown) if as_page else json.dumps(shown, indent=2), nl=not as_page
        )
    elif is_terminal(sys.stdout) and "utf" in sys.stdout.encoding.lower():
        from edgeserver.cli.draw_chain import draw_chain

        draw_chain(provenance, findings, sys.stdout)
    else:
        click.echo(render_advice(provenance, findings))


def _read_head(headers: tuple[str, ...], *, pasted: bool) -> Head:
    """Return the head's fields, from flags or from standard input.

    Raises:
        ConfigurationError: A field has no colon, or the pasted text is too long.
    """
    head = [
        _parse_field(text.encode("utf-8", "surrogateescape"), f"-H {escape(text)!r}")
        for text in headers
    ]
    if pasted or (not headers and not is_terminal(sys.stdin)):
        if sys.stdin is None:
            raise ConfigurationError(
                "standard input is closed, and there is no -H; give the head by one of the two"
            )
        text = sys.stdin.buffer.read(MAX_HEAD_BYTES + 1)
        if len(text) > MAX_HEAD_BYTES:
            raise ConfigurationError(
                f"standard input: more than {MAX_HEAD_BYTES} bytes; paste one request's head"
            )
        head.extend(parse_pasted_head(text))
    return head


def parse_pasted_head(text: bytes) -> Head:
    """Parse a head as people paste it: with or without its request line, and curl's `> `.

    Args:
        text: The pasted bytes; what follows the first empty line is not looked at.

    Raises:
        ConfigurationError: A line is not a header field; the message names it.
    """
    head: Head = []
    lines = text.lstrip(b"\r\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        field = line.removesuffix(b"\r")
        if field.startswith(b"> ") or field == b">":
            field = field[2:]
        if not field.strip(b" \t"):
            break
        if number == 1 and _is_request_line(field):
            continue
        head.append(_parse_field(field, f"standard input, line {number}"))
    return head


def _is_request_line(line: bytes) -> bool:
    words = line.split(b" ")
    return len(words) == 3 and words[2].startswith(b"HTTP/") and b":" not in words[0]


def _parse_field(line: bytes, where: str) -> tuple[bytes, bytes]:
    """Parse one `Name: value`.

    Raises:
        ConfigurationError: It is none.
    """
    name, colon, value = line.partition(b":")
    if not colon or not name or name.strip(b" \t") != name:
        raise ConfigurationError(
            f"{where}: {escape(line, 60)!r} is not a header field; write 'Name: value' on one line"
        )
    return name, value.strip(b" \t")
