"""Redaction: no client's address is left anywhere, and what the operator listed stays."""

from __future__ import annotations

import json
import re

import pytest

from edgeserver.audit.page.redact import redact
from tests.audit.page.samples import REPORTS, render


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("203.0.113.9:443, 10.0.0.5", "203.0.113.0/24:443, 10.0.0.5"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("[2001:db8:1:2::3]:80", "[2001:db8:1::/48]:80"),
        ("::ffff:203.0.113.9", "203.0.113.0/24"),
        ("%5B2001:db8:1:2::3%5D", "%5B2001:db8:1::/48%5D"),
        ("2001%3Adb8%3A1%3A2%3A%3A3", "2001:db8:1::/48"),
        ("2001:db8:1:2:3", "2001:db8:1::/48"),
        ("for=203.0.113.9;by=fe80::1%eth0", "for=203.0.113.0/24;by=fe80::/48%eth0"),
        ("10.0.0.0/8 192.0.2.0/25 2001:db8::/32", "10.0.0.0/8 192.0.2.0/24 2001:db8::/32"),
        ("999.203.0.113.9", "999.203.0.113.0/24"),
        ("curl -H 'X: 203.0.113.9' http://shop:80/", "curl -H 'X: 203.0.113.0/24' http://shop:80/"),
        ("nginx.conf:31: at 07:13:03, version 1.2.3", "nginx.conf:31: at 07:13:03, version 1.2.3"),
    ],
    ids=[
        *("v4", "port and a listed one", "v6", "brackets", "mapped", "percent", "all percent"),
        *("cut", "forwarded", "networks", "too long", "curl", "no address"),
    ],
)
def test_texts(text: str, expected: str) -> None:
    """Each address in a text is its network; what is none stays, as do listed proxies."""
    report = {"policy": {"proxies": ["10.0.0.5"]}, "x": text}
    assert redact(report, text) == ({**report, "x": expected}, expected)


def test_names_and_depth() -> None:
    """Names are texts as well, and what is nested deeper than any report is left out."""
    deep: object = "203.0.113.9"
    for _ in range(50):
        deep = [deep]
    found, _ = redact({"203.0.113.9": 1, "deep": deep})
    assert found.keys() == {"203.0.113.0/24", "deep"}
    assert "203.0.113.9" not in json.dumps(found)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("config", {"10.0.0.5", "10.0.0.6"}),
        ("logs", {"192.0.2.5"}),
        ("check", set()),
        ("probe", {"198.51.100.1"}),
        ("explain", {"10.0.0.5"}),
        ("live", {"10.0.0.5"}),
    ],
)
def test_no_client_is_left_on_the_page(name: str, kept: set[str]) -> None:
    """Examples, curl lines and values of heads name networks; the operator's proxies are named."""
    page = render(REPORTS[name], hides_clients=True)
    found = set(re.findall(r"(?<![\d.])\d+(?:\.\d+){3}(?!/\d)(?![\d.])", page))
    assert found <= kept
    assert (found != set()) == (name in ("config", "logs", "explain", "live"))
    assert "clients are shown as networks" in page
