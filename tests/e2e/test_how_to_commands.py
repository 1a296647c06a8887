"""What a reader of docs/how-to types: commands, programs and settings, as they stand."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from edgeserver.audit.log import AuditLog
from edgeserver.chains.kinds import reader_of
from edgeserver.cli import cli
from edgeserver.cli.flags import APPLY_ORDER, apply_flags
from edgeserver.cli.serve import serve
from edgeserver.httpserver import HTTPServer
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.runtime.plan import ServePlan
from tests.chains.chaining import PROXY, judge
from tests.chains.sources import Texts
from tests.cli.processes import PATIENCE_S, Process, python, running, serving, url_of
from tests.e2e import proxies
from tests.e2e.site import address_of, fetch, program
from tests.e2e.site import serve as served
from tests.e2e.test_how_to import HOW_TO, blocks, commands
from tests.tls import pki

PAGES = sorted(path.stem for path in HOW_TO.glob("*.md"))
APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["path"].encode()})
"""
WSGI = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [environ["PATH_INFO"].encode()]
"""


# Commands.

COMMANDS = [
    pytest.param(command, id=f"{page}-{number}")
    for page in PAGES
    for number, command in enumerate(commands(page, "edgeserver "))
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its flags exist and go together, whatever stands in the files that it names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cdn.txt").write_text(blocks("cdn", "text")[0])
    for word in command:
        if word.endswith((".pem", ".key", ".conf", ".cfg", ".jsonl", ".gz", ".log")):
            name = Path(word.partition(":")[2] or word)
            if not name.is_absolute():
                name.parent.mkdir(exist_ok=True)
                name.touch()
    called: click.Command = cli
    words = command[1:]
    while isinstance(called, click.Group) and words and words[0] in called.commands:
        called = called.commands[words.pop(0)]
    if words == ["--version"]:
        return
    context = called.make_context(called.name, words)
    if called is serve:
        plan = ServePlan(target=context.params.pop("target"))
        apply_flags(APPLY_ORDER, context.params, plan)
        assert plan.listeners


# Programs.


def ask(port: int, path: str) -> bytes:
    """Return what a program answers, once it does."""
    until = time.monotonic() + PATIENCE_S
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            connection = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
            break
        assert time.monotonic() < until
        time.sleep(0.02)  # nothing tells when somebody else's program listens
    with connection, connection.makefile("rb") as answer:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
        return answer.read()


def test_the_programs_run_as_they_stand(tmp_path: Path) -> None:
    """An application is served by what its page shows, and Ctrl-C ends it."""
    programs = {
        "asgi": APP + blocks("asgi", "python")[0],
        "wsgi": WSGI + blocks("wsgi", "python")[0],
        "tornado": blocks("tornado", "python")[0],
    }
    with contextlib.ExitStack() as stack:
        started: dict[str, tuple[Process, int]] = {}
        for name, text in programs.items():
            port = proxies.free_port()
            changed = re.sub(r"\b8[08]{3}\b", str(port), text)
            assert changed != text
            (tmp_path / f"of_{name}.py").write_text(changed)
            process = stack.enter_context(running(python(f"of_{name}.py"), tmp_path))
            started[name] = (process, port)
        assert ask(started["asgi"][1], "/x").endswith(b"\r\n\r\n/api/x")  # root_path is on the page
        assert ask(started["wsgi"][1], "/x").endswith(b"\r\n\r\n/x")
        assert ask(started["tornado"][1], "/").endswith(b"\r\n\r\nHello, world")
        for process, _ in started.values():
            process.send(signal.SIGINT)
        for process, _ in started.values():
            process.wait()
            lines = process.err.splitlines()
            assert not lines or lines[-1] == "KeyboardInterrupt", process.err


def test_imports_and_starts_of_tornado_programs() -> None:
    """What the page for Tornado's programs imports is there, and each of its ways to start is."""
    for code in blocks("tornado", "python"):
        compile(code, "tornado.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    imports, simple, forking, sockets, *_ = blocks("tornado", "python")[1:]
    names: dict[str, Any] = {}
    exec(imports, names)
    for code in (simple, forking, sockets):
        for name in re.findall(r"^(?:\w+ = )?(\w+)[.(]", code, re.MULTILINE):
            assert name in {*names, "HTTPServer", "server"}
        for method in re.findall(r"^server\.(\w+)", code, re.MULTILINE):
            assert callable(getattr(HTTPServer, method))


# TLS.

OPTIONS = [code for code in blocks("tls", "python") if code.startswith("ssl_options = {")]


@pytest.mark.parametrize("code", OPTIONS, ids=["hosts", "clients", "floods"])
def test_tls_options(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each dict is taken, once its files are there."""
    monkeypatch.chdir(tmp_path)
    authority = pki.make_ca("Root")
    names = ("www.example.com", "*.example.com", "admin.example.com", "localhost")
    pair = pki.write_pair(tmp_path, pki.make_leaf(authority, *names), "made")
    for name in re.findall(r'"([\w-]+\.(?:pem|key|crl))"', code):
        if name.endswith(".key"):
            shutil.copy(pair["keyfile"], name)
        elif name.endswith(".crl"):
            Path(name).write_bytes(pki.make_crl(authority))
        elif "ca" in name:
            Path(name).write_bytes(pki.render_certs(authority.cert))
        else:
            shutil.copy(pair["certfile"], name)
    found: dict[str, Any] = {}
    exec(code, found)
    HTTPServer(lambda request: None, ssl_options=found["ssl_options"])


def test_groups_of_the_whole_process(tmp_path: Path) -> None:
    """The configuration of OpenSSL's leaves out what scanners remark upon."""
    (conf,) = blocks("tls", "ini")
    (tmp_path / "openssl.cnf").write_text(conf)
    (tmp_path / "main.py").write_text(APP)
    authority = pki.make_ca("Root")
    pair = pki.write_pair(tmp_path, pki.make_leaf(authority, "localhost"))
    # Not `-m edgeserver`, which the tests fork from a process that has read its configuration.
    start = [sys.executable, "-c", "from edgeserver.cli import main; main()", "serve", "main:app"]
    start += ["--bind", "https://127.0.0.1:0"]
    start += ["--certfile", pair["certfile"], "--keyfile", pair["keyfile"]]
    with running(start, tmp_path, variables={"OPENSSL_CONF": "openssl.cnf"}) as process:
        line = process.wait_for("listening on ")
        port = int(re.findall(r":(\d+)", line)[0])
        agreed = []
        for group in ("prime256v1", "secp384r1", "secp521r1"):
            context = pki.client_context(authority)
            context.set_ecdh_curve(group)
            with (
                socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection,
                contextlib.suppress(ssl.SSLError),
                context.wrap_socket(connection, server_hostname="localhost"),
            ):
                agreed.append(group)
    assert agreed == ["prime256v1", "secp384r1"]


def test_a_certificate_for_development(tmp_path: Path) -> None:
    """The command says what the page shows, and its next two commands work."""
    block = next(each for each in blocks("tls", "console") if "certs dev" in each)
    typed = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    shown = [line for line in block.splitlines() if not line.startswith("$ ")]
    made = subprocess.run(
        [sys.executable, "-m", *shlex.split(typed[0])], cwd=tmp_path, capture_output=True, text=True
    )
    assert made.stdout.splitlines() == shown
    (tmp_path / "main.py").write_text(APP)
    _, _, target, *flags = shlex.split(typed[1])
    with serving(tmp_path, target, *flags) as process:
        url = url_of(process)
        curl = [program("curl"), "--silent", *shlex.split(typed[2])[1:-1]]
        curl += ["--resolve", f"localhost:{url.rpartition(':')[2]}:127.0.0.1"]
        port = url.rpartition(":")[2]
        got = subprocess.run(
            [*curl, f"https://localhost:{port}/x"], cwd=tmp_path, capture_output=True, text=True
        )
        assert got.stdout == "/x", got.stderr


# Logs.


def test_the_configuration_of_logging(tmp_path: Path) -> None:
    """What is logged stands in the file that the page's sample names, as JSON."""
    (sample,) = blocks("log", "toml")
    (tmp_path / "logs.toml").write_text(sample.replace("/var/log/app", str(tmp_path)))
    text = APP.replace("    assert", '    __import__("logging").error("seen")\n    assert')
    (tmp_path / "main.py").write_text(text)
    with serving(tmp_path, "main:app", "--log-config", "logs.toml") as process:
        ask(int(url_of(process).rpartition(":")[2]), "/x")
        process.until(lambda: "seen" in (tmp_path / "error.log").read_text())
    lines = [json.loads(line) for line in (tmp_path / "error.log").read_text().splitlines()]
    assert "seen" in [line["message"] for line in lines]


# Audit logs and configurations.


async def test_the_audit_logs_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each log of the page can be made, and what jq is asked of one has an answer."""
    monkeypatch.chdir(tmp_path)
    code = blocks("audit-log", "python")[0]
    calls = re.findall(r"^(AuditLog\(.*?\))", code, re.MULTILINE)
    assert len(calls) == 3
    for call in calls:
        log: AuditLog = eval(call, {"AuditLog": AuditLog})
        async with served(trust=TrustPolicy(["10.0.0.1"]), audit_log=log) as server:
            await fetch(address_of(server), b"X-Forwarded-For: 6.6.6.6\r\n")
        log.close()
    questions = [each[2:] for each in blocks("audit-log", "console") if each.startswith("$ jq")]
    codes, peers = (_shell(each, tmp_path) for each in questions)
    assert codes.split()[1] == "untrusted-peer-claims"
    assert peers.split()[1] == "127.0.0.1"


def _shell(line: str, cwd: Path) -> str:
    """Return what a line says that is typed into a shell."""
    program("jq")
    return subprocess.run(
        ["sh", "-c", line], cwd=cwd, capture_output=True, text=True, check=True
    ).stdout


def test_the_configuration_that_is_audited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's file gives the page's picture, and each further command of the page a verdict."""
    monkeypatch.chdir(tmp_path)
    (text,) = blocks("audit-config", "nginx")
    for name in ("nginx.conf", "inner/nginx.conf"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    Path("edge").mkdir()
    Path("edge/haproxy.cfg").write_text("\n".join(blocks("haproxy", "text")[0].splitlines()))
    shown = next(each for each in blocks("audit-config", "console") if "SPOOFABLE" in each)
    first, *others = commands("audit-config", "edgeserver audit config")
    result = CliRunner().invoke(cli, first[1:])
    assert result.stdout == shown.partition("\n")[2]
    assert len(others) == 2
    for command in others:
        words = [word.replace("/etc/nginx/", "") for word in command[1:]]
        result = CliRunner().invoke(cli, words)
        assert result.exit_code in (0, 1, 4), result.output
        assert "chain   stranger" in result.stdout


# What the proxies are told.

PROVED = {
    "nginx": ("nginx", 0, "x-forwarded-for"),
    "haproxy": ("haproxy", 0, "x-forwarded-for"),
    "haproxy-forwarded": ("haproxy", 1, "forwarded"),
}


@pytest.mark.parametrize("name", PROVED)
def test_no_stranger_lies_to_a_proxy_that_is_set_up_so(name: str) -> None:
    """The samples are proved by `audit config`, whatever version of the proxy is installed."""
    kind, number, source = PROVED[name]
    text = blocks(kind, "nginx" if kind == "nginx" else "text")[number]
    if kind == "nginx":
        text = f"events {{}}\nhttp {{\n{text}\n}}\n"
    reader = reader_of(kind)
    assert reader is not None
    hop = reader("main", Texts(main=text))
    object.__setattr__(hop, "address", PROXY)
    judged = judge(hop, source=source)
    assert (judged.client, judged.scheme, judged.doubts) == ("right", "right", [])


@pytest.mark.parametrize("page", ["asgi", "troubleshooting"])
async def test_websockets_through_nginx(page: str, tmp_path: Path) -> None:
    """The three lines let a handshake pass; without the second it is served as a request."""
    (lines,) = blocks(page, "nginx")
    seen: list[tuple[str | None, str | None]] = []

    def note(request: Any) -> None:
        seen.append((request.headers.get("Upgrade"), request.headers.get("Connection")))
        request.connection.finish()

    async with served(note) as server:
        host, port = address_of(server)
        block = f"proxy_pass http://{host}:{port};\n{lines}"
        block = f"server {{ listen 443; location / {{ {block} }} }}"
        with proxies.nginx_blocks(tmp_path, block) as proxy:
            await _handshake(proxy.address)
    assert seen == [("websocket", "upgrade")]


async def _handshake(address: Any) -> None:
    """Send a handshake, and wait for the beginning of an answer."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    await reader.readuntil(b"\r\n")
    writer.close()
