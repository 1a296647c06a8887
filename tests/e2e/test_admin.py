"""The admin listener of real servers: what it says while they start, are stuck, killed and end."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.processes import PATIENCE_S, Process, connect, serving

APP = """
import os, pathlib, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        while pathlib.Path("wait").exists():
            time.sleep(0.01)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/stuck":
        time.sleep(100)
    if scope["path"] == "/held":
        await receive()
    status = 404 if scope["path"] == "/missing" else 200
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""

LONG_S = 4 * PATIENCE_S
"""How long a server may take that starts, or imports something, on a machine that is busy."""

ADMIN = ("--admin", "unix:admin.sock")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Give a directory with an application."""
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def ask(home: Path, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Return the status and the body of what is answered at the Unix socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(LONG_S)
        sock.connect(str(home / "admin.sock"))
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        got = b""
        while data := sock.recv(65536):
            got += data
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def status(home: Path) -> dict[str, Any]:
    """Return the whole status."""
    found: dict[str, Any] = json.loads(ask(home, "/status")[1])
    return found


def until(condition: Callable[[], Any]) -> Any:
    """Ask again and again until there is something."""
    deadline_s = time.monotonic() + LONG_S
    while time.monotonic() < deadline_s:
        try:
            found = condition()
        except (FileNotFoundError, ConnectionError):
            found = None
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to that")


def get(process: Process, path: str = "/") -> bytes:
    """Return the answer to one request on a connection of its own."""
    with connect(process) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        got = b""
        while data := sock.recv(65536):
            got += data
    return got


def counted(home: Path, code: str) -> int:
    """Return how many requests were answered with a status."""
    return int(status(home)["requests_total"].get(code, 0))


def ctl(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command against the server in a directory."""
    return subprocess.run(
        [sys.executable, "-m", "edgeserver", "ctl", "--admin", "unix:admin.sock", *arguments],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG_S,
    )


def test_ready_through_start_and_drain(home: Path) -> None:
    """It is ready when the workers are, and not once it is told to end; it lives all along."""
    wait = home / "wait"
    wait.touch()
    with serving(home, "app:app", *ADMIN) as process:
        code, body = until(lambda: ask(home, "/ready"))
        assert code == 503
        assert until(lambda: "startup" in ask(home, "/ready")[1].decode())
        assert json.loads(body)["ready"] is False
        assert ask(home, "/live")[0] == 200
        assert stat.S_IMODE((home / "admin.sock").stat().st_mode) == 0o600
        wait.unlink()
        until(lambda: ask(home, "/ready")[0] == 200)
        process.wait_for("operators: unix:admin.sock")
        assert ask(home, "/ready") == (200, b'{\n "ready": true,\n "why": []\n}\n')
        with connect(process) as held:
            held.sendall(b"POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
            until(lambda: status(home)["requests_in_flight"])
            assert ask(home, "/drain", "POST")[0] == 202
            code, body = ask(home, "/ready")
            assert (code, json.loads(body)["ready"]) == (503, False)
            assert ask(home, "/live")[0] == 200
            assert until(lambda: [x for x in status(home)["waiting_for"] if "POST /held" in x])
            held.sendall(b"12345")
            assert held.recv(65536).startswith(b"HTTP/1.1 200")
        assert process.wait() == 0
        assert not (home / "admin.sock").exists()


def test_a_stuck_worker(home: Path) -> None:
    """The parent answers while its only worker is held by one call, and shows that it is."""
    with serving(home, "app:app", *ADMIN, "--worker-timeout", "3") as process:
        until(lambda: ask(home, "/ready")[0] == 200)
        pid = status(home)["workers"][0]["pid"]
        with connect(process) as held:
            held.sendall(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
            assert until(lambda: (status(home)["workers"][0]["loop_lag_s"] or 0) > 1)
            assert ask(home, "/live")[0] == ask(home, "/metrics")[0] == 200
            until(lambda: status(home)["worker_ends"] == {"stuck": 1})
        until(lambda: ask(home, "/ready")[0] == 200)
        assert pid not in [each["pid"] for each in status(home)["workers"]]


def test_counters_outlive_their_worker(home: Path) -> None:
    """No counter falls when a worker is killed, and its successor goes on."""
    with serving(home, "app:app", *ADMIN) as process:
        until(lambda: ask(home, "/ready")[0] == 200)
        for _ in range(5):
            get(process)
        get(process, "/missing")
        until(lambda: counted(home, "200") == 5)
        assert counted(home, "404") == 1
        os.kill(status(home)["workers"][0]["pid"], signal.SIGKILL)
        until(lambda: status(home)["worker_ends"] == {"killed": 1})
        assert counted(home, "200") == 5
        until(lambda: ask(home, "/ready")[0] == 200)
        assert counted(home, "200") == 5
        get(process)
        until(lambda: counted(home, "200") == 6)
        assert status(home)["connections_total"] == 7


def test_ctl(home: Path) -> None:
    """A roll replaces the workers and counts on; one that fails says why; drain ends the server."""
    with serving(home, "app:app", *ADMIN, "--workers", "2") as process:
        until(lambda: ask(home, "/ready")[0] == 200)
        before = get(process).rpartition(b"\n")[2]
        until(lambda: counted(home, "200") == 1)
        done = ctl(home, "roll")
        assert (done.returncode, done.stdout) == (0, "all workers were replaced\n")
        assert get(process).rpartition(b"\n")[2] != before
        until(lambda: counted(home, "200") == 2)
        said = ctl(home, "status")
        assert said.returncode == 0
        assert "requests: 2 (200 2)" in said.stdout
        assert json.loads(ctl(home, "status", "--json").stdout)["roll"]["number"] == 1
        assert ctl(home, "reload").returncode == 0
        until(lambda: status(home)["reloads_total"] == {"ok": 2})
        (home / "app.py").write_text("this is not Python")
        failed = ctl(home, "roll")
        assert failed.returncode == 1
        assert "the roll is given up, and the old workers stay" in failed.stderr
        assert ctl(home, "drain").stdout == "the server has ended\n"
        assert process.wait() == 0
        gone = ctl(home, "status")
        assert gone.returncode == 3
        assert "is the server running" in gone.stderr


def test_socket_files(home: Path) -> None:
    """A file that nobody listens on is replaced, a live server's is refused."""
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(home / "admin.sock"))
    with serving(home, "app:app", *ADMIN):
        until(lambda: ask(home, "/ready")[0] == 200)
        with serving(home, "app:app", *ADMIN) as second:
            second.wait_for("--admin", patience_s=LONG_S)
            assert second.wait() == 3
            assert "--admin unix:admin.sock: a running server answers there" in second.err
        assert ask(home, "/live")[0] == 200


def test_an_address_and_a_token(home: Path) -> None:
    """An address tells whoever shows the token, and only probes without it; it takes no command."""
    (home / "token").write_text("0123456789abcdef0123456789abcdef\n")
    admin = ("--admin", "127.0.0.1:0", "--admin-token-file", "token")
    with serving(home, "app:app", *admin) as process:
        url = process.wait_for("operators:", patience_s=LONG_S).split()[1]
        port = int(url.rpartition(":")[2])

        def told(line: str, *fields: str) -> int:
            with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as sock:
                lines = "".join(f"{field}\r\n" for field in ("Host: 127.0.0.1", *fields))
                sock.sendall(f"{line} HTTP/1.1\r\n{lines}\r\n".encode())
                return int(sock.makefile("rb").readline().split()[1])

        shown = "Authorization: Bearer 0123456789abcdef0123456789abcdef"
        assert told("GET /ready") == 200
        assert told("GET /status") == told("GET /metrics") == 401
        assert told("GET /metrics", shown) == told("GET /status", shown) == 200
        assert told("POST /drain", shown) == 403
        done = subprocess.run(
            [
                *(sys.executable, "-m", "edgeserver", "ctl", "--admin", f"127.0.0.1:{port}"),
                *("--admin-token-file", "token", "status"),
            ],
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "serving for" in done.stdout


def test_the_parent_stays_small(home: Path) -> None:
    """Being asked for everything has the parent import no application and run no event loop."""
    (home / "app.py").write_text(
        f"import sys\nprint('imported', 'prometheus_client' in sys.modules, flush=True)\n{APP}"
    )
    with serving(home, "app:app", *ADMIN, "--workers", "2") as process:
        until(lambda: ask(home, "/ready")[0] == 200)
        for path in ("/live", "/ready", "/metrics", "/status"):
            assert ask(home, path)[0] == 200
        process.wait_for("imported False", times=2)
        threads = Path(f"/proc/{process.pid}/task")
        if threads.exists():
            assert len(list(threads.iterdir())) == 1
        names = [os.readlink(each) for each in _descriptors(process.pid)]
        workers = [each["pid"] for each in status(home)["workers"]]
        inodes = {name for name in names if name.startswith("socket:")}
        mine = _admin_inode(home, inodes)
        for pid in workers:
            assert mine not in {os.readlink(each) for each in _descriptors(pid)}
        assert ctl(home, "roll").returncode == 0
        process.wait_for("imported False", times=4)  # though the parent has it by now
        assert "imported True" not in process.out


def _descriptors(pid: int) -> Iterator[Path]:
    if sys.platform != "linux":
        pytest.skip("descriptors are seen in /proc")
    yield from Path(f"/proc/{pid}/fd").iterdir()


def _admin_inode(home: Path, inodes: set[str]) -> str:
    """Return how /proc calls the socket that listens at the path."""
    for line in Path("/proc/net/unix").read_text().splitlines():
        if line.endswith("admin.sock"):
            name = f"socket:[{line.split()[6]}]"
            if name in inodes:
                return name
    raise AssertionError("the parent does not listen there")


def test_the_audit_of_what_comes(home: Path) -> None:
    """Requests over a listed proxy are counted by their chain, and a browser is shown it."""
    with serving(home, "app:app", *ADMIN, "--trust", "127.0.0.1") as process:
        for _ in range(3):
            get(process)
        three = [{"hops": ["127.0.0.1"], "requests": 3.0}]
        until(lambda: json.loads(ask(home, "/audit")[1])["chains"] == three)
        head = b"GET /audit HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(LONG_S)
            sock.connect(str(home / "admin.sock"))
            sock.sendall(head)
            got = b""
            while data := sock.recv(65536):
                got += data
        assert b"<svg " in got
        assert b"style-src &#x27;sha256-" in got
