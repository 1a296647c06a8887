"""A small application that shows what the server knows of a request: `edgeserver.demo:app`.

Decides what is shown, as a page or as JSON. It uses the public interface only, as any application
would, and everything that a stranger wrote is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from typing import Any

from edgeserver.httputil import HTTPHeaders, ResponseStartLine
from edgeserver.support.escape import escape

__all__ = ["app"]

_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed"}
_MOST_FIELDS = 100
_MOST_BYTES = 2000
_MOST_RANGES = 32


def app(request: Any) -> None:
    """Answer one request with what is known of it.

    Args:
        request: An `HTTPServerRequest`.
    """
    status, body, kind = _respond(request)
    headers = HTTPHeaders()
    headers["Content-Type"] = kind
    headers["Content-Length"] = str(len(body))
    headers["Cache-Control"] = "no-store"
    headers["Vary"] = "Accept"
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Content-Security-Policy"] = _POLICY
    if status == 405:
        headers["Allow"] = "GET, HEAD"
    start_line = ResponseStartLine("HTTP/1.1", status, _REASONS[status])
    # A HEAD request gets the length of the body that GET would, and no body.
    request.connection.write_headers(
        start_line, headers, None if request.method == "HEAD" else body
    )
    request.connection.finish()


def describe_request(request: Any) -> dict[str, Any]:
    """Return what the server knows of `request`, as JSON can hold it."""
    context = getattr(request.connection, "context", None)
    names = list(request.headers.get_all())
    return {
        "client": {"address": request.remote_ip, "scheme": request.protocol},
        "peer": getattr(context, "peer_ip", None),
        "request": {
            "method": escape(request.method, _MOST_BYTES),
            "target": escape(request.uri, _MOST_BYTES),
            "version": request.version,
            "headers": [
                [escape(name, _MOST_BYTES), escape(value, _MOST_BYTES)]
                for name, value in names[:_MOST_FIELDS]
            ],
            "headers_left_out": max(0, len(names) - _MOST_FIELDS),
        },
        "tls": _describe_tls(getattr(context, "tls", None)),
        "explanation": _describe_provenance(request),
    }


def prefers_json(accept: str) -> bool:
    """Tell whether an `Accept` field ranks `application/json` above `text/html`.

    A wildcard counts for both, so that a browser and a bare curl get the page.

    Source: RFC 9110 section 12.5.1.
    """
    weights: dict[str, float] = {}
    for element in accept.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        name, *parameters = element.split(";")
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                weight = _parse_weight(value.strip())
        weights.setdefault(name.strip().lower(), weight)
    anything = weights.get("*/*", 0.0)
    as_json = weights.get("application/json", weights.get("application/*", anything))
    as_html = weights.get("text/html", weights.get("text/*", anything))
    return as_json > as_html


def _parse_weight(text: str) -> float:
    """Return a quality value; one that is none counts as 0, so that it decides nothing."""
    whole, _, part = text.partition(".")
    if whole not in ("0", "1") or len(part) > 3 or (part and not (part + "0").isdecimal()):
        return 0.0
    return min(1.0, float(f"{whole}.{part or 0}")) if text.isascii() else 0.0


def _respond(request: Any) -> tuple[int, bytes, str]:
    """Return status, body and media type of the answer."""
    as_json = prefers_json(request.headers.get("Accept", ""))
    if request.path != "/":
        return _refuse(404, "there is only / here", as_json=as_json)
    if request.method not in ("GET", "HEAD"):
        return _refuse(405, "only GET and HEAD are answered", as_json=as_json)
    known = describe_request(request)
    if as_json:
        return 200, _render_json(known), "application/json"
    return 200, _render_page(known), "text/html; charset=utf-8"


def _refuse(status: int, why: str, *, as_json: bool) -> tuple[int, bytes, str]:
    """Return an answer that says no."""
    if as_json:
        return status, _render_json({"error": why, "status": status}), "application/json"
    return status, f"{status} {_REASONS[status]}: {why}\n".encode(), "text/plain; charset=utf-8"


def _render_json(value: object) -> bytes:
    """Return indented JSON in ASCII."""
    return (json.dumps(value, indent=2) + "\n").encode("ascii")


def _describe_tls(tls: Any) -> dict[str, Any] | None:
    """Return what is known of the TLS connection, None for a plain one."""
    if tls is None:
        return None
    known = {}
    for name in ("version", "cipher", "sni", "alpn", "resumed", "ja4"):
        value = getattr(tls, name, None)
        if value is not None:
            known[name] = value if isinstance(value, bool) else escape(str(value))
    return known


def _describe_provenance(request: Any) -> dict[str, Any] | None:
    """Return the proof for the client address, where the server has one."""
    explain = getattr(request, "explain", None)
    proof = explain() if callable(explain) else None
    # A Provenance escapes what was claimed when it becomes a dict.
    return None if proof is None else proof.as_dict()


_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5a6577; --line: #d9dee7;
  --ground: #f6f7f9; --card: #fff; --accent: #0b6b5d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #2d3543;
  --ground: #12161d; --card: #1a2029; --accent: #5fd0bd; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 3rem 1.25rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; }
h1 { margin: 0; font-size: 1rem; font-weight: 600; color: var(--accent); }
.client { margin: .25rem 0 0; font-size: clamp(1.6rem, 6vw, 2.6rem); font-weight: 650;
  letter-spacing: -.02em; overflow-wrap: anywhere; }
.lead { margin: .25rem 0 2rem; color: var(--soft); }
section { margin: 0 0 1.25rem; padding: 1rem 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem; overflow-x: auto; }
h2 { margin: 0 0 .5rem; font-size: .8rem; font-weight: 600; color: var(--soft);
  text-transform: uppercase; letter-spacing: .06em; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .3rem .75rem .3rem 0; text-align: left; vertical-align: top;
  border-top: 1px solid var(--line); }
tr:first-child > * { border-top: 0; }
th { font-weight: 500; color: var(--soft); white-space: nowrap; }
td, code { font: .875rem/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
p { margin: 0; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _render_page(known: dict[str, Any]) -> bytes:
    """Return the page that shows `known`."""
    client, request, tls = known["client"], known["request"], known["tls"]
    line = f"{request['method']} {request['target']} {request['version']}"
    rows = [("Request line", line), *request["headers"]]
    if request["headers_left_out"]:
        rows.append(("", f"and {request['headers_left_out']} more"))
    sections = [
        _render_section(
            "Connection",
            [
                ("Client", client["address"]),
                ("Scheme", client["scheme"]),
                ("Peer", known["peer"] or "unknown"),
            ],
        ),
        _render_section("TLS", list(tls.items()) if tls else [("", "none on this connection")]),
        _render_proof(known["explanation"]),
        _render_section("Request head", rows),
    ]
    address = html.escape(str(client["address"]))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n<title>edgeserver</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>edgeserver is running</h1>\n"
        f'<p class="client">{address}</p>\n<p class="lead">is the client, over '
        f"{html.escape(str(client['scheme']))}</p>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    ).encode()


def _render_section(title: str, rows: list[tuple[str, Any]]) -> str:
    """Return a titled table of names and values."""
    cells = "".join(
        f'<tr><th scope="row">{html.escape(str(name))}</th><td>{html.escape(str(value))}</td></tr>'
        for name, value in rows
    )
    return f"<section>\n<h2>{html.escape(title)}</h2>\n<table>{cells}</table>\n</section>\n"


def _render_proof(proof: dict[str, Any] | None) -> str:
    """Return the section that says why this address is the client."""
    if proof is None:
        return ""
    rows: list[tuple[str, Any]] = [("reason", proof["reason"])]
    for number, hop in enumerate(proof["hops"]):
        shown = hop["address"] or hop["claimed"] or "no address"
        rows.append((f"hop {number}", f"{shown}: {hop['verdict']}, {hop['why']}"))
    if proof["unseen"]:
        rows.append(("", f"and {proof['unseen']} more"))
    rows += [(finding["code"], finding["detail"]) for finding in proof["findings"]]
    return _render_section("Why this client", rows)
