"""The file of `audit check`: what may stand in it, and what is said of what may not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeserver.audit.check_file import parse_check_file
from edgeserver.errors import ConfigurationError

WHOLE = """
[policy]
trust = ["192.0.2.5", "192.0.2.10"]
trust-file = "cdn.txt"
max-hops = 3

[[chain]]
name = "shop"
proxies = ["haproxy:haproxy.cfg@192.0.2.5", "nginx:nginx.conf"]
reachable = ["edge", "app"]

[[chain.expect]]
client = "right"
from = ["edge"]

[[chain.expect]]
scheme = { http = "right", https = "lost" }

[[chain]]
proxies = "nginx:other.conf"
expect = [{ client = "lost" }]

[[ranges]]
file = "cdn.txt"
max-age = "4w"

[[log]]
files = ["access.log*"]
log-name = "nginx+xff"
"""


def test_everything() -> None:
    """A file has a policy, chains with expectations, ranges and logs, with their lines."""
    plan = parse_check_file(WHOLE.encode(), "audit.toml")
    assert plan.policy == {
        "trust": ("192.0.2.5", "192.0.2.10"), "trust_file": ("cdn.txt",), "max_hops": 3,
    }  # fmt: skip
    shop, other = plan.chains
    assert (shop.name, other.name) == ("shop", "2")
    first, second = shop.expectations
    assert (first.client, first.entries, first.line) == ("right", ("edge",), 12)
    assert (second.scheme, second.entries, second.line) == (
        {"http": "right", "https": "lost"}, (), 16,
    )  # fmt: skip
    assert (other.line, other.expectations[0].line) == (19, 19)
    assert plan.ranges[0].max_age_s == 4 * 7 * 86400
    assert (plan.logs[0].files, plan.logs[0].name) == (("access.log*",), "nginx+xff")


CHAIN = '[[chain]]\nproxies = "nginx:x"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing to check"),
        ("[chain", "not TOML"),
        ("a = [" * 5000, "not TOML"),
        ("x = 1", 'unknown key "x"; there are policy, chain'),
        ("[polcy]", 'unknown key "polcy"; did you mean policy?'),
        ("policy = 3", "policy: not a table"),
        ("[policy]\ntrusted = 1", 'unknown key "trusted"; did you mean trust?'),
        ("[policy]\ntrust = 3", "trust is 3; write a text"),
        ("[policy]\nmax-hops = true", "max-hops is True; write a whole number"),
        ("[chain]\nproxies = []", "write \\[\\[chain\\]\\]"),
        ("[[chain]]", "proxies is \\[\\]; write KIND:PATH"),
        ('[[chain]]\nproxies = [""]', "proxies is \\[''\\]"),
        ('[[chain]]\nproxies = ["a\\u0000"]', "proxies is"),
        (CHAIN + "expect = 3", "expect is 3; write tables"),
        (CHAIN + "expect = [3]", "not a table"),
        (CHAIN + "[[chain.expect]]", "nothing is expected"),
        (CHAIN + '[[chain.expect]]\nclient = "good"', "client is 'good'; write one of right,"),
        (CHAIN + '[[chain.expect]]\nclient = "cannot-tell"', "client is 'cannot-tell'"),
        (CHAIN + '[[chain.expect]]\nscheme = { ftp = "right" }', 'unknown key "ftp"'),
        (CHAIN + "[[chain.expect]]\nscheme = []", "scheme is \\[\\]; write one of"),
        ('[[chain]]\nname = "a"\nproxies = "x"\n' * 2, "two chains are called a"),
        ('[[ranges]]\nfile = "x"', "max-age is nothing"),
        ('[[ranges]]\nfile = "x"\nmax-age = "30"', "max-age is '30'; write 30d"),
        ("[[log]]", "files is \\[\\]"),
        ('[["\\u001b[31m"]]', r"unknown key \"\\x1b\[31m\""),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    """A wrong file is told with its name, the place and what to write."""
    with pytest.raises(ConfigurationError, match=words) as raised:
        parse_check_file(text.encode(), "audit.toml")
    assert str(raised.value).startswith("audit.toml: ")
    assert re.fullmatch(r"[ -~]*", str(raised.value))


@pytest.mark.parametrize("content", [b"\xff\xfe", b" " * 2_000_000, b"\0"])
def test_what_is_no_text(content: bytes) -> None:
    """Binary and endless files are refused."""
    with pytest.raises(ConfigurationError):
        parse_check_file(content, "audit.toml")


@pytest.mark.parametrize("page", ["reference/audit-check.md", "how-to/audit-in-ci.md"])
def test_the_files_of_the_pages_mean_something(page: str) -> None:
    """What the documentation shows can be checked as it stands."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    samples = re.findall(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert samples
    for sample in samples:
        plan = parse_check_file(sample.encode(), page)
        assert plan.chains
        assert plan.chains[0].expectations
