"""The command `edgeserver audit ranges`: providers' files become one for `--trust-file`."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgeserver.cli.audit import audit
from edgeserver.config.ip_ranges import load_ranges

AWS = {
    "createDate": "2026-11-01-00-00-00",
    "prefixes": [
        {"ip_prefix": "198.51.100.0/24", "service": "CLOUDFRONT"},
        {"ip_prefix": "203.0.113.0/24", "service": "EC2"},
    ],
    "ipv6_prefixes": [{"ipv6_prefix": "2001:db8::/32", "service": "CLOUDFRONT"}],
}


def run(*words: str) -> Result:
    """Return what the command says."""
    return CliRunner().invoke(audit, ["ranges", *words])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return a directory with providers' files."""
    (tmp_path / "aws.json").write_text(json.dumps(AWS))
    (tmp_path / "ips.txt").write_text("192.0.2.0/25\n192.0.2.0/24\n")
    (tmp_path / "fastly.json").write_text('{"addresses": ["192.0.2.128/25"]}')
    (tmp_path / "google.json").write_text('{"prefixes": [{"ipv6Prefix": "2001:db8:1::/48"}]}')
    (tmp_path / "all.json").write_text('{"addresses": ["0.0.0.0/0"]}')
    return tmp_path


def test_files_become_one(files: Path) -> None:
    """Ranges are chosen, sorted and merged; the file is dated and can be loaded."""
    output = files / "cdn.txt"
    result = run(
        f"aws:{files}/aws.json?service=CLOUDFRONT", f"cloudflare:{files}/ips.txt",
        f"fastly:{files}/fastly.json", f"google:{files}/google.json", "-o", str(output),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert load_ranges(output) == ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"]
    assert "2 ranges, dated 2026-11-01-00-00-00" in output.read_text()


def test_diff(files: Path) -> None:
    """What would change is said, and nothing is written."""
    output = files / "cdn.txt"
    output.write_text("198.51.100.0/24\n")
    source = f"cloudflare:{files}/ips.txt"
    result = run(source, "-o", str(output), "--diff")
    assert (result.exit_code, result.output) == (1, "- 198.51.100.0/24\n+ 192.0.2.0/24\n")
    assert output.read_text() == "198.51.100.0/24\n"
    assert run(source, "-o", str(output)).exit_code == 0
    assert run(source, "-o", str(output), "--diff").output == "no change\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("acme:x", "write PROVIDER:FILE"),
        ("aws:{}/none.json", "cannot be read"),
        ("aws:{}/aws.json?service=S3", "no range in it"),
        ("fastly:{}/all.json", "is every address"),
        ("list:{}/ips.txt?a=b", "nothing to choose by"),
    ],
)
def test_refusals(files: Path, source: str, message: str) -> None:
    """A source that gives no ranges is refused, with the reason."""
    result = run(source.format(files))
    assert result.exit_code == 2
    assert message in result.output


LINE = '{peer} - - [{time}] "GET / HTTP/1.1" 200 2 "-" "curl/8" "{listed}"'


def log_of(path: Path, *lines: tuple[str, str, float]) -> str:
    """Write an access log: peer, list and how many days ago; return its name."""
    text = []
    for peer, listed, days in lines:
        moment = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(time.time() - days * 86400))
        text.append(LINE.format(peer=peer, time=moment, listed=listed))
    path.write_text("\n".join(text) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("lines", "trust", "code"),
    [
        ([("198.51.100.7", "203.0.113.9", 3.0)], (), 1),
        ([("198.51.100.7", "203.0.113.9", 40.0)], (), 0),
        ([("192.0.2.7", "203.0.113.9", 3.0)], (), 0),
        ([("10.0.0.5", "203.0.113.9, 198.51.100.7", 3.0)], (), 0),
        ([("10.0.0.5", "203.0.113.9, 198.51.100.7", 3.0)], ("--trust", "10.0.0.5"), 1),
        ([("203.0.113.66", "203.0.113.9, 198.51.100.7", 3.0)], (), 0),
    ],
    ids=["peer", "long-ago", "kept", "behind-another", "behind-my-own", "claimed"],
)
def test_a_removed_range_that_is_in_use(
    lines: list[tuple[str, str, float]], trust: tuple[str, ...], code: int, files: Path
) -> None:
    """Proxies of a range that is to go, and that a log shows, keep the old file in place."""
    output = files / "cdn.txt"
    output.write_text("198.51.100.0/24\n192.0.2.0/24\n")
    log = log_of(files / "access.log", *lines, ("192.0.2.9", "203.0.113.1", 1.0))
    words = (f"cloudflare:{files}/ips.txt", "-o", str(output), "--log", log, *trust)
    checked = run(*words, "--diff")
    assert checked.exit_code == code, checked.output
    result = run(*words)
    assert result.exit_code == code
    if code:
        assert "in use  198.51.100.7 of 198.51.100.0/24: 1 request, last on 2" in result.output
        assert output.read_text().startswith("198.51.100.0/24\n")
    else:
        assert load_ranges(output) == ["192.0.2.0/24"]
        assert checked.output == "- 198.51.100.0/24\n"


def test_a_log_needs_something_to_compare_with(files: Path) -> None:
    """Without a file nothing is removed, and a log that is not there is told."""
    source = f"cloudflare:{files}/ips.txt"
    result = run(source, "--log", "x")
    assert (result.exit_code, "-o FILE" in result.stderr) == (2, True)
    (files / "cdn.txt").write_text("198.51.100.0/24\n")
    result = run(source, "-o", f"{files}/cdn.txt", "--log", f"{files}/none")
    assert (result.exit_code, "no such log" in result.stderr) == (3, True)


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ('10.0.0.5 - - [28/Nov/2026:07:13:03 +0000] "GET / HTTP/1.1" 200 2 "-" "curl/8"\n',
         ("--trust", "10.0.0.5"), "x-forwarded-for is not in this log"),
        ("prose\n", ("--log-name", "nginx+xff"), "none of 1 lines is a request"),
    ],
    ids=["no-list", "no-request"],
)  # fmt: skip
def test_a_log_that_cannot_tell_keeps_the_file(
    text: str, words: tuple[str, ...], message: str, files: Path
) -> None:
    """A log that does not show who is behind a proxy, or nothing at all, is no permission."""
    output, log = files / "cdn.txt", files / "access.log"
    output.write_text("198.51.100.0/24\n")
    log.write_text(text)
    result = run(f"cloudflare:{files}/ips.txt", "-o", str(output), "--log", str(log), *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert output.read_text() == "198.51.100.0/24\n"
