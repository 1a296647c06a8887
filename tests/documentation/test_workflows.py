"""What contributors meet: workflows, forms and hooks name what there is."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def load(path: Path) -> Any:
    """Return a file of YAML; `on` is a word there."""
    return yaml.load(path.read_text(), yaml.BaseLoader)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows(path: Path) -> None:
    """Each has few rights, known jobs, targets that exist, and actions with a version."""
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(workflow["jobs"])
        if "uses" in job:
            assert (ROOT / job["uses"]).exists()
        for step in job.get("steps", ()):
            assert "@" in step.get("uses", "@")
            for target in re.findall(r"\bmake ([a-z]+)", step.get("run", "")):
                assert target in TARGETS


def test_versions_of_python() -> None:
    """The tests run on every version that the package says it is for, and on the next one."""
    tests = load(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["tests"]
    tested = tests["strategy"]["matrix"]["python"]
    start = "Programming Language :: Python :: 3."
    said = [each for each in PROJECT["project"]["classifiers"] if each.startswith(start)]
    assert {each.rpartition(" ")[2] for each in said} <= set(tested)
    assert tested[0] == PROJECT["project"]["requires-python"].removeprefix(">=")
    compiled = PROJECT["tool"]["cibuildwheel"]["build"].split()
    assert [f"cp{version.replace('.', '')}-*" for version in tested] == compiled


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms(path: Path) -> None:
    """Each form has a name, and fields with labels that are all different."""
    form = load(path)
    if path.stem == "config":
        return
    fields = [each for each in form["body"] if each["type"] != "markdown"]
    assert form["name"]
    assert form["description"]
    assert len({each["attributes"]["label"] for each in fields}) == len(fields) > 0
    assert len({each["id"] for each in fields}) == len(fields)


def test_the_source_distribution_holds_what_tests_read() -> None:
    """The tests are run from it, away from the source: see `make testwheel`."""
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    # where the compiled wheel is tested the package is not beside the tests
    assert all((ROOT / each).exists() for each in included if each != "edgeserver")
    pages = {path.name for path in ROOT.glob("*.md")}
    assert pages | {".github", ".ci", "docs", "benchmarks", "tests"} <= set(included)


def test_help_is_complete() -> None:
    """`make help` shows every target that is meant to be typed."""
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)) == set(phony.split())


REPOSITORY = {
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_REPOSITORY": "people/edgeserver",
    "GITHUB_REF_NAME": "v0.2.0",
}


def write_urls(path: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run what the workflows run before they build."""
    command = [sys.executable, str(ROOT / ".ci" / "write_urls.py"), str(path)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_release_says_where_the_project_lives(tmp_path: Path) -> None:
    """`project.urls` are those of the repository that builds; each has its page in the tree."""
    path = tmp_path / "pyproject.toml"
    path.write_text((ROOT / "pyproject.toml").read_text())
    assert write_urls(path, REPOSITORY).returncode == 0
    project = tomllib.loads(path.read_text())["project"]
    urls = project.pop("urls")
    assert project == PROJECT["project"]
    base = "https://github.example/people/edgeserver"
    assert urls["Homepage"] == urls["Source"] == base
    assert urls["Changelog"] == f"{base}/blob/v0.2.0/CHANGELOG.md"
    assert all(url.startswith(base) for url in urls.values())
    again = write_urls(path, REPOSITORY)
    assert again.returncode == 1
    assert "it was run before" in again.stderr


@pytest.mark.parametrize("name", REPOSITORY)
@pytest.mark.parametrize("value", ["", 'x"\n[evil]'], ids=["none", "hostile"])
def test_no_urls_of_nowhere(tmp_path: Path, name: str, value: str) -> None:
    """Where no repository is named, and where a name would be more than one, nothing is written."""
    path = tmp_path / "pyproject.toml"
    path.write_text("[project]\n")
    refused = write_urls(path, REPOSITORY | {name: value})
    assert refused.returncode == 1
    assert "do not name a repository" in refused.stderr
    assert path.read_text() == "[project]\n"
