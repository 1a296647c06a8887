"""What the command says of itself: what to type next, examples, completion, and the manual page."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgeserver.cli import cli
from edgeserver.cli.nextsteps import find_applications

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"main.py": "app = FastAPI()\n"}, ["main:app"]),
        ({"app.py": "import x\napp: Flask = Flask(__name__)\n"}, ["app:app"]),
        ({"wsgi.py": "application = get_wsgi_application()\n"}, ["wsgi:application"]),
        ({"main.py": "async def app(scope, receive, send):\n    pass\n"}, ["main:app"]),
        ({"main.py": "def app(request): ...\n", "wsgi.py": "app = 1\n"}, ["main:app", "wsgi:app"]),
        ({"main.py": "if app == 1:\n    app = 2\napps = 3\ndef application_of(): ...\n"}, []),
        ({"other.py": "app = 1\n"}, []),
        ({"main.py": "\xff\x00"}, []),
    ],
    ids=["made", "typed", "wsgi", "asgi", "two", "none", "another file", "no text"],
)
def test_applications_of_a_directory(
    tmp_path: Path, files: dict[str, str], found: list[str]
) -> None:
    """What is made at the level of the usual modules is found, and nothing is run."""
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="latin-1")
    assert find_applications(str(tmp_path)) == found


def test_the_command_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to type next, with the application that stands here."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, [], prog_name="edgeserver")
    assert done.exit_code == 2
    assert "  edgeserver serve MODULE:ATTR" in done.stdout
    Path("main.py").write_text("app = print\n")
    done = CliRunner().invoke(cli, [], prog_name="edgeserver")
    assert re.search(
        r"^  edgeserver serve main:app +run it on http://127.0.0.1:8000$", done.stdout, re.M
    )


def examples(*words: str) -> list[list[str]]:
    """Return the commands in the help of a command, as arguments."""
    done = CliRunner().invoke(cli, [*words, "--help"], prog_name="edgeserver")
    text = done.stdout.partition("Examples:")[2].partition("\n\n")[0].replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("edgeserver")]


@pytest.mark.parametrize("words", [(), ("serve",), ("audit", "explain")], ids=" ".join)
def test_examples_of_the_help(words: tuple[str, ...]) -> None:
    """The help ends with examples, and every flag in them is one."""
    commands = examples(*words)
    assert len(commands) >= 3
    for name, *arguments in commands:
        assert name == "edgeserver"
        context = click.Context(cli, info_name=name)
        command: click.Command = cli
        while isinstance(command, click.Group):
            found = command.get_command(context, arguments.pop(0))
            assert found is not None
            command = found
        known = {option for each in command.params for option in each.opts}
        assert {word for word in arguments if word.startswith("-") and word != "-"} <= known


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("edgeserver se", {"serve"}),
        ("edgeserver audit exp", {"explain"}),
        ("edgeserver serve --max-held", {"--max-held"}),
        ("edgeserver serve --loop uv", {"uvloop"}),
        ("edgeserver serve ma", {"main:app"}),
        ("edgeserver serve --certfile ce", {"file,ce"}),
        ("edgeserver serve --config ed", {"file,ed"}),
        ("edgeserver check ed", {"file,ed"}),
        ("edgeserver serve --app-dir sr", {"dir,sr"}),
    ],
)
def test_completion(tmp_path: Path, words: str, offered: set[str]) -> None:
    """A shell that asks gets commands, flags, choices, applications, and where files are meant."""
    (tmp_path / "main.py").write_text("app = 1\n")
    environment = os.environ | {
        "_EDGESERVER_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from edgeserver.cli import main; main()"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert {line.removeprefix("plain,") for line in done.stdout.split()} == offered


@pytest.mark.skipif(
    importlib.util.find_spec("myst_parser") is None, reason="Sphinx makes the manual page"
)
def test_the_manual_page(tmp_path: Path) -> None:
    """The manual page holds every command and flag; `make man` makes it."""
    source = tmp_path / "source"
    (source / "reference").mkdir(parents=True)
    (source / "index.md").write_text("# edgeserver\n")
    for name in ("conf.py", "_ext", "reference/command-line.md"):
        (source / name).symlink_to(ROOT / "docs" / name)
    subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-b", "man", source, tmp_path / "man"],
        check=True,
        capture_output=True,
    )
    page = (tmp_path / "man" / "edgeserver.1").read_text().replace("\\-", "-")
    for text in ("edgeserver serve", "--max-body-size BYTES", "Exit codes", "audit explain"):
        assert text in page
