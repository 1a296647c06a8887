"""The page: the client, the chain that proves it, TLS, the request, and the form "what if".

Decides words and markup. Every text that goes into it passes `_text`; it must not know how a client
is found.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from edgeserver.demo.documents import DOCUMENTS, read_document
from edgeserver.demo.style import STYLE, STYLE_HASH
from edgeserver.demo.whatif import EXAMPLES, RULES, SCHEMES, Form

__all__ = ["SECURITY_POLICY", "render_page"]

SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

_MOST_HOPS = 12
"""Most hops that the picture shows; JSON has them all."""

_VERDICTS = {"client": "the client", "trusted": "trusted proxy", "ignored": "ignored claim"}
_CLASSES = {"client": "client-hop", "trusted": "trusted", "ignored": "ignored"}

_LOOPBACK = (
    "<p>You ask from this server's own machine, which is listed as a proxy here "
    "(<code>--trust loopback</code>). So you play the proxy: what you write last in "
    "X-Forwarded-For is believed. A stranger is not; the example <b>Forged, straight at the "
    "server</b> shows it.</p>\n"
)

_TLS_NAMES = {
    "version": "Version",
    "cipher": "Cipher",
    "sni": "Server name (SNI)",
    "alpn": "Protocol (ALPN)",
    "resumed": "Resumed",
    "ja4": "JA4",
}

_LABELS = {
    "peer": "Peer: who connects",
    "trust": "Proxies that are believed",
    "rules": "Rules",
    "source": "Header that names the client",
    "scheme": "Connection",
    "headers": "Header lines",
}
"""What the fields of the form are called."""

_text = html.escape


def render_page(known: dict[str, Any], form: Form | None, answer: dict[str, Any] | None) -> bytes:
    """Return the page.

    Args:
        known: What is known of the request, as `describe_request` has it.
        form: What was filled in, None for nothing.
        answer: What would be then.
    """
    client, proof = known["client"], known["explanation"]
    lead = f"is the client, over {client['scheme']}"
    if proof is not None and proof["client"] == "unix:":
        lead = f"is the client, a program on this machine, over {client['scheme']}"
    address = client["address"] if proof is None else proof["client"]
    whatif = _what_if(form, answer, address)
    why = "" if proof is None else _section("Why this client", *_proof(proof), _own_machine(proof))
    # What was just asked for comes first.
    sections = [whatif, why] if form is not None else [why, whatif]
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<link rel="icon" href="data:,">\n<title>edgeserver</title>\n<style>{STYLE}</style>\n'
            "</head>\n<body>\n<main>\n<h1>edgeserver is running</h1>\n"
            f'<p class="client">{_text(str(address))}</p>\n<p class="lead">{_text(lead)}</p>\n',
            *sections,
            *_details(known),
            _links(),
            "</main>\n</body>\n</html>\n",
        )
    ).encode()


def _section(title: str, *parts: str) -> str:
    return f"<section>\n<h2>{_text(title)}</h2>\n{''.join(parts)}</section>\n"


def _table(rows: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values."""
    cells = "".join(
        f'<tr><th scope="row">{_text(str(name))}</th><td>{_text(str(value))}</td></tr>\n'
        for name, value in rows
    )
    return f"<table>\n{cells}</table>\n"


def _details(known: dict[str, Any]) -> list[str]:
    """Return the sections of the connection, of TLS and of the request."""
    request, tls = known["request"], known["tls"]
    line = f"{request['method']} {request['target']} {request['version']}"
    rows = [("Request line", line), *request["headers"]]
    if request["headers_left_out"]:
        rows.append(("", f"and {request['headers_left_out']} more"))
    connection = [
        ("Client", known["client"]["address"]),
        ("Scheme", known["client"]["scheme"]),
        ("Peer", known["peer"] or "unknown"),
    ]
    named = ((_TLS_NAMES.get(name, name), value) for name, value in (tls or {}).items())
    secure = _table(named) if tls else "<p>None on this connection.</p>\n"
    return [
        '<div class="columns">\n',
        _section("Connection", _table(connection)),
        _section("TLS", secure),
        "</div>\n",
        _section("Request head", _table(rows)),
    ]


def _proof(proof: dict[str, Any]) -> list[str]:
    """Return the picture of a chain, its reason and its findings."""
    hops = proof["hops"]
    shown = hops[:_MOST_HOPS]
    left_out = proof["unseen"] + len(hops) - len(shown)
    boxes = [_box("this server", "", "answers the request", "", "")]
    boxes += [_hop(hop) for hop in shown]
    if left_out:
        boxes.append(_box(f"{left_out} more", "ignored", "never looked at", "", ""))
    # As the request travelled: from the left to this server.
    picture = "".join(reversed(boxes))
    verified = "" if proof["verified"] else ", and is not verified"
    return [
        f'<ol class="chain" aria-label="the chain, as the request travelled">\n{picture}</ol>\n',
        f"<p>The client is {_text(str(proof['client']))} over {_text(proof['scheme'])}{verified}: "
        f"<code>{_text(proof['reason'])}</code>.</p>\n",
        _findings(proof["findings"]),
    ]


def _own_machine(proof: dict[str, Any]) -> str:
    """Return why a claim from this machine counts, where it does."""
    hops = proof["hops"]
    return _LOOPBACK if hops and "(loopback)" in (hops[0]["rule"] or "") else ""


def _hop(hop: dict[str, Any]) -> str:
    """Return the box of one hop."""
    verdict = hop["verdict"]
    address = hop["address"] or hop["claimed"] or "no address"
    if hop["field"] == "TCP" and hop["claimed"].startswith("unix:"):
        address = hop["claimed"]
    by = "the TCP connection" if hop["said_by"] == "TCP" else hop["said_by"]
    return _box(
        address,
        _CLASSES.get(verdict, "unusable"),
        _VERDICTS.get(verdict, verdict),
        f"said by {by}",
        hop["why"],
    )


def _box(title: str, kind: str, verdict: str, by: str, why: str) -> str:
    lines = "".join(f"<span>{_text(line)}</span>" for line in (by, why) if line)
    return (
        f'<li class="{kind}"><b>{_text(title)}</b><span class="verdict">{_text(verdict)}</span>'
        f"{lines}</li>\n"
    )


def _findings(findings: list[dict[str, str]]) -> str:
    """Return what was odd, each with what to do about it."""
    if not findings:
        return "<p>Nothing is odd about it.</p>\n"
    items = "".join(
        f'<li class="{_text(each["severity"])}"><b>{_text(each["code"])}</b>: '
        f"{_text(each['detail'])}<span>Fix: {_text(each['fix'])}</span></li>\n"
        for each in findings
    )
    return f'<ul class="findings">\n{items}</ul>\n'


def _what_if(form: Form | None, answer: dict[str, Any] | None, address: str) -> str:
    """Return the form, examples to click, and the answer to what was filled in."""
    examples = "".join(
        f'<li><a href="/?{_text(example.as_query())}">{_text(name)}</a></li>\n'
        for name, example in EXAMPLES.items()
    )
    parts = []
    wrong = None
    if answer is not None and "error" in answer:
        wrong = answer["field"]
        parts.append(
            f'<h3 class="wrong">That cannot be: {_text(_LABELS[wrong])}</h3>\n'
            f'<p id="why">{_text(answer["error"])}</p>\n'
        )
    elif answer is not None:
        was = f"it is {address}" if answer["client"] != address else "it is the same"
        title = f"The client would be {answer['client']}; for your own request {was}"
        parts += [f"<h3>{_text(title)}</h3>\n", *_proof(answer)]
    if form is not None:
        parts.append('<p><a href="/">Back to your own request</a></p>\n')
    parts += [
        "<p>Who would the client be if another peer had sent other headers, by other rules? "
        "Nothing is sent anywhere: the server asks its own trust policy.</p>\n",
        f'<ul class="list">\n{examples}</ul>\n',
        _form(form or Form(), wrong),
    ]
    return _section("What if", *parts)


def _form(form: Form, wrong: str | None) -> str:
    """Return the form, filled in; the field that is `wrong` is marked, and has the focus."""
    rows = min(12, max(3, form.headers.count("\n") + 1))
    return (
        '<form method="get" action="/">\n'
        + _input("peer", form.peer, wrong)
        + _input("trust", form.trust, wrong)
        + _select("rules", RULES, form.rules, wrong)
        + _input("source", form.source, wrong)
        + _select("scheme", SCHEMES, form.scheme, wrong)
        + f'<label class="wide">{_LABELS["headers"]}<textarea name="headers" spellcheck="false" '
        f'rows="{rows}"{_mark("headers", wrong)}>\n{_text(form.headers)}</textarea></label>\n'
        "<button>Who is the client?</button>\n</form>\n"
    )


def _mark(name: str, wrong: str | None) -> str:
    """Return the attributes of the field that is wrong; nothing for another."""
    return ' aria-invalid="true" aria-describedby="why" autofocus' if name == wrong else ""


def _input(name: str, value: str, wrong: str | None) -> str:
    return (
        f'<label>{_LABELS[name]}<input name="{name}" value="{_text(value)}" spellcheck="false" '
        f'autocapitalize="off" autocomplete="off"{_mark(name, wrong)}></label>\n'
    )


def _select(name: str, choices: dict[str, str], chosen: str, wrong: str | None) -> str:
    options = "".join(
        f'<option value="{value}"{" selected" if value == chosen else ""}>{_text(title)}</option>'
        for value, title in choices.items()
    )
    mark = _mark(name, wrong)
    return f'<label>{_LABELS[name]}<select name="{name}"{mark}>{options}</select></label>\n'


def _links() -> str:
    """Return the links to the how-to pages, where there are any."""
    items = "".join(
        f'<li><a href="/how-to/{name}">{_text(title)}</a></li>\n'
        for name, title in DOCUMENTS.items()
        if read_document(name) is not None
    )
    hint = "<p><code>edgeserver serve main:app</code> runs your own application.</p>\n"
    return _section("Next", hint, f'<ul class="list">\n{items}</ul>\n' if items else "")
