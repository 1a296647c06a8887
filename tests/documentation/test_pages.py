"""All pages: their commands can be typed, their flags exist, their links lead somewhere."""

from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edgeserver.cli import cli
from edgeserver.cli.serve import serve

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (*sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("*.md")))
    if "_build" not in path.parts
}


def commands(text: str) -> Iterator[list[str]]:
    """Yield the `edgeserver` commands of a page's console blocks, as arguments."""
    for block in re.findall(r"^ *```console\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        for line in re.sub(r" *\\\n *", " ", block).splitlines():
            found = re.match(r"\$ (?:\S+/)?edgeserver (.+)", line.strip())
            if found is not None and "[" not in found[1]:
                yield shlex.split(re.split(r" [|>] ", found[1])[0], comments=True)


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if any(commands(text))])
def test_commands_can_be_typed(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of a page is one, with flags that there are; nothing is run."""
    for words in commands(PAGES[page]):
        command: click.Command = cli
        context = click.Context(cli, info_name="edgeserver")
        arguments = [word for word in words if word != "..."]
        while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
            found = command.get_command(context, arguments.pop(0))
            assert found is not None, words
            command = found
        arguments = [word.rstrip("&").strip("'") for word in arguments]
        if not {"--help", "-h", "--version", "<"} & set(arguments):
            command.make_context("edgeserver", [word for word in arguments if word])


def mentioned(text: str) -> Iterator[str]:
    """Yield the commands that a page's sentences and files of other tools name."""
    prose = re.sub(r"^ *```console\n.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"(?:`|run: |^ *- )edgeserver ([a-z][^`\n]*)", prose, re.MULTILINE)


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if any(mentioned(text))])
def test_commands_of_the_text_have_these_flags(page: str) -> None:
    """A command within a sentence, or a step of a pipeline, has the flags that it is shown with."""
    for text in mentioned(PAGES[page]):
        command: click.Command = cli
        for word in text.split():
            found = (
                command.get_command(click.Context(command), word)
                if isinstance(command, click.Group)
                else None
            )
            if found is None:
                break
            command = found
        known = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}
        assert set(FLAG.findall(text)) <= known | {"--help"}, text


FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/move/")])
def test_flags_of_those_who_move(page: str) -> None:
    """The last column of each table, what is to be typed now, names flags that there are."""
    known = {flag for each in serve.params for flag in (*each.opts, *each.secondary_opts)}
    for row in re.findall(r"^\|.*\|$", PAGES[page], re.MULTILINE):
        last = row.rstrip("|").rpartition("|")[2]
        assert set(FLAG.findall(last)) <= known, row


@pytest.mark.parametrize("page", PAGES)
def test_relative_links(page: str) -> None:
    """Every relative link of a page names a file of the repository."""
    here = (ROOT / page).parent
    text = re.sub(r"```.*?```|`[^`\n]*`", "", PAGES[page], flags=re.DOTALL)
    links = re.findall(r"\]\((?![a-z]+:)([^)#\s]+)", text)
    missing = [link for link in links if not (here / link).exists()]
    if page in ("SECURITY.md", "CHANGELOG.md"):  # a page of the documentation includes it
        assert not links
    assert not missing


def test_every_page_is_in_a_menu() -> None:
    """Somebody who reads the menu finds every page; who adds one names it in `docs/index.md`."""
    listed: set[str] = {"index"}
    for page, text in PAGES.items():
        if not page.startswith("docs/"):
            continue
        folder = Path(page).parent.relative_to("docs")
        for block in re.findall(r"```\{toctree\}\n(.*?)```", text, re.DOTALL):
            entries = [line for line in block.split("\n") if line and not line.startswith(":")]
            listed |= {str(folder / entry) for entry in entries}
    names = {page.removeprefix("docs/").removesuffix(".md") for page in PAGES if "docs/" in page}
    lost = {name for name in names if not any(fnmatch.fnmatch(name, each) for each in listed)}
    assert not lost


def test_the_change_log_has_no_line_twice() -> None:
    """The entries of a section are all different."""
    for section in PAGES["CHANGELOG.md"].split("\n### "):
        entries = re.findall(r"^- .*(?:\n  .*)*", section, re.MULTILINE)
        assert len(entries) == len(set(entries))
