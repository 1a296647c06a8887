"""SARIF, JUnit and GitHub's commands, from neutral findings."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest

from edgeserver.chains.formats import (
    FindingResult,
    JUnitCase,
    ResultRule,
    render_cases,
    render_commands,
    render_results,
)
from edgeserver.chains.model import NOWHERE, Where
from tests.chains.sarif import check_sarif

RULES = [
    ResultRule("a", "error", "It is a.", "mend a"),
    ResultRule("b", "info", "It is b.", "nothing"),
]


def sarif(*results: FindingResult) -> dict[str, object]:
    """Return the only run of a log that is valid."""
    log = json.loads(render_results("tool", RULES, results, exit_code=1))
    check_sarif(log)
    run: dict[str, object] = log["runs"][0]
    return run


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("conf/nginx.conf", "conf/nginx.conf"),
        ("/etc/nginx.conf", "/etc/nginx.conf"),
        ("a b%.conf", "a%20b%25.conf"),
        ("outer:append@192.0.2.5", "./outer:append@192.0.2.5"),
        ("//host/x", "/.//host/x"),
        ("\udcff\u00e9\n", "%FF%C3%A9%0A"),
    ],
)
def test_paths_are_references(file: str, uri: str) -> None:
    """Whatever a file is called, its place is a URI reference without scheme and host."""
    run = sarif(FindingResult("a", "error", "x", Where(file, 3)))
    (place,) = run["results"][0]["locations"]  # type: ignore[index]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": uri},
        "region": {"startLine": 3},
    }


def test_a_result_without_a_place_or_line() -> None:
    """A finding about no file has no location; one about a whole file has no region."""
    run = sarif(
        FindingResult("a", "warning", "x", None), FindingResult("b", "info", "x", NOWHERE),
        FindingResult("b", "info", "x", Where("f")),
    )  # fmt: skip
    first, second, third = run["results"]  # type: ignore[misc]
    assert "locations" not in first | second
    assert third["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": "f"}}}]
    assert (first["level"], second["level"]) == ("warning", "note")


def test_baselines_in_sarif() -> None:
    """With a baseline each result is new or unchanged, and what is known is suppressed."""
    run = sarif(
        FindingResult("a", "error", "x", None, "f" * 32, known=False),
        FindingResult("a", "error", "x", None, "e" * 32, known=True),
    )
    states = [(each["baselineState"], "suppressions" in each) for each in run["results"]]  # type: ignore[attr-defined]
    assert states == [("new", False), ("unchanged", True)]


def test_junit() -> None:
    """Each case passes, fails with its verdict, or is skipped, and the counts are right."""
    text = render_cases(
        'a "suite"',
        [
            JUnitCase("g", "one", "passed"),
            JUnitCase("g", "<two>", "failed", "spoofable", 'say "no"\n'),
            JUnitCase("g", "three", "skipped", message="cannot tell"),
        ],
    )
    suite = ElementTree.fromstring(text)
    assert suite.attrib == {
        "name": 'a "suite"', "tests": "3", "failures": "1", "skipped": "1", "errors": "0"
    }  # fmt: skip
    assert [case.attrib["name"] for case in suite] == ["one", "<two>", "three"]
    failure = suite[1].find("failure")
    assert failure is not None
    assert failure.attrib == {"type": "spoofable", "message": 'say "no"\n'}


def test_github() -> None:
    """A command has file, line and title; nothing in them can begin another command."""
    text = render_commands(
        [
            FindingResult("a", "error", "100%\n::error::x", Where("a,b:c.conf", 7)),
            FindingResult("b", "info", "x", None),
            FindingResult("a", "error", "x", None, known=True),
        ]
    )
    assert text.split("\n") == [
        "::error file=a%2Cb%3Ac.conf,line=7,title=a::100%25%0A::error::x",
        "::notice title=b::x",
        "",
    ]
    assert render_commands([]) == ""
