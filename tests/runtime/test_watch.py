"""The watch over sources: which files count, and when a change is over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeserver.runtime.watch import Stamps, stamps_of, watch


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a directory with sources, and with what is none."""
    for name in (
        "app.py",
        "package/module.py",
        "package/page.html",
        "package/__pycache__/module.py",
        ".git/hook.py",
        "node_modules/a.py",
        "env/lib/b.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    return tmp_path


def test_which_files_count(site: Path) -> None:
    """Python files below a directory, without environments and hidden ones; and those named."""
    named = str(site / "package" / "page.html")
    found = stamps_of(str(site), [named, str(site / "absent")])
    assert sorted(os.path.relpath(path, site) for path in found) == [
        "app.py",
        "package/module.py",
        "package/page.html",
    ]


def test_a_change_is_seen_by_its_time_or_size(site: Path) -> None:
    """A file that was written again differs, and so does one that is new or gone."""
    before = stamps_of(str(site))
    (site / "app.py").write_text("x")
    assert stamps_of(str(site)) != before
    (site / "app.py").unlink()
    assert len(stamps_of(str(site))) == len(before) - 1


def observed(*looks: str) -> list[int]:
    """Return after which look each change was told, where each look sees this state."""
    states: Iterator[str] = iter(looks)
    seen, told = [0], []

    def look() -> Stamps:
        seen[0] += 1
        return {next(states): (0, 0)}

    watch(
        look,
        lambda: told.append(seen[0]),
        goes_on=lambda: seen[0] < len(looks),
        sleep=lambda seconds: None,
    )
    return told


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ("aaaa", []),
        ("aabbb", [4]),
        ("abcdd", [5]),
        ("abbcc", [3, 5]),
        ("abaaa", [4]),
    ],
    ids=["none", "one", "until it is over", "two", "and back"],
)
def test_when_a_change_is_told(looks: str, told: list[int]) -> None:
    """Once nothing has changed for a moment, and once for each change."""
    assert observed(*looks) == told
