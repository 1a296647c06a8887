"""Files of ranges: what is read, and how a wrong line is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeserver.config.ip_ranges import MAX_FILE_BYTES, load_ranges
from edgeserver.errors import TrustConfigurationError
from edgeserver.proxyheaders import TrustPolicy


def write(tmp_path: Path, content: bytes) -> Path:
    """Return a file of ranges with `content`."""
    path = tmp_path / "ranges.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"10.0.0.0/8\n2001:db8::/32\n",
        b"10.0.0.0/8\r\n2001:db8::/32",
        b"# mine\n\n \t\n  10.0.0.0/8\t# inner\n2001:db8::/32#x\n#",
        b"\xef\xbb\xbf10.0.0.0/8\n2001:db8::/32\n",
    ],
    ids=["plain", "crlf", "comments", "bom"],
)
def test_ranges(tmp_path: Path, content: bytes) -> None:
    """One CIDR a line, in order; comments and empty lines count for nothing."""
    ranges = load_ranges(write(tmp_path, content))
    assert ranges == ["10.0.0.0/8", "2001:db8::/32"]
    assert TrustPolicy(ranges).trusts("10.1.1.1")


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"10.0.0.0/8\nprivte\n", 2, "'privte' is not an address or range"),
        (b"10.0.0.0/8 10.1.0.0/16\n", 1, "0 to 32"),
        (b"# c\n\n10.0.0.0/33\n", 3, "0 to 32"),
        (b"0.0.0.0/0\n", 1, "is every address"),
        (b"::/0\n", 1, "is every address"),
        (b"unix:\n", 1, "put it into the list"),
        (b"10.0.0.1\xff\n", 1, "\\xff"),
        (b"\x1b[31m10.0.0.1\n", 1, "\\x1b[31m"),
        (b"<html>\n", 1, "is not an address or range"),
    ],
)
def test_wrong_line_is_named(tmp_path: Path, content: bytes, line: int, words: str) -> None:
    """A wrong line is refused with the file, the line and the fix, and is never skipped."""
    path = write(tmp_path, content)
    with pytest.raises(TrustConfigurationError, match=re.escape(f"{path}:{line}: ")) as caught:
        load_ranges(path)
    assert words in str(caught.value).replace("\\\\", "\\")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"# only this\n\n"], ids=["empty", "comments"])
def test_a_file_without_ranges_is_refused(tmp_path: Path, content: bytes) -> None:
    """A truncated download does not silently trust nobody."""
    with pytest.raises(TrustConfigurationError, match="no range in it"):
        load_ranges(write(tmp_path, content))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """The message says which file, and why."""
    with pytest.raises(TrustConfigurationError, match=r"absent\.txt: .*No such file"):
        load_ranges(tmp_path / "absent.txt")
    with pytest.raises(TrustConfigurationError, match="cannot be read"):
        load_ranges(str(tmp_path))


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    """What is larger than any provider's list is something else."""
    path = write(tmp_path, b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(TrustConfigurationError, match="not a file of ranges"):
        load_ranges(path)
