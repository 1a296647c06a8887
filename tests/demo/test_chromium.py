"""The page in a real browser: nothing is cut off, nothing is blocked, and the form works."""

from pathlib import Path

import pytest

from edgeserver.demo import app
from edgeserver.demo.whatif import EXAMPLES
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.testing import serve
from tests.demo.chromium import browsing

WIDEST = (
    "Math.max(...[...document.querySelectorAll('*')].map(e => e.getBoundingClientRect().right))"
)
LOWEST_CONTRAST = """
(() => {
  const channel = value => {
    value /= 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  const light = color => {
    const [r, g, b] = color.match(/[0-9.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  };
  const ground = element => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (!/, 0\\)$/.test(color)) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  let lowest = 21;
  for (const element of document.querySelectorAll('h1, h2, p, a, b, span, th, td, label, button')) {
    const [one, two] = [light(getComputedStyle(element).color), light(ground(element))];
    lowest = Math.min(lowest, (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05));
  }
  return lowest;
})()
"""


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    """At both widths and in both schemes all is within the window, and legible (WCAG AA, 4.5:1)."""
    trust = TrustPolicy(["loopback"])
    with serve(app, tls=False, trust=trust) as served, browsing(tmp_path) as page:
        long = "/?peer=10.0.0.5&headers=X-Forwarded-For:+" + "6" * 3000
        forged = "/?" + EXAMPLES["Forged, straight at the server"].as_query()
        for width in (400, 1280):
            for scheme in ("light", "dark"):
                for path in ("/", forged, long):
                    page.show(served.url + path, width=width, scheme=scheme)
                    assert page.ask(WIDEST) <= width, (width, path[:20])
                    assert page.ask(LOWEST_CONTRAST) >= 4.5, (scheme, path[:20])
        assert page.ask("document.querySelector('.chain') !== null")
        page.show(served.url, width=1280)
        page.click("button")
        assert page.ask("document.querySelector('h3').textContent").startswith(
            "The client would be 203.0.113.9"
        )
        assert page.ask("getComputedStyle(document.querySelector('main')).maxWidth") == "960px"
        assert page.complaints == []
