"""The command `edgeserver serve`: real processes, sockets and signals."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trustme

from tests.cli.processes import PATIENCE_S, connect, python, running, serving, url_of


def test_it_serves_says_so_and_stops(app_dir: Path) -> None:
    """One line says where, with the real port; SIGTERM ends it with 0."""
    with serving(app_dir, "main:hello") as process:
        url = url_of(process)
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9][0-9]*", url)
        process.wait_for("serving main:hello, a callback (request), with 1 worker")
        answer = httpx.get(url)
        assert answer.text.startswith("hello 127.0.0.1 http ")
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "\x1b" not in process.out + process.err
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)


def test_the_access_log(app_dir: Path) -> None:
    """Each request is a line on standard output, soon after its answer."""
    with serving(app_dir, "main:hello") as process:
        httpx.get(url_of(process) + "/a?b=c")
        line = process.wait_for('"GET /a?b=c HTTP/1.1" 200 ')
        assert re.fullmatch(
            r"[0-9T:.Z-]{24} 127\.0\.0\.1 \"GET /a\?b=c HTTP/1\.1\" 200 [0-9]+ [0-9.]+ms", line
        )
        assert line in process.out


def test_the_access_log_as_json(app_dir: Path) -> None:
    """With JSON, standard output holds nothing else."""
    with serving(app_dir, "main:hello", "--access-log-format", "json") as process:
        httpx.get(url_of(process) + "/x")
        process.wait_for('"target":"/x"')
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        records = [json.loads(line) for line in process.out.splitlines()]
        assert [(each["target"], each["status"]) for each in records] == [("/x", 200)]


def test_no_access_log(app_dir: Path) -> None:
    """Switched off, there is no line, not even at the end."""
    with serving(app_dir, "main:hello", "--no-access-log") as process:
        httpx.get(url_of(process))
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "GET" not in process.out


def test_a_reader_of_the_log_that_leaves(app_dir: Path) -> None:
    """A broken pipe at standard output does not end the server."""
    with serving(app_dir, "main:hello") as process:
        url = url_of(process)
        process.wait_for("serving main:hello")
        process.close_out()
        httpx.get(url)
        process.wait_for("its reader has gone away")
        assert httpx.get(url).status_code == 200
        process.send(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize("redirect", ["1>&-", "1>/dev/full"], ids=["closed", "full"])
def test_an_output_that_takes_nothing(app_dir: Path, redirect: str) -> None:
    """The server starts and serves without anywhere to print to."""
    # A socket of ours: what connects before the server runs waits in its queue.
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd = sock.fileno()
        command = (
            f"exec '{sys.executable}' -m edgeserver serve main:hello --bind fd:{fd} {redirect}"
        )
        with running(["sh", "-c", command], app_dir, [fd]) as process:
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            assert httpx.get(url, timeout=PATIENCE_S).text.startswith("hello 127.0.0.1 http ")
            if "full" in redirect:
                process.wait_for("cannot be printed")
            process.send(signal.SIGTERM)
            assert process.wait() == 0


def test_http_and_https_in_one_process(app_dir: Path, authority: trustme.CA) -> None:
    """Several binds of both schemes are served at once, one line each."""
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(app_dir / "server.pem")
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    arguments = ("--certfile", "server.pem", "--bind", "127.0.0.1:0", "--bind", "http://[::1]:0")
    with serving(app_dir, "main:hello", *arguments) as process:
        secure, plain = url_of(process, 1), url_of(process, 2)
        assert secure.startswith("https://127.0.0.1:")
        assert plain.startswith("http://[::1]:")
        assert httpx.get(secure, verify=context).text.startswith("hello 127.0.0.1 https ")
        assert httpx.get(plain).text.startswith("hello ::1 http ")
        process.send(signal.SIGINT)
        assert process.wait() == 0


def test_a_unix_socket(app_dir: Path) -> None:
    """A Unix socket is served with the permissions asked for, and its file removed at the end."""
    with serving(app_dir, "main:hello", "--bind", "unix:a.sock,mode=660") as process:
        process.wait_for("listening on unix:a.sock (http)")
        path = app_dir / "a.sock"
        assert path.stat().st_mode & 0o777 == 0o660
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://localhost/").text.startswith("hello 0.0.0.0 http ")
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert not path.exists()


def test_an_inherited_descriptor(app_dir: Path) -> None:
    """A socket that somebody else opened is served; the start line has its address."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        fd, port = sock.fileno(), sock.getsockname()[1]
        command = python("-m", "edgeserver", "serve", "main:hello", "--bind", f"fd:{fd}")
        with running(command, app_dir, [fd]) as process:
            assert url_of(process) == f"http://127.0.0.1:{port}"
            assert httpx.get(url_of(process)).status_code == 200


def test_debug_shows_the_traceback(app_dir: Path) -> None:
    """With --debug the line is preceded by where the error came from."""
    with serving(app_dir, "absent:app", "--debug") as process:
        assert process.wait() == 2
        assert "Traceback" in process.err
        assert process.err.splitlines()[-1].startswith("edgeserver: absent:app: ")


def test_a_factory(app_dir: Path) -> None:
    """--factory serves what the attribute returns."""
    with serving(app_dir, "main:make", "--factory") as process:
        assert httpx.get(url_of(process)).text.startswith("hello ")


def test_the_application_directory(app_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """--app-dir finds an application that is not in the current directory."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with serving(elsewhere, "main:hello", "--app-dir", str(app_dir)) as process:
        assert httpx.get(url_of(process)).status_code == 200


def test_limits_reach_the_server(app_dir: Path) -> None:
    """A limit that is given is the one that holds."""
    with serving(app_dir, "main:hello", "--max-body-size", "10") as process:
        url = url_of(process)
        assert httpx.post(url, content=b"x" * 10).status_code == 200
        assert httpx.post(url, content=b"x" * 11).status_code == 413


def test_xheaders_reach_the_server(app_dir: Path) -> None:
    """Tornado's contract is in force where it is asked for, and warned about."""
    arguments = ("--xheaders", "--trusted-downstream", "10.0.0.0/8")
    headers = {"X-Forwarded-For": "203.0.113.9, 10.1.2.3", "X-Forwarded-Proto": "https"}
    with serving(app_dir, "main:hello", *arguments) as process:
        url = url_of(process)
        process.wait_for("warning: any-peer-trusted")
        assert httpx.get(url, headers=headers).text.startswith("hello 203.0.113.9 https ")
    with serving(app_dir, "main:hello") as process:
        assert httpx.get(url_of(process), headers=headers).text.startswith("hello 127.0.0.1 http ")


def test_a_prelude_by_flag(app_dir: Path) -> None:
    """A bind with proxy=v1 takes a PROXY prelude from a trusted peer, and says so."""
    arguments = ("--bind", "127.0.0.1:0,proxy=v1", "--trust", "127.0.0.1")
    with serving(app_dir, "main:hello", *arguments) as process:
        process.wait_for(" after a PROXY v1 prelude")
        with connect(process) as connection:
            connection.sendall(
                b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n"
                b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            answer = connection.makefile("rb").read()
        assert b"\r\n\r\nhello 203.0.113.9 http " in answer


def test_colour_on_a_terminal_only(app_dir: Path) -> None:
    """On a terminal the address stands out; NO_COLOR and pipes are plain."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = python("-m", "edgeserver", "serve", "main:hello", "--bind", "127.0.0.1:0")
    with subprocess.Popen(
        command, cwd=app_dir, env=environment, stdout=theirs, stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while b"serving " not in seen:
                seen += os.read(ours, 4096)
        finally:
            process.kill()
            os.close(ours)
    assert b"\x1b[" in seen
    assert b"http://127.0.0.1:" in seen


def test_the_help_is_quick_to_make() -> None:
    """The list of subcommands imports no subcommand, nor what only one of them needs."""
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom edgeserver.cli import cli\n"
        "result = CliRunner().invoke(cli, ['--help'])\nassert 'serve' in result.output, result\n"
        "print(*{'rich', 'edgeserver.cli.serve'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.strip() == b""


async def test_many_connections_at_start(app_dir: Path) -> None:
    """Connections that come while the server starts are served, not refused."""
    with serving(app_dir, "main:hello") as process:
        url = url_of(process)
        async with httpx.AsyncClient() as client:
            answers = await asyncio.gather(*(client.get(url) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
