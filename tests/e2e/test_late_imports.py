"""A server that has started has all that it needs: a request imports nothing.

The tests run in a process of their own, since this one has imported everything.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

SERVE = """
import asyncio, gzip, sys
from edgeserver import HTTPServer
from edgeserver.netutil import bind_sockets
{prepare}
async def main():
    server = HTTPServer({app}, decompress_request=True, {options})
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    async def ask(sent):
        reader, writer = await asyncio.open_connection("127.0.0.1", sockets[0].getsockname()[1])
        writer.write(sent)
        answer = await reader.read()
        writer.close()
        return answer
    await asyncio.open_connection("127.0.0.1", sockets[0].getsockname()[1])  # the client's imports
    before = set(sys.modules)
    for sent, status in {requests}:
        answer = await ask(sent)
        assert answer.startswith(b"HTTP/1.1 " + status), answer
    print(*sorted(set(sys.modules) - before))
    server.stop()
    await server.close_all_connections()
asyncio.run(main())
"""

CALLBACK = """
from edgeserver import HTTPHeaders
def app(request):
    print(request.explain(), request.client, request.remote_ip, file=sys.stderr)
    request.arguments, request.files, request.cookies, request.full_url(), repr(request)
    if request.path == "/fail":
        raise ValueError("no")
    request.connection.write_headers(
        ("HTTP/1.1", 200, "OK"), HTTPHeaders({"Content-Length": "0"})
    )
    request.connection.finish()
"""

WSGI = """
from edgeserver.adapters.detect import make_delegate
def app(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"x"]
"""

ASGI = """
from edgeserver.adapters.detect import make_delegate
async def app(scope, receive, send):
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})
"""

HEAD = b"Host: a\r\nX-Forwarded-For: 10.0.0.1\r\nCookie: a=b\r\nConnection: close\r\n"
FORM = (
    b"--b\r\nContent-Disposition: form-data; name=f; filename*=utf-8''%e2%82%ac\r\n"
    b"\r\nx\r\n--b--\r\n"
)


def post(body: str, kind: str) -> str:
    """Return the source of a request with `body`, itself the source of some bytes."""
    head = repr(b"POST /?a=%e9 HTTP/1.1\r\n" + HEAD + b"Content-Type: " + kind.encode())
    return f"({head} + b'\\r\\nContent-Length: %d\\r\\n' % len({body}) + b'\\r\\n' + {body})"


ORDINARY = [
    (repr(b"GET /?a=1 HTTP/1.1\r\n" + HEAD + b"\r\n"), b"200"),
    (post(repr(FORM), "multipart/form-data; boundary=b"), b"200"),
    (post("b'a=%e9'", "application/x-www-form-urlencoded"), b"200"),
    (
        post(
            "gzip.compress(b'a=1')", "application/x-www-form-urlencoded\r\nContent-Encoding: gzip"
        ),
        b"200",
    ),
    (repr(b"GET / HTTP/1.1\r\nHost: a\r\nHost: \xe9\r\n\r\n"), b"400"),
]
FAILING = [(repr(b"GET /fail HTTP/1.1\r\n" + HEAD + b"\r\n"), b"500")]


@pytest.mark.parametrize(
    ("prepare", "app", "options", "requests"),
    [
        pytest.param(CALLBACK, "app", "", ORDINARY + FAILING, id="callback"),
        pytest.param(CALLBACK, "app", "xheaders=True", ORDINARY + FAILING, id="xheaders"),
        pytest.param(
            CALLBACK + "from edgeserver.proxyheaders import TrustPolicy\n",
            "app",
            "trust=TrustPolicy(['127.0.0.0/8'])",
            ORDINARY + FAILING,
            id="trust",
        ),
        pytest.param(WSGI, "make_delegate('wsgi', app)", "", ORDINARY, id="wsgi"),
        pytest.param(ASGI, "make_delegate('asgi', app)", "", ORDINARY, id="asgi"),
    ],
)
def test_a_request_imports_nothing(
    prepare: str, app: str, options: str, requests: list[tuple[str, bytes]]
) -> None:
    """No module is loaded by answering, refusing or explaining: that may need a descriptor."""
    listed = "[" + ", ".join(f"({sent}, {status!r})" for sent, status in requests) + "]"
    code = SERVE
    for name, value in (
        ("prepare", prepare),
        ("app", app),
        ("options", options),
        ("requests", listed),
    ):
        code = code.replace("{" + name + "}", value)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
