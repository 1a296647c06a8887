"""Reports of every kind as their commands write them, and a parser of the page that they become."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from edgeserver.audit.page.document import PageSource, render_audit_page

__all__ = ["REPORTS", "ParsedPage", "render"]

_WHERE = {"file": "/etc/haproxy.cfg", "line": 8}
_WAY = {"server": "edge", "path": "/ws/", "listen": "80", "where": _WHERE}
_HEAD = [["x-forwarded-for", "203.0.113.250, 127.0.0.5"], ["host", "app.example"]]

REPORTS: dict[str, dict[str, Any]] = {
    "config": {
        "version": 1,
        "exit": 1,
        "policy": {
            "source": "x-forwarded-for",
            "proto": "x-forwarded-proto",
            "proxies": ["10.0.0.5", "10.0.0.6"],
        },
        "hops": [
            {
                "name": name,
                "kind": "haproxy",
                "file": "haproxy.cfg",
                "address": address,
                "ways": 1,
                "fields": [
                    {"name": "x-forwarded-for", "does": does, "where": _WHERE, "ways": 1, "on": []}
                ],
            }
            for name, address, does in (("edge", "10.0.0.5", "pass"), ("inner", "10.0.0.6", "?"))
        ],
        "entries": [
            {
                "from": name,
                "client": client,
                "scheme": {"http": "right"},
                "ways": [{**_WAY, "tls": False, "client": client, "scheme": "right", "tried": 36}],
            }
            for name, client in (("edge", "spoofable"), ("inner", "lost"), ("app", "right"))
        ],
        "findings": [
            {
                "code": "client-spoofable",
                "severity": "error",
                "about": "client",
                "from": "edge",
                "hop": "edge",
                "way": _WAY,
                "where": _WHERE,
                "detail": "nobody sets X-Forwarded-For here",
                "fix": {"text": "http-request set-header X-Forwarded-For %[src]", "where": _WHERE},
                "not_understood": [{"text": "a directive", "where": _WHERE}],
                "counterexample": {
                    "from": "203.0.113.66",
                    "tls": False,
                    "prelude": None,
                    "send": _HEAD,
                    "curl": "curl -H 'X-Forwarded-For: 203.0.113.250' http://HOST/",
                    "app": {"peer": "10.0.0.6", "scheme": "http", "head": _HEAD},
                    "client": "203.0.113.250",
                    "scheme": "http",
                    "verified": True,
                },
            }
        ],
        "more_findings": 2,
        "assumptions": [{"text": "the module realip is there", "where": _WHERE}],
    },
    "logs": {
        "version": 1,
        "exit": 1,
        "policy": {
            "source": "x-forwarded-for",
            "proto": None,
            "proxies": ["192.0.2.5", "10.0.0.0/8"],
        },
        "log": {
            "files": ["access.log"],
            "format": "nginx+xff",
            "lines": 40,
            "unread": 2,
            "requests": 38,
            "first": 1795849983.0,
            "last": 1795849999.0,
            "notes": ["every list ends in the peer"],
        },
        "chains": [
            {"hops": ["192.0.2.5"], "requests": 16},
            {"hops": ["192.0.2.6"], "requests": 3},
            {"hops": ["203.0.113.90"], "requests": 14},
            {"hops": ["10.1.2.3", "192.0.2.5"], "requests": 5},
        ],
        "findings": [
            {
                "code": "forgotten-proxy",
                "severity": "error",
                "subject": "192.0.2.6",
                "detail": "3 requests name 203.0.113.1, 203.0.113.2",
                "requests": 3,
                "score": 0.94,
                "parts": {"steady": 1.0, "never alone": 0.9},
                "fix": "add its address to --trust",
            }
        ],
        "cannot_tell": [{"what": "the scheme", "add": "$http_x_forwarded_proto"}],
        "against": [{"before": "192.0.2.6", "after": "203.0.113.1", "requests": 3}],
        "suggested": [{"entry": "192.0.2.6", "evidence": "names 3 clients"}],
    },
    "check": {
        "version": 1,
        "kind": "edgeserver-check",
        "exit": 1,
        "file": "audit.toml",
        "sections": [
            {"kind": "policy", "name": "", "about": ["trusts 10.0.0.5"], "verdicts": []},
            {
                "kind": "chain",
                "name": "shop",
                "about": ["edge haproxy haproxy.cfg", "inner nginx nginx.conf"],
                "verdicts": [
                    {
                        "from": "edge",
                        "about": "client",
                        "verdict": "spoofable",
                        "expected": "right",
                    },
                    {"from": "app", "about": "client", "verdict": "right", "expected": None},
                ],
            },
        ],
        "findings": [
            {
                "section": "chain shop",
                "code": "expectation-failed",
                "severity": "error",
                "detail": "the client is spoofable for who connects to edge",
                "fix": "mend it",
                "where": _WHERE,
                "curl": "curl http://HOST/",
                "fingerprint": "0123",
                "known": known,
            }
            for known in (False, True)
        ],
        "baseline": {"gone": 1},
    },
    "probe": {
        "version": 1,
        "kind": "edgeserver-probe",
        "exit": 1,
        "url": "http://shop.example/echo",
        "address": "198.51.100.1",
        "requests": 31,
        "from": {"address": "203.0.113.77", "known": True},
        "app": {"peer": "10.0.0.6", "source": "x-forwarded-for", "client": "203.0.113.77"},
        "client": "spoofable",
        "scheme": "right",
        "proxies": [{"address": "10.0.0.5", "did": "adds nothing"}],
        "fields": [
            {
                "name": "x-forwarded-for",
                "does": "append",
                "honest": "203.0.113.77",
                "sent": "203.0.113.250",
                "arrived": "203.0.113.250, 203.0.113.77",
            }
        ],
        "findings": [
            {
                "code": "client-spoofable",
                "severity": "error",
                "detail": "the app takes 203.0.113.250",
                "fix": "set it anew",
                "sent": {
                    "lines": [["X-Forwarded-For", "203.0.113.250"]],
                    "connection": "X-Real-Ip",
                    "prelude": None,
                },
            }
        ],
        "forgeries": [
            {
                "field": "x-forwarded-for",
                "kind": "forged",
                "sent": {"lines": [["X-Forwarded-For", "203.0.113.250"]], "prelude": None},
                "effect": "client",
                "status": 200,
                "note": "a note",
            }
        ],
    },
    "explain": {
        "client": "203.0.113.9",
        "scheme": "http",
        "verified": True,
        "reason": "first-untrusted",
        "hops": [
            {
                "address": address,
                "claimed": claimed,
                "said_by": "10.0.0.5",
                "field": "x-forwarded-for",
                "rule": rule,
                "verdict": verdict,
                "why": "in 10.0.0.5",
            }
            for address, claimed, rule, verdict in (
                ("10.0.0.5", "10.0.0.5", "10.0.0.5", "trusted"),
                ("203.0.113.9", "203.0.113.9", None, "client"),
                (None, "6.6.6.6", None, "ignored"),
            )
        ],
        "unseen": 3,
        "findings": [
            {"code": "conflict", "severity": "warning", "detail": "two lines", "fix": "send one"}
        ],
    },
    "live": {
        "version": 1,
        "kind": "edgeserver-live",
        "application": "main:app",
        "policy": {"proxies": ["10.0.0.5"], "lines": ["trusts 10.0.0.5"]},
        "requests": 120,
        "unverified": 2,
        "reasons": [{"reason": "first-untrusted", "meaning": "the nearest", "requests": 120}],
        "chains": [
            {"hops": ["10.0.0.5"], "requests": 100.0},
            {"hops": [], "requests": 20.0},
        ],
        "peers": [
            {"address": "10.0.0.5", "listed": True, "claims": True, "requests": 100.0},
            {"address": "203.0.113.4", "listed": False, "claims": True, "requests": 20.0},
        ],
        "shapes": [{"shape": "1 listed proxy, http, verified", "requests": 100.0}],
        "findings": [
            {
                "code": "untrusted-peer-claims",
                "severity": "warning",
                "detail": "A peer that is not listed",
                "fix": "list it",
                "requests": 20.0,
            }
        ],
    },
}
"""A report of each kind, by the command that writes it."""


def render(*values: Any, hides_clients: bool = False) -> str:
    """Return the page of some reports."""
    page = render_audit_page(
        [PageSource(value, f"report-{number}.json") for number, value in enumerate(values)],
        made_s=1795849983.0,
        version="0.0",
        hides_clients=hides_clients,
    )
    return page.decode("ascii")


class ParsedPage(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""
        self.shown: list[str | None] = []
        """What attributes hold that is shown or heard."""
        self._in_style = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.add(tag)
        self._in_style = tag == "style"
        self.attributes |= {(tag, name) for name, _ in attrs}
        self.shown += [value for name, value in attrs if name in ("aria-label", "href", "class")]

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if not self._in_style:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        """Note the end of the style sheet."""
        self._in_style = False
