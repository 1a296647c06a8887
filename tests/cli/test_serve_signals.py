"""How `edgeserver serve` stops, reloads and replaces workers: real signals to real processes."""

import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from tests.cli.processes import (
    PATIENCE_S,
    Process,
    connect,
    is_alive,
    python,
    running,
    serving,
    url_of,
)


@contextmanager
def waiting(
    server: AbstractContextManager[Process], line: str = "waiting"
) -> Iterator[tuple[Process, socket.socket]]:
    """Run a server with one request, which its application has (as `line` says) and keeps."""
    with server as process, connect(process) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        process.wait_for(line)
        yield process, connection


@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_in_flight_are_finished(app_dir: Path, workers: str) -> None:
    """After SIGTERM connections are refused, what is in flight is answered, and the code is 0."""
    with waiting(serving(app_dir, "main:slow", "--workers", workers)) as (process, connection):
        process.send(signal.SIGTERM)
        process.wait_for("SIGTERM: stopping", times=int(workers))
        _wait_until_refused(url_of(process))
        (app_dir / "go").write_text("go")
        answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"done")
        assert process.wait() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_successor_takes_over_the_socket_file(app_dir: Path, workers: str) -> None:
    """A server that starts while the old one finishes keeps its file when that one ends."""
    binds = ("--bind", "127.0.0.1:0", "--bind", "unix:a.sock")
    with waiting(serving(app_dir, "main:slow", *binds, "--workers", workers)) as (old, _):
        old.send(signal.SIGTERM)
        old.wait_for("SIGTERM: stopping", times=int(workers))
        _wait_until_refused(url_of(old))
        with serving(app_dir, "main:hello", "--bind", "unix:a.sock") as new:
            new.wait_for("listening on ")
            (app_dir / "go").write_text("go")
            assert old.wait() == 0
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(app_dir / "a.sock"))) as client:
                assert client.get("http://x/").text.startswith("hello ")
            new.send(signal.SIGTERM)
            assert new.wait() == 0
        assert not (app_dir / "a.sock").exists()


def _wait_until_refused(url: str) -> None:
    """Connect until nobody listens any more; nothing is asked of those who still do."""
    address = (httpx.URL(url).host, httpx.URL(url).port)
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(address, PATIENCE_S).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            pass  # it was in the queue of a listener that closed just now
        assert time.monotonic() < deadline_s, f"{url} still accepts connections"


def test_idle_connections_do_not_delay_the_end(app_dir: Path) -> None:
    """A kept connection without a request is closed at once."""
    with serving(app_dir, "main:slow") as process, connect(process) as connection:
        connection.sendall(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(4096).endswith(b"quick")
        process.send(signal.SIGTERM)
        assert connection.recv(4096) == b""
        assert process.wait() == 0


def test_the_end_has_a_time_limit(app_dir: Path) -> None:
    """A request that outlasts --graceful-timeout is cut, and the code is still 0."""
    with waiting(serving(app_dir, "main:slow", "--graceful-timeout", "0.05")) as (process, _):
        process.send(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize(("target", "line"), [("slow", "waiting"), ("stuck", "stuck")])
def test_a_second_signal_ends_at_once(app_dir: Path, target: str, line: str) -> None:
    """Somebody who insists does not wait, even for an application that blocks the loop."""
    with waiting(serving(app_dir, f"main:{target}"), line) as (process, _):
        _insist(process)


def _insist(process: Process) -> None:
    """Send a second signal on the heels of the first, and see that this is the end."""
    # Signals of the same number may become one, so the second is another.
    process.send(signal.SIGTERM)
    process.send(signal.SIGINT)
    assert process.wait() in (128 + signal.SIGTERM, 128 + signal.SIGINT)


def test_hup_disturbs_nothing(app_dir: Path) -> None:
    """SIGHUP reloads what can be reloaded; the server goes on."""
    with serving(app_dir, "main:hello") as process:
        url = url_of(process)
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: reloading")
        assert httpx.get(url).status_code == 200


def test_hup_reloads_trusted_ranges(app_dir: Path) -> None:
    """After SIGHUP the file's ranges are believed; a broken file is a line and changes nothing."""
    ranges = app_dir / "cdn.txt"
    ranges.write_text("127.0.0.1\n")

    def client(process: Process) -> str:
        """Ask, and return who the access log says asked."""
        before = process.out.count(" 200 ")
        httpx.get(url_of(process), headers={"X-Forwarded-For": "203.0.113.9"})
        process.wait_for(" 200 ", times=before + 1)
        return process.out.splitlines()[-1].split()[1]

    with serving(app_dir, "main:hello", "--trust-file", "cdn.txt") as process:
        assert client(process) == "203.0.113.9"
        ranges.write_text("nonsense\n")
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: nothing was changed")
        assert "SIGHUP: --trust-file cdn.txt:1: trusted proxy 'nonsense'" in process.err
        assert "Traceback" not in process.err
        assert client(process) == "203.0.113.9"
        ranges.write_text("10.0.0.0/8\n")
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: reloaded")
        assert client(process) == "127.0.0.1"


def _requests_in(path: Path) -> int:
    """Return how many requests an audit log holds; the line of their policy is none."""
    return sum('"kind":"policy"' not in line for line in path.read_text().splitlines())


def test_a_second_signal_loses_no_log_line(app_dir: Path) -> None:
    """Ended at once, the process has still written the proof of each request."""
    with waiting(serving(app_dir, "main:slow", "--audit-log", "audit.jsonl")) as (process, _):
        _insist(process)
    assert _requests_in(app_dir / "audit.jsonl") == 1


def test_usr1_opens_log_files_again(app_dir: Path) -> None:
    """After a rotation lines go to the new file, and none is missing."""
    log, old = app_dir / "audit.jsonl", app_dir / "audit.jsonl.1"
    with serving(app_dir, "main:hello", "--audit-log", "audit.jsonl") as process:
        httpx.get(url_of(process))
        log.rename(old)
        process.send(signal.SIGUSR1)
        process.wait_for("SIGUSR1: log files opened again")
        httpx.get(url_of(process))
        process.send(signal.SIGTERM)
        assert process.wait() == 0
    assert _requests_in(old) == _requests_in(log) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_new_worker_has_the_new_certificate(
    app_dir: Path, authority: trustme.CA, workers: int
) -> None:
    """Who is started after the parent has read the files reads them again."""
    path, second = app_dir / "server.pem", _issue(authority)
    path.write_bytes(_issue(authority))
    arguments = ("--certfile", "server.pem", "--workers", str(workers))
    with serving(app_dir, "main:hello", *arguments) as process:
        _, _, port = url_of(process).rpartition(":")
        path.write_bytes(second)
        process.send(signal.SIGUSR2)
        process.wait_for("SIGUSR2: all workers were replaced")
        process.wait_for("SIGTERM: stopping", times=workers)
        fresh = 0
        for _ in range(100):  # the old one may still take what came as it was told to stop
            shown = ssl.get_server_certificate(("127.0.0.1", int(port)))
            fresh = fresh + 1 if shown in second.decode() else 0
            if fresh == 5:
                break
        assert fresh == 5


@pytest.mark.parametrize("workers", [1, 2])
def test_hup_reloads_certificates(app_dir: Path, authority: trustme.CA, workers: int) -> None:
    """After SIGHUP every worker serves the certificate that is in the file now."""
    path, first, second = app_dir / "server.pem", _issue(authority), _issue(authority)
    path.write_bytes(first)
    arguments = ("--certfile", "server.pem", "--workers", str(workers))
    with serving(app_dir, "main:hello", *arguments) as process:
        _, _, port = url_of(process).rpartition(":")
        address = ("127.0.0.1", int(port))
        assert ssl.get_server_certificate(address) in first.decode()
        path.write_bytes(second)
        process.send(signal.SIGHUP)
        process.wait_for("SIGHUP: reloaded", times=workers)
        for _ in range(5):
            assert ssl.get_server_certificate(address) in second.decode()


@pytest.mark.parametrize("alone", [False, True], ids=["watched", "single-process"])
def test_hup_says_each_time_what_was_not_reloaded(
    app_dir: Path, authority: trustme.CA, alone: bool
) -> None:
    """A torn file keeps the last good one, and whoever asks twice is told twice."""
    path, good = app_dir / "server.pem", _issue(authority)
    path.write_bytes(good)
    arguments = ["--certfile", "server.pem", "--tls-host", "a.test=server.pem:server.pem"]
    if alone:
        arguments.append("--single-process")
    with serving(app_dir, "main:hello", *arguments) as process:
        _, _, port = url_of(process).rpartition(":")
        path.write_bytes(good[:500])
        for times in (1, 2):
            process.send(signal.SIGHUP)
            process.wait_for("SIGHUP: nothing was changed", times=times)
            process.wait_for("SIGHUP: --certfile server.pem", times=times)
        assert "Traceback" not in process.err
        assert ssl.get_server_certificate(("127.0.0.1", int(port))) in good.decode()


def test_sessions_resume_at_every_worker(app_dir: Path, authority: trustme.CA) -> None:
    """Workers share the contexts made before the fork, ticket keys and all."""
    (app_dir / "server.pem").write_bytes(_issue(authority))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    arguments = ("--certfile", "server.pem", "--workers", "2")
    with serving(app_dir, "main:hello", *arguments) as process:
        _, _, port = url_of(process).rpartition(":")
        session, workers = None, set()
        deadline_s = time.monotonic() + PATIENCE_S
        while len(workers) < 2:  # the system decides which of them accepts
            assert time.monotonic() < deadline_s
            with (
                socket.create_connection(("127.0.0.1", int(port)), PATIENCE_S) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secure,
            ):
                secure.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                workers.add(secure.makefile("rb").read().split()[-1])
                assert secure.session_reused is (session is not None)
                session = session or secure.session


def _issue(authority: trustme.CA) -> bytes:
    """Return a fresh certificate for loopback and its key, in one PEM."""
    return authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes()


def test_without_uvloop(app_dir: Path) -> None:
    """Plain asyncio serves and stops the same way."""
    script = (
        "import sys; sys.modules['uvloop'] = None\n"
        "from edgeserver.cli import main; main(sys.argv[1:])"
    )
    command = python("-c", script, "serve", "main:slow", "--bind", "127.0.0.1:0")
    with waiting(running(command, app_dir)) as (process, connection):
        process.send(signal.SIGTERM)
        process.wait_for("SIGTERM: stopping")
        (app_dir / "go").write_text("go")
        assert connection.makefile("rb").read().endswith(b"done")
        assert process.wait() == 0


def test_workers_share_the_sockets(app_dir: Path) -> None:
    """Several workers answer on one address, and all end with the parent."""
    with serving(app_dir, "main:hello", "--workers", "2") as process:
        url = url_of(process)
        process.wait_for("with 2 workers")
        assert process.out.count("listening on") == 1
        pids = {_pid(url) for _ in range(20)}
        assert process.pid not in pids
        process.send(signal.SIGTERM)
        assert process.wait() == 0
        assert not any(is_alive(pid) for pid in pids)


def test_a_crashed_worker_is_replaced(app_dir: Path) -> None:
    """An application that takes its process down costs that process only."""
    with serving(app_dir, "main:crash", "--workers", "2") as process:
        url = url_of(process)
        with pytest.raises(httpx.TransportError):
            httpx.get(url)
        process.wait_for("ended with code 7; starting it again")
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def _pid(url: str) -> int:
    """Return the process id of the worker that answers."""
    return int(httpx.get(url).text.split()[-1])
