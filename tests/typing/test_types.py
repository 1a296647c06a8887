"""What type checkers say of programs: nothing of good ones, and something of each mistake."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.typing.samples import ROOT, as_module, samples

HERE = Path(__file__).parent
SAMPLES = dict(samples())

Complaints = dict[str, dict[int, str]]
"""What is wrong, by file and line."""


def _file_of(where: str) -> str:
    """Return the name of the module of a sample."""
    return re.sub(r"\W", "_", where) + ".py"


def _ask_mypy(directory: Path) -> Complaints:
    """Return what `mypy --strict` says of the files of a directory."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-incremental"),
            *("--config-file", "", "--cache-dir", str(directory / "cache"), str(directory)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: Complaints = defaultdict(dict)
    for line in done.stdout.splitlines():
        path, number, kind, words = line.split(":", 3)
        if "error" in kind:
            found[Path(path).name][int(number)] = words.strip()
    return found


def _ask_pyright(directory: Path) -> Complaints:
    """Return what pyright, in its standard mode, says of the files of a directory."""
    config = {"typeCheckingMode": "standard", "reportUnusedExpression": False}
    (directory / "pyrightconfig.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, "--outputjson", "-p", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: Complaints = defaultdict(dict)
    for each in json.loads(done.stdout)["generalDiagnostics"]:
        if each["severity"] == "error":
            line = each["range"]["start"]["line"] + 1
            found[Path(each["file"]).name][line] = each["message"]
    return found


CHECKERS: dict[str, Callable[[Path], Complaints]] = {
    "mypy": _ask_mypy,
    "basedpyright": _ask_pyright,
}


@pytest.fixture(scope="module", params=CHECKERS)
def complaints(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Return what one type checker says of all files, asked once."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: it comes with the extra `lint`")
    directory = tmp_path_factory.mktemp(request.param)
    for name in ("examples.py", "mistakes.py"):
        shutil.copy(HERE / name, directory)
    for where, text in SAMPLES.items():
        (directory / _file_of(where)).write_text(as_module(text), encoding="utf-8")
    return CHECKERS[request.param](directory)


def test_good_programs(complaints: Complaints) -> None:
    """Programs as people write them are right, and have the types that they say."""
    assert complaints.get("examples.py", {}) == {}


def test_mistakes(complaints: Complaints) -> None:
    """Each mistake is found, and nothing else in that file."""
    lines = (HERE / "mistakes.py").read_text(encoding="utf-8").splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("  # refused")}
    assert complaints["mistakes.py"].keys() == marked


@pytest.mark.parametrize("where", SAMPLES)
def test_samples_of_the_documentation(complaints: Complaints, where: str) -> None:
    """Each Python sample of the documentation is right."""
    assert complaints.get(_file_of(where), {}) == {}


def test_there_are_samples() -> None:
    """Samples are found wherever they stand, indented ones too."""
    assert {where.partition(":")[0] for where in SAMPLES} >= {"README.md", "docs/how-to/tls.md"}
    assert len(SAMPLES) > 25
