"""What tests of the command line share: applications to serve, and an authority."""

import os
from pathlib import Path

import pytest
import trustme

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
    """Say that the request is here, and answer once the pipe says go."""
    if request.path == "/quick":
        answer(request, "quick")
        return
    loop, going = asyncio.get_running_loop(), asyncio.Event()
    pipe = os.open("go", os.O_RDONLY | os.O_NONBLOCK)
    loop.add_reader(pipe, going.set)
    print("waiting", flush=True)
    await going.wait()
    loop.remove_reader(pipe)
    os.close(pipe)
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
    os.mkfifo(tmp_path / "go")
    return tmp_path


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA()
