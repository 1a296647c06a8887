"""What servers do with requests that should not be believed: `python -m benchmarks.habits`.

Each server of the table is started on its defaults, with one ASGI application that answers with the
client that it sees (Tornado and Caddy with their own like), and is sent the same requests over a
socket. Printed is one Markdown table of what came back. It needs the servers in this environment
(`pip install uvicorn gunicorn granian hypercorn tornado`); one that is not there is left out.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return
    body = f"{scope['client'][0]} {scope['scheme']}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""

TORNADO = """
import asyncio, sys
import tornado.httpserver, tornado.web

class Hello(tornado.web.RequestHandler):
    def get(self):
        self.write(f"{self.request.remote_ip} {self.request.protocol}")
    post = get

async def main():
    application = tornado.web.Application([("/", Hello)])
    server = tornado.httpserver.HTTPServer(application, xheaders=len(sys.argv) > 2)
    server.listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()

asyncio.run(main())
"""

CADDY = """
{
    admin off
    auto_https off
}
http://:%d {
    bind 127.0.0.1
    respond "{remote_host} {scheme}"
}
"""

BIN = Path(sys.executable).parent
SERVERS = {
    "edgeserver": ["edgeserver", "serve", "app:app", "--bind", "127.0.0.1:PORT"],
    "Tornado": [sys.executable, "tornado_app.py", "PORT"],
    "Tornado, xheaders": [sys.executable, "tornado_app.py", "PORT", "xheaders"],
    "uvicorn": ["uvicorn", "app:app", "--port", "PORT"],
    "gunicorn": ["gunicorn", "app:app", "-k", "asgi", "-b", "127.0.0.1:PORT"],
    "granian": ["granian", "--interface", "asgi", "app:app", "--port", "PORT"],
    "hypercorn": ["hypercorn", "app:app", "-b", "127.0.0.1:PORT"],
    "Caddy": ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"],
}

CRLF = "\r\n"
REQUESTS = {
    "says it is 6.6.6.6, over https": (
        "GET / HTTP/1.1|Host: x|X-Forwarded-For: 6.6.6.6|X-Forwarded-Proto: https||"
    ),
    "a body of 1 TB": "POST / HTTP/1.1|Host: x|Content-Length: 1000000000000||",
    "both Content-Length and chunked": (
        "POST / HTTP/1.1|Host: x|Content-Length: 3|Transfer-Encoding: chunked||0||"
    ),
    "lines that end in a bare LF": "GET / HTTP/1.1\nHost: x\n\n",
    "two Host fields": "GET / HTTP/1.1|Host: x|Host: y||",
    "a space before the colon": "GET / HTTP/1.1|Host: x|A : y||",
}
"""What is sent; `|` stands for CRLF."""


def main() -> None:
    """Print the table."""
    found = {}
    for name, command in SERVERS.items():
        if _program(command[0]) is not None:
            found[name] = list(_habits(command))
    print("| | " + " | ".join(REQUESTS) + " |")
    print("|---" * (len(REQUESTS) + 1) + "|")
    for name, answers in found.items():
        print(f"| {name} | " + " | ".join(answers) + " |")


def _program(name: str) -> str | None:
    """Return the path of a server: this environment's, or the system's."""
    return shutil.which(name, path=str(BIN)) or shutil.which(name)


def _habits(command: list[str]) -> Iterator[str]:
    """Start a server, and yield what it makes of each request."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "app.py").write_text(ASGI)
        Path(directory, "tornado_app.py").write_text(TORNADO)
        Path(directory, "Caddyfile").write_text(CADDY % port)
        words = [_program(command[0]) or command[0], *command[1:]]
        words = [str(port) if word == "PORT" else word.replace("PORT", str(port)) for word in words]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(words, cwd=directory, **quiet) as process:
            try:
                _wait(port)
                for text in REQUESTS.values():
                    yield _ask(port, text.replace("|", CRLF).encode())
            finally:
                process.terminate()


def _wait(port: int) -> None:
    """Wait until a plain request is answered."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError):
            if _ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") != "closed":
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing answers on port {port}")


def _ask(port: int, request: bytes) -> str:
    """Send a request, and return status and body of the answer, in a few words."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.settimeout(2)
        sock.sendall(request)
        with contextlib.suppress(OSError):
            while piece := sock.recv(65536):
                answer += piece
                head, _, body = answer.partition(b"\r\n\r\n")
                if body.strip() and b"200" in head.split(b"\r\n")[0]:
                    break
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        return "closed"
    status = head.split(b" ")[1].decode()
    return f"200: {body[:40].decode()}" if status == "200" else status


if __name__ == "__main__":
    main()
