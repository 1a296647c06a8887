"""As the first process of a container: in a process namespace, without a home."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.processes import PATIENCE_S, Process, python, running, url_of

APPLICATION = """
import os, time

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/orphan":
        if os.fork() == 0:
            if os.fork() == 0:
                os.execv("/bin/true", ["true"])
            os._exit(0)
        os.wait()
    for _ in range(100):
        dead = [each for each in filter(str.isdigit, os.listdir("/proc")) if is_dead(each)]
        if not dead:
            break
        time.sleep(0.05)
    return [f"{os.getppid()} {len(dead)}".encode()]

def is_dead(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
"""

_NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _may_make_namespaces() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    return subprocess.run([*_NAMESPACE, "true"], capture_output=True, timeout=60).returncode == 0


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    """Return the command as process 1 of its namespace; skips where that may not be made."""
    if not _may_make_namespaces():
        pytest.skip("no process namespace can be made here")
    (tmp_path / "site_app.py").write_text(APPLICATION)
    monkeypatch.delenv("HOME", raising=False)
    command = python("-m", "edgeserver", "serve", "site_app:app", "--bind", "127.0.0.1:0")
    with running([*_NAMESPACE, *command], tmp_path) as process:
        yield process


def test_the_first_process_reaps_orphans_and_stops(container: Process) -> None:
    """What the application left behind does not stay as a zombie, and SIGTERM ends all with 0."""
    url = url_of(container)
    for path in ("/orphan", "/orphan", "/"):
        with urlopen(url + path, timeout=PATIENCE_S) as answer:
            assert answer.read() == b"1 0"
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    assert container.wait() == 0
