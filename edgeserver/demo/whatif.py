"""The form "what if": another peer, other headers, other rules, and who would be the client then.

Decides how the form is read and what is refused; the answer is the trust policy's own. Everything
is bounded, because strangers fill it in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from edgeserver.proxyheaders import TrustPolicy
from edgeserver.support.escape import escape

__all__ = ["EXAMPLES", "RULES", "SCHEMES", "Form", "answer_form", "read_form"]

RULES = {
    "trust": "believe the listed proxies",
    "xheaders": "believe all (xheaders)",
    "off": "believe nobody",
}
"""The kinds of rules that can be tried."""

SCHEMES = {"http": "http", "https": "https"}
"""What the connection itself can be."""

_MOST_CHARACTERS = 4000
_MOST_LINES = 50
_MOST_PROXIES = 32
_MOST_PARAMETERS = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What was filled in; each is text as it was typed.

    Args:
        peer: Who connects.
        headers: Header fields, one a line.
        trust: The proxies that are believed, separated by commas or spaces.
        source: The field that names the client.
        rules: One of `RULES`.
        scheme: The scheme of the connection itself.
    """

    peer: str = "10.0.0.5"
    headers: str = "X-Forwarded-For: 6.6.6.6, 203.0.113.9"
    trust: str = "10.0.0.0/8"
    source: str = "x-forwarded-for"
    rules: str = "trust"
    scheme: str = "http"

    def as_query(self) -> str:
        """Return the form as a query string."""
        return urlencode({name: getattr(self, name) for name in self.__slots__})


EXAMPLES = {
    "Forged, through your proxy": Form(),
    "Forged, straight at the server": Form(
        peer="203.0.113.9", headers="X-Forwarded-For: 6.6.6.6\nX-Real-IP: 6.6.6.6"
    ),
    "The same, where everybody is believed": Form(
        peer="203.0.113.9",
        headers="X-Forwarded-For: 6.6.6.6\nX-Real-IP: 6.6.6.6",
        trust="",
        rules="xheaders",
    ),
    "Two proxies, one forgotten": Form(
        headers="X-Forwarded-For: 203.0.113.9, 198.51.100.7", trust="10.0.0.5"
    ),
    "Two headers that disagree": Form(
        headers="X-Forwarded-For: 203.0.113.9\nX-Real-IP: 6.6.6.6\nX-Forwarded-Proto: https"
    ),
}
"""Forms to click."""


def read_form(query: str) -> Form | None:
    """Return the form in a query string, or None where it has not been filled in."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:  # more parameters than the form has
        return None
    given = {
        name: value[:_MOST_CHARACTERS] for name, value in pairs if name in Form.__annotations__
    }
    return Form(**given) if "peer" in given else None


class _FieldError(ValueError):
    """What is wrong, and the name of the field of the form that it stands in."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


@contextlib.contextmanager
def _within(field: str) -> Iterator[None]:
    """Say of what is refused in the block that it stands in `field`.

    Raises:
        _FieldError: Something was refused.
    """
    try:
        yield
    except (ValueError, TypeError) as error:  # what is wrong in policies is a ValueError, too
        raise _FieldError(field, str(error)) from error


def answer_form(form: Form) -> dict[str, Any]:
    """Return the proof of who the client would be, or `{"error": why, "field": which}`."""
    try:
        policy = _policy(form)
        with _within("headers"):
            head = _head(form.headers)
        with _within("scheme"):
            if form.scheme not in SCHEMES:
                raise ValueError(f"there is no scheme {form.scheme!r}; choose http or https")
        with _within("peer"):
            proof = policy.explain(peer=form.peer.strip(), headers=head, scheme=form.scheme)
    except _FieldError as error:
        return {"error": escape(str(error), 500), "field": error.field}
    answer = proof.as_dict()
    seen = {finding.code for finding in proof.findings}
    more = [warning.as_dict() for warning in policy.warnings if warning.code not in seen]
    answer["findings"] = [*(finding.as_dict() for finding in proof.findings), *more]
    return answer


def _policy(form: Form) -> TrustPolicy:
    """Return the policy that a form describes.

    Raises:
        _FieldError: It describes none.
    """
    with _within("rules"):
        if form.rules not in RULES:
            raise ValueError(f"there are no rules {form.rules!r}; choose one of {', '.join(RULES)}")
    if form.rules == "off":
        return TrustPolicy.off()
    proxies = form.trust.replace(",", " ").split()
    with _within("trust"):
        if len(proxies) > _MOST_PROXIES:
            raise ValueError(
                f"{len(proxies)} proxies are more than this page takes: {_MOST_PROXIES}"
            )
        if form.rules == "xheaders":
            return TrustPolicy.tornado(proxies)
        TrustPolicy(proxies)
    with _within("source"):
        return TrustPolicy(proxies, source=form.source.strip())


def _head(text: str) -> list[tuple[bytes, bytes]]:
    """Return the header fields of a text, one a line.

    Raises:
        ValueError: A line is none, or there are too many.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) > _MOST_LINES:
        raise ValueError(f"{len(lines)} lines are more than this page takes: {_MOST_LINES}")
    head = []
    for number, line in enumerate(lines, start=1):
        name, colon, value = line.partition(":")
        if not colon or not name or name.strip() != name:
            raise ValueError(f"line {number}: {line[:60]!r} is no header; write 'Name: value'")
        head.append((name.encode(), value.strip(" \t").encode()))
    return head
