"""The command `edgeserver audit ranges`: providers' files become one for `--trust-file`."""

from __future__ import annotations

import json
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
