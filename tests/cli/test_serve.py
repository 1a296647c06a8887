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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from tests.cli.processes import PATIENCE_S, Process, is_alive, python, running

APPLICATION = '''
import asyncio, os, sys
from edgeserver.httputil import HTTPHeaders, ResponseStartLine

def answer(request, text):
    body = text.encode()
    headers = HTTPHeaders({"Content-Length": str(len(body))})
    request.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers, body)
    request.connection.finish()

def hello(request):
    answer(request, f"hello {request.remote_ip} {request.protocol} {os.getpid()}")

async def slow(request):
    """Say that the request is here, and answer when the file is."""
    if request.path == "/quick":
        answer(request, "quick")
        return
    print("waiting", flush=True)
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    answer(request, "done")

def stuck(request):
    """Never give control back."""
    print("stuck", flush=True)
    while True:
        pass

def crash(request):
    os._exit(7)

def make():
    return hello

class Lifespan:
    def start_request(self, server_conn, request_conn): ...
    async def startup(self): raise RuntimeError("no database")

lifespan = Lifespan()
'''


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    """Return a directory with an application."""
    (tmp_path / "main.py").write_text(APPLICATION)
    return tmp_path


@contextmanager
def _serving(app_dir: Path, target: str, *arguments: str) -> Iterator[Process]:
    """Run the command in the application's directory, on a free port unless told otherwise."""
    binds = () if "--bind" in arguments else ("--bind", "127.0.0.1:0")
    command = python("-m", "edgeserver", "serve", target, *binds, *arguments)
    with running(command, app_dir) as process:
        yield process


def _url(process: Process, number: int = 1) -> str:
    """Return the address in the `number`th start line."""
    return process.wait_for("listening on ", times=number).split()[2]


def _connect(process: Process) -> socket.socket:
    """Return a connection to the first address, with a time limit."""
    host, _, port = _url(process).removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE_S)


def test_it_serves_says_so_and_stops(app_dir: Path) -> None:
    """One line says where, with the real port; SIGTERM ends it with 0."""
    with _serving(app_dir, "main:hello") as process:
        url = _url(process)
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9][0-9]*", url)
        process.wait_for("serving main:hello, a callback (request), with 1 worker")
        answer = httpx.get(url)
        assert answer.text == f"hello 127.0.0.1 http {process.pid}"
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "\x1b" not in process.out + process.err
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)


def test_the_access_log(app_dir: Path) -> None:
    """Each request is a line on standard output, soon after its answer."""
    with _serving(app_dir, "main:hello") as process:
        httpx.get(_url(process) + "/a?b=c")
        line = process.wait_for('"GET /a?b=c HTTP/1.1" 200 ')
        assert re.fullmatch(
            r"[0-9T:.Z-]{24} 127\.0\.0\.1 \"GET /a\?b=c HTTP/1\.1\" 200 [0-9]+ [0-9.]+ms", line
        )
        assert line in process.out


def test_the_access_log_as_json(app_dir: Path) -> None:
    """With JSON, standard output holds nothing else."""
    with _serving(app_dir, "main:hello", "--access-log-format", "json") as process:
        httpx.get(_url(process) + "/x")
        process.wait_for('"target":"/x"')
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        records = [json.loads(line) for line in process.out.splitlines()]
        assert [(each["target"], each["status"]) for each in records] == [("/x", 200)]


def test_no_access_log(app_dir: Path) -> None:
    """Switched off, there is no line, not even at the end."""
    with _serving(app_dir, "main:hello", "--no-access-log") as process:
        httpx.get(_url(process))
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert "GET" not in process.out


def test_a_reader_of_the_log_that_leaves(app_dir: Path) -> None:
    """A broken pipe at standard output does not end the server."""
    with _serving(app_dir, "main:hello") as process:
        url = _url(process)
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


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA()


def test_http_and_https_in_one_process(app_dir: Path, authority: trustme.CA) -> None:
    """Several binds of both schemes are served at once, one line each."""
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(app_dir / "server.pem")
    )
    context = ssl.create_default_context()
    authority.configure_trust(context)
    arguments = ("--certfile", "server.pem", "--bind", "127.0.0.1:0", "--bind", "http://[::1]:0")
    with _serving(app_dir, "main:hello", *arguments) as process:
        secure, plain = _url(process, 1), _url(process, 2)
        assert secure.startswith("https://127.0.0.1:")
        assert plain.startswith("http://[::1]:")
        assert httpx.get(secure, verify=context).text.startswith("hello 127.0.0.1 https ")
        assert httpx.get(plain).text.startswith("hello ::1 http ")
        process.send(signal.SIGINT)
        assert process.wait() == 0


def test_a_unix_socket(app_dir: Path) -> None:
    """A Unix socket is served with the permissions asked for, and its file removed at the end."""
    with _serving(app_dir, "main:hello", "--bind", "unix:a.sock,mode=660") as process:
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
            assert _url(process) == f"http://127.0.0.1:{port}"
            assert httpx.get(_url(process)).status_code == 200


def test_requests_in_flight_are_finished(app_dir: Path) -> None:
    """After SIGTERM nothing is accepted, what is in flight is answered, and the code is 0."""
    with _serving(app_dir, "main:slow") as process, _connect(process) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        process.wait_for("waiting")
        process.send(signal.SIGTERM)
        process.wait_for("SIGTERM: stopping")
        with pytest.raises(httpx.ConnectError):
            httpx.get(_url(process))
        (app_dir / "go").touch()
        answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"done")
        assert process.wait() == 0


def test_idle_connections_do_not_delay_the_end(app_dir: Path) -> None:
    """A kept connection without a request is closed at once."""
    with _serving(app_dir, "main:slow") as process, _connect(process) as connection:
        connection.sendall(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).endswith(b"quick")
        process.send(signal.SIGTERM)
        assert connection.recv(4096) == b""
        assert process.wait() == 0


def test_the_end_has_a_time_limit(app_dir: Path) -> None:
    """A request that outlasts --graceful-timeout is cut, and the code is still 0."""
    with (
        _serving(app_dir, "main:slow", "--graceful-timeout", "0.05") as process,
        _connect(process) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        process.wait_for("waiting")
        process.send(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize("target", ["slow", "stuck"])
def test_a_second_signal_ends_at_once(app_dir: Path, target: str) -> None:
    """Somebody who insists does not wait, even for an application that blocks the loop."""
    with _serving(app_dir, f"main:{target}") as process, _connect(process) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        process.wait_for("waiting" if target == "slow" else "stuck")
        # Signals of the same number may become one, so the second is another.
        process.send(signal.SIGTERM)
        process.send(signal.SIGINT)
        assert process.wait() in (128 + signal.SIGTERM, 128 + signal.SIGINT)


def test_hup_disturbs_nothing(app_dir: Path) -> None:
    """SIGHUP reloads what can be reloaded; the server goes on."""
    with _serving(app_dir, "main:hello") as process:
        url = _url(process)
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: reloading")
        assert httpx.get(url).status_code == 200


@pytest.mark.parametrize("workers", [1, 2])
def test_hup_reloads_certificates(app_dir: Path, authority: trustme.CA, workers: int) -> None:
    """After SIGHUP every worker serves the certificate that is in the file now."""
    path, first, second = app_dir / "server.pem", _issue(authority), _issue(authority)
    path.write_bytes(first)
    arguments = ("--certfile", "server.pem", "--workers", str(workers))
    with _serving(app_dir, "main:hello", *arguments) as process:
        _, _, port = _url(process).rpartition(":")
        address = ("127.0.0.1", int(port))
        assert ssl.get_server_certificate(address) in first.decode()
        path.write_bytes(second)
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: reloaded", times=workers)
        for _ in range(5):
            assert ssl.get_server_certificate(address) in second.decode()


def _issue(authority: trustme.CA) -> bytes:
    """Return a fresh certificate for loopback and its key, in one PEM."""
    return authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes()


def test_workers_share_the_sockets(app_dir: Path) -> None:
    """Several workers answer on one address, and all end with the parent."""
    with _serving(app_dir, "main:hello", "--workers", "2") as process:
        url = _url(process)
        process.wait_for("with 2 workers")
        assert process.out.count("listening on") == 1
        pids = {_pid(url) for _ in range(20)}
        assert process.pid not in pids
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert not any(is_alive(pid) for pid in pids)


def test_a_crashed_worker_is_replaced(app_dir: Path) -> None:
    """An application that takes its process down costs that process only."""
    with _serving(app_dir, "main:crash", "--workers", "2") as process:
        url = _url(process)
        with pytest.raises(httpx.TransportError):
            httpx.get(url)
        process.wait_for("ended with code 7; starting it again")
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def _pid(url: str) -> int:
    """Return the process id of the worker that answers."""
    return int(httpx.get(url).text.split()[-1])


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("target", "arguments", "code", "part"),
    [
        pytest.param("absent:app", (), 2, "there is no module absent", id="module"),
        pytest.param("main:absent", (), 2, "has no attribute absent", id="attribute"),
        pytest.param("main:os", (), 2, "cannot be called", id="not-callable"),
        pytest.param("main:hello", ("--interface", "tornado"), 2, "start_request", id="interface"),
        pytest.param("main:lifespan", (), 3, "no database", id="startup"),
        pytest.param("main:hello", ("--certfile", "no.pem"), 2, "no.pem", id="certfile"),
        pytest.param("main:hello", ("--bind", "fd:77"), 2, "77", id="descriptor"),
        pytest.param("main:hello", ("--bind", "192.0.2.1:80"), 3, "no interface", id="address"),
        pytest.param(
            "main:hello", ("--bind", "unix:no/a.sock"), 3, "directory does not exist", id="path"
        ),
    ],
)
def test_what_cannot_start(
    app_dir: Path, target: str, arguments: tuple[str, ...], code: int, part: str, workers: str
) -> None:
    """It is one line on standard error, without a traceback, and the right exit code."""
    with _serving(app_dir, target, *arguments, "--workers", workers) as process:
        assert process.wait() == code
        assert process.out == ""
        assert process.err.startswith("edgeserver: ")
        assert process.err.count("\n") == 1
        assert part in process.err


def test_a_taken_port(app_dir: Path) -> None:
    """A port that another process has is named, with what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with _serving(app_dir, "main:hello", "--bind", f"127.0.0.1:{port}") as process:
            assert process.wait() == 3
            assert f"port {port} is taken" in process.err
            assert process.err.count("\n") == 1


def test_a_unix_socket_in_use(app_dir: Path) -> None:
    """A live server's socket file is never taken away."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(app_dir / "a.sock"))
        other.listen()
        with _serving(app_dir, "main:hello", "--bind", "unix:a.sock") as process:
            assert process.wait() == 3
            assert "a running server answers there" in process.err
        assert (app_dir / "a.sock").exists()


def test_debug_shows_the_traceback(app_dir: Path) -> None:
    """With --debug the line is preceded by where the error came from."""
    with _serving(app_dir, "absent:app", "--debug") as process:
        assert process.wait() == 2
        assert "Traceback" in process.err
        assert process.err.splitlines()[-1].startswith("edgeserver: absent:app: ")


def test_a_factory(app_dir: Path) -> None:
    """--factory serves what the attribute returns."""
    with _serving(app_dir, "main:make", "--factory") as process:
        assert httpx.get(_url(process)).text.startswith("hello ")


def test_the_application_directory(app_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """--app-dir finds an application that is not in the current directory."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with _serving(elsewhere, "main:hello", "--app-dir", str(app_dir)) as process:
        assert httpx.get(_url(process)).status_code == 200


def test_limits_reach_the_server(app_dir: Path) -> None:
    """A limit that is given is the one that holds."""
    with _serving(app_dir, "main:hello", "--max-body-size", "10") as process:
        url = _url(process)
        assert httpx.post(url, content=b"x" * 10).status_code == 200
        assert httpx.post(url, content=b"x" * 11).status_code == 413


def test_xheaders_reach_the_server(app_dir: Path) -> None:
    """Tornado's contract is in force where it is asked for, and warned about."""
    arguments = ("--xheaders", "--trusted-downstream", "10.0.0.0/8")
    headers = {"X-Forwarded-For": "203.0.113.9, 10.1.2.3", "X-Forwarded-Proto": "https"}
    with _serving(app_dir, "main:hello", *arguments) as process:
        url = _url(process)
        process.wait_for("warning: --xheaders believes")
        assert httpx.get(url, headers=headers).text.startswith("hello 203.0.113.9 https ")
    with _serving(app_dir, "main:hello") as process:
        assert httpx.get(_url(process), headers=headers).text.startswith("hello 127.0.0.1 http ")


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


def test_without_uvloop(app_dir: Path) -> None:
    """Plain asyncio serves and stops the same way."""
    script = (
        "import sys; sys.modules['uvloop'] = None\n"
        "from edgeserver.cli import main; main(sys.argv[1:])"
    )
    command = python("-c", script, "serve", "main:slow", "--bind", "127.0.0.1:0")
    with running(command, app_dir) as process, _connect(process) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        process.wait_for("waiting")
        process.send(signal.SIGTERM)
        process.wait_for("SIGTERM: stopping")
        (app_dir / "go").touch()
        assert connection.makefile("rb").read().endswith(b"done")
        assert process.wait() == 0


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
    with _serving(app_dir, "main:hello") as process:
        url = _url(process)
        async with httpx.AsyncClient() as client:
            answers = await asyncio.gather(*(client.get(url) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
