"""The page in a real browser: nothing is cut off, nothing is blocked, all of it is legible."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.page.samples import REPORTS, render
from tests.demo.chromium import browsing
from tests.demo.test_chromium import LOWEST_CONTRAST, WIDEST

SHOWN = "[...document.querySelectorAll('.chart')].map(e => getComputedStyle(e).display)"
FOLDED = (
    "[...new Set([...document.querySelectorAll('details:not([open])')]"
    ".map(e => getComputedStyle(e, '::details-content').contentVisibility))]"
)
EMPTY = [
    {"entries": []},
    {"log": {}},
    *({"kind": f"edgeserver-{n}"} for n in ("check", "probe", "live")),
]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    """At both widths and in both schemes all is within the window, and legible (WCAG AA, 4.5:1)."""
    long = {
        "entries": [],
        "hops": [{"name": "x" * 300, "kind": "6" * 300}],
        "findings": [
            {
                "code": "y" * 300,
                "detail": "z" * 2000,
                "severity": "error",
                "fix": {"text": "w" * 500},
            }
        ],
    }
    pages = {
        "all": render(*REPORTS.values()), "empty": render(*EMPTY), "long": render(long)
    }  # fmt: skip
    for name, page in pages.items():
        (tmp_path / f"{name}.html").write_text(page)
    with browsing(tmp_path / "profile") as browser:
        for width in (400, 1280):
            for scheme in ("light", "dark"):
                for name in pages:
                    browser.show(f"file://{tmp_path}/{name}.html", width=width, scheme=scheme)
                    assert browser.ask(WIDEST) <= width, (width, name)
                    assert browser.ask(LOWEST_CONTRAST) >= 4.5, (scheme, name)
        browser.show(f"file://{tmp_path}/all.html", width=1280)
        assert browser.ask(SHOWN)[:2] == ["block", "none"]
        browser.show(f"file://{tmp_path}/all.html", width=400)
        assert browser.ask(SHOWN)[:2] == ["none", "block"]
        assert browser.ask(FOLDED) == ["hidden"]
        browser.call("Emulation.setEmulatedMedia", media="print")
        assert browser.ask(FOLDED) == ["visible"], "on paper nothing is folded"
        assert browser.complaints == []
