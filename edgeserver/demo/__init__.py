"""A small application that shows what the server knows of a request: `edgeserver.demo:app`.

Decides what is answered where. It uses the public interface only, as any application would, and
everything that a stranger wrote is escaped.
"""

from __future__ import annotations

import json
from typing import Any

from edgeserver.demo.accept import prefers_json
from edgeserver.demo.documents import DOCUMENTS, read_document
from edgeserver.demo.known import describe_request
from edgeserver.demo.page import SECURITY_POLICY, render_page
from edgeserver.demo.whatif import answer_form, read_form
from edgeserver.httputil import HTTPHeaders, ResponseStartLine

__all__ = ["app"]

_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed"}
_PAGE = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


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
    headers["Content-Security-Policy"] = SECURITY_POLICY
    if status == 405:
        headers["Allow"] = "GET, HEAD"
    start_line = ResponseStartLine("HTTP/1.1", status, _REASONS[status])
    # A HEAD request gets the length of the body that GET would, and no body.
    request.connection.write_headers(
        start_line, headers, None if request.method == "HEAD" else body
    )
    request.connection.finish()


def _respond(request: Any) -> tuple[int, bytes, str]:
    """Return status, body and media type of the answer."""
    as_json = prefers_json(request.headers.get("Accept", ""))
    name = request.path.removeprefix("/how-to/")
    document = read_document(name) if name in DOCUMENTS else None
    if request.path != "/" and document is None:
        return _refuse(404, "there is / here, and what it links to", as_json=as_json)
    if request.method not in ("GET", "HEAD"):
        return _refuse(405, "only GET and HEAD are answered", as_json=as_json)
    if document is not None:
        return 200, document, _TEXT
    known = describe_request(request)
    form = read_form(request.query)
    answer = None if form is None else answer_form(form)
    if not as_json:
        return 200, render_page(known, form, answer), _PAGE
    if answer is not None:
        known["what_if"] = answer
    return 200, _render_json(known), "application/json"


def _refuse(status: int, why: str, *, as_json: bool) -> tuple[int, bytes, str]:
    """Return an answer that says no."""
    if as_json:
        return status, _render_json({"error": why, "status": status}), "application/json"
    return status, f"{status} {_REASONS[status]}: {why}\n".encode(), _TEXT


def _render_json(value: object) -> bytes:
    """Return indented JSON in ASCII."""
    return (json.dumps(value, indent=2) + "\n").encode("ascii")
