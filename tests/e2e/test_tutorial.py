"""The tutorial on auditing a chain is run as it stands, but for its ports."""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeserver.audit import probe
from edgeserver.cli import cli
from tests.cli.processes import python
from tests.e2e.proxies import free_port, haproxy_binary, nginx_binary

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "audit-your-chain.md"
PORTS = ("18080", "18081", "18000")
PATIENCE_S = 30.0

SERVE = """
import sys
from edgeserver.audit import nonces
nonces.NonceBook.__init__.__kwdefaults__["per_second"] = 1000
from edgeserver.cli import main
main(sys.argv[1:])
"""
"""The command, with an echo that answers as often as a test asks."""


def blocks(language: str) -> list[str]:
    """Return the blocks of one language on the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the page with the lines that it is to print."""
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            text = part.replace("\\\n", " ")
            command, *lines = text.rstrip("\n").split("\n")
            yield command, lines


def fits(printed: list[str], expected: list[str]) -> bool:
    """Return whether lines are those expected, where `...` stands for any number of them."""
    if not expected:
        return not printed
    if expected[0] == "...":
        return any(fits(printed[at:], expected[1:]) for at in range(len(printed) + 1))
    pattern = expected[0].replace("[", "[[]").replace("...", "*")
    return (
        bool(printed)
        and fnmatch.fnmatchcase(printed[0], pattern)
        and fits(printed[1:], expected[1:])
    )


class Place:
    """The tutorial's directory, with other ports."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        found = dict.fromkeys(PORTS, 0)
        for port in PORTS:
            while found[port] < 10_000 or list(found.values()).count(found[port]) > 1:
                found[port] = free_port()
        self.ports = {page: str(port) for page, port in found.items()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def write(self, name: str, text: str) -> None:
        """Save a file of the page."""
        for page, port in self.ports.items():
            text = text.replace(page, port)
        (self.directory / name).write_text(text)

    def words(self, command: str) -> list[str]:
        """Return a command with this place's ports."""
        for page, port in self.ports.items():
            command = command.replace(page, port)
        return shlex.split(command)

    def run(self, command: str) -> tuple[int, list[str]]:
        """Run a command of ours; return its exit code and its lines, with the page's ports."""
        result = CliRunner().invoke(cli, self.words(command)[1:])
        text = result.stdout
        for page, port in self.ports.items():
            text = text.replace(port, page)
        return result.exit_code, text.rstrip("\n").split("\n")

    def start(self, name: str, words: list[str], port: str) -> None:
        """Start a program, and wait until it listens."""
        log = (self.directory / f"{name}.out").open("wb")
        with log:
            process = subprocess.Popen(words, cwd=self.directory, stdout=log, stderr=log)
        self.processes[name] = process
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s and process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", int(self.ports[port])), 1).close()
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
        said = (self.directory / f"{name}.out").read_text()
        raise AssertionError(f"{name} does not listen:\n{said}")

    def stop(self, name: str) -> None:
        """Stop a program."""
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Return an empty directory, which is the working one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(probe, "PAUSE_S", 0.0)
    found = Place(tmp_path)
    yield found
    for name in [*found.processes]:
        found.stop(name)


def test_audit_your_chain(place: Place) -> None:
    """Every command prints what the page says, before the mistake is mended and after."""
    haproxy, mended = blocks("text")
    (nginx,) = blocks("nginx")
    (check,) = blocks("toml")
    place.write("haproxy.cfg", haproxy)
    place.write("nginx.conf", nginx)
    place.write("audit.toml", check)
    binaries = {"haproxy": haproxy_binary(), "nginx": nginx_binary()}
    codes = []
    for command, lines in commands():
        name = command.split()[0]
        if command.startswith("edgeserver serve"):
            words = python("-c", SERVE, *place.words(command)[1:])
            place.start("edgeserver", words, "18000")
        elif name in binaries:
            port = "18080" if name == "haproxy" else "18081"
            place.start(name, [binaries[name], *place.words(command)[1:]], port)
        elif name == "openssl":
            (place.directory / "token").write_text(os.urandom(32).hex() + "\n")
        elif name == "for":
            for _ in range(100):
                _get(int(place.ports["18080"]))
        elif name == "edgeserver":
            if "--save" in command:
                place.write("haproxy.cfg", haproxy.replace(_frontend(haproxy), mended))
                place.stop("haproxy")
                place.start("haproxy", [binaries["haproxy"], "-db", "-f", "haproxy.cfg"], "18080")
            code, printed = place.run(command)
            codes.append(code)
            assert fits(printed, lines), "\n".join([command, *printed])
    assert codes == [1, 1, 1, 0, 0]


def _frontend(haproxy: str) -> str:
    """Return the frontend of a configuration."""
    lines = itertools.dropwhile(lambda line: line != "frontend edge", haproxy.split("\n"))
    return "\n".join(itertools.takewhile(bool, lines)) + "\n"


def _get(port: int) -> None:
    """Send one honest request, and wait for its answer."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while sock.recv(65536):
            pass


def test_fits() -> None:
    """Dots stand for any lines and any part of a line, and for nothing else."""
    assert fits(["a", "b", "c"], ["a", "...", "c"])
    assert fits(["131 requests, x"], ["131 requests, ..."])
    assert fits(["%[src]"], ["%[src]"])
    assert not fits(["a", "b"], ["a"])
    assert not fits(["a"], ["a", "b"])
