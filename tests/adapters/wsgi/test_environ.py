"""The environ: every key of PEP 3333 and our own, as real requests make it."""

import os
import ssl
from typing import Any

import httpx
import pytest

from edgeserver.proxyheaders import TrustPolicy
from tests.adapters.wsgi.serving import Dumping, ask, serving
from tests.tls.pki import client_context, make_ca, make_client, make_leaf, write_pair


async def environ_of(request: bytes, **options: Any) -> dict[str, Any]:
    """Return the environ of a raw request; `Host` and `Connection: close` are added."""
    app = Dumping()
    async with serving(app, **options) as port:
        line, _, rest = request.partition(b"\r\n")
        host = b"" if b"HTTP/1.0" in line or b"Host:" in rest else b"Host: a.example:81\r\n"
        await ask(port, line + b"\r\n" + host + b"Connection: close\r\n" + rest + b"\r\n")
    (environ,) = app.environs
    assert environ["SERVER_PORT"] == str(port)
    return environ


async def test_a_plain_request() -> None:
    """A GET has the keys that PEP 3333 requires, and those of the client."""
    environ = await environ_of(b"GET /a/b?c=d&e HTTP/1.1\r\nAccept: */*\r\n")
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a/b",
        "QUERY_STRING": "c=d&e",
        "REQUEST_URI": "/a/b?c=d&e",
        "RAW_URI": "/a/b?c=d&e",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "a.example:81",
        "HTTP_ACCEPT": "*/*",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "edgeserver.peer": "127.0.0.1",
        "edgeserver.tls": None,
    }
    assert {key: environ[key] for key in expected} == expected
    assert environ["REMOTE_PORT"].isdigit()
    assert environ["wsgi.input"].read() == b""
    assert not {"CONTENT_TYPE", "CONTENT_LENGTH", "HTTPS"} & set(environ)
    assert type(environ) is dict
    assert all(type(value) is str for key, value in environ.items() if "." not in key)


PATHS = [
    pytest.param(b"/a%20b%2Fc", "", "", "/a b/c", id="decoded"),
    pytest.param(b"/%e2%82%ac", "", "", "/\xe2\x82\xac", id="utf-8-as-latin-1"),
    pytest.param(b"/%zz%", "", "", "/%zz%", id="no-escape"),
    pytest.param(b"//x", "", "", "//x", id="two-slashes"),
    pytest.param(b"/shop/a", "/shop", "/shop", "/a", id="root-left-on"),
    pytest.param(b"/shop", "/shop/", "/shop", "", id="root-itself"),
    pytest.param(b"/a", "/shop", "/shop", "/a", id="root-stripped-before"),
    pytest.param(b"/shopping", "/shop", "/shop", "/shopping", id="root-is-no-prefix"),
    pytest.param(b"/%e2%82%ac/a", "/\u20ac", "/\xe2\x82\xac", "/a", id="root-not-ascii"),
]


@pytest.mark.parametrize(("target", "root_path", "script_name", "path_info"), PATHS)
async def test_paths(target: bytes, root_path: str, script_name: str, path_info: str) -> None:
    """The path is decoded to bytes as latin-1, and parted at the root path."""
    environ = await environ_of(b"GET " + target + b" HTTP/1.1\r\n", root_path=root_path)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)
    assert environ["REQUEST_URI"] == target.decode()


FORMS = [
    pytest.param(b"GET http://b.example/x?y", "/x", "y", "b.example", id="absolute"),
    pytest.param(b"GET http://b.example:82", "/", "", "b.example:82", id="absolute-no-path"),
    pytest.param(b"OPTIONS *", "", "", "a.example:81", id="asterisk"),
]


@pytest.mark.parametrize(("line", "path", "query", "host"), FORMS)
async def test_other_forms_of_target(line: bytes, path: str, query: str, host: str) -> None:
    """A target in absolute-form replaces the host; an asterisk has no path."""
    environ = await environ_of(line + b" HTTP/1.1\r\n")
    found = environ["PATH_INFO"], environ["QUERY_STRING"], environ["HTTP_HOST"]
    assert found == (path, query, host)


async def test_repeated_fields_are_joined() -> None:
    """Lines of one name become one value; cookies have a separator of their own."""
    environ = await environ_of(
        b"GET / HTTP/1.1\r\nX-A: 1\r\nCookie: a=b\r\nX-A: 2\r\nCookie: c=d\r\nX-B: \xe9\r\n"
    )
    assert environ["HTTP_X_A"] == "1,2"
    assert environ["HTTP_COOKIE"] == "a=b; c=d"
    assert environ["HTTP_X_B"] == "\xe9"


async def test_names_with_an_underscore_are_dropped() -> None:
    """An alias of a proxy's header cannot take its key, whether alone, first or last."""
    environ = await environ_of(
        b"GET / HTTP/1.1\r\nX_Forwarded_For: 6.6.6.6\r\nX-Real_Ip: 6.6.6.6\r\n"
        b"X-Id: 1\r\nX_Id: 2\r\nContent_Length: 7\r\n"
    )
    assert environ["HTTP_X_ID"] == "1"
    assert "6.6.6.6" not in str(environ)
    assert not {"HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "CONTENT_LENGTH"} & set(environ)


async def test_a_list_of_equal_lengths_is_one() -> None:
    """`CONTENT_LENGTH` is a number even where the field was a list."""
    environ = await environ_of(
        b"POST / HTTP/1.1\r\nContent-Length: 2, 2\r\nContent-Type: a/b\r\n\r\nhi"
    )
    assert environ["CONTENT_LENGTH"] == "2"
    assert environ["CONTENT_TYPE"] == "a/b"
    assert "HTTP_CONTENT_LENGTH" not in environ


async def test_the_resolved_client() -> None:
    """Address and scheme are the resolved ones; the peer and the proof stand beside them."""
    environ = await environ_of(
        b"GET / HTTP/1.1\r\nX-Forwarded-For: 6.6.6.6, 203.0.113.9\r\nX-Forwarded-Proto: https\r\n",
        trust=TrustPolicy(["127.0.0.1"]),
    )
    assert environ["REMOTE_ADDR"] == "203.0.113.9"
    assert "REMOTE_PORT" not in environ  # the proxy's would be another end's
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["HTTPS"] == "on"
    assert environ["edgeserver.peer"] == "127.0.0.1"
    assert environ["edgeserver.client"].remote_ip == "203.0.113.9"
    assert environ["edgeserver.explain"]().reason == "first-untrusted"


async def test_each_request_of_a_connection_has_its_own_client() -> None:
    """What one request on a connection says holds for itself alone."""
    app = Dumping()
    async with serving(app, trust=TrustPolicy(["127.0.0.1"])) as port:
        await ask(
            port,
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n"
            b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.2\r\n\r\n"
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        )
    found = [environ["REMOTE_ADDR"] for environ in app.environs]
    assert found == ["203.0.113.1", "203.0.113.2", "127.0.0.1"]


async def test_http_1_0_without_a_host() -> None:
    """Without a Host field the socket's address stands for the server."""
    environ = await environ_of(b"GET / HTTP/1.0\r\n")
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.0"
    assert environ["SERVER_NAME"] == "127.0.0.1"
    assert "HTTP_HOST" not in environ


async def test_a_unix_socket(tmp_path: Any) -> None:
    """On a Unix socket the Host field names the server, and the client is who it is."""
    from edgeserver.adapters.wsgi import WSGIAdapter
    from edgeserver.httpserver import HTTPServer
    from edgeserver.netutil import bind_unix_socket

    app = Dumping()
    path = os.path.join(tmp_path, "s")
    server = HTTPServer(WSGIAdapter(app))
    server.add_sockets([bind_unix_socket(path)])
    transport = httpx.AsyncHTTPTransport(uds=path)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        for url in ("http://a.example/", "http://a.example:8000/"):
            assert (await client.get(url)).text == "ok"
    server.stop()
    await server.close_all_connections()
    names = [(environ["SERVER_NAME"], environ["SERVER_PORT"]) for environ in app.environs]
    assert names == [("a.example", "80"), ("a.example", "8000")]
    assert {environ["REMOTE_ADDR"] for environ in app.environs} == {"unix:"}
    assert {environ["edgeserver.peer"] for environ in app.environs} == {"unix:"}
    assert not any("REMOTE_PORT" in environ for environ in app.environs)


@pytest.mark.parametrize("certificate", [False, True], ids=["anonymous", "client-certificate"])
async def test_tls(tmp_path: Any, certificate: bool) -> None:
    """On a TLS connection of our own the keys of mod_ssl say what was agreed on."""
    ca = make_ca()
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    options = {
        **write_pair(tmp_path, make_leaf(ca)),
        "ca_certs": str(tmp_path / "ca.pem"),
        "cert_reqs": ssl.CERT_OPTIONAL,
    }
    client_certificate = make_client(ca, "alice") if certificate else None
    context = client_context(ca, client_certificate, directory=tmp_path)
    app = Dumping()
    async with (
        serving(app, ssl_options=options) as port,
        httpx.AsyncClient(verify=context, trust_env=False) as client,
    ):
        assert (await client.get(f"https://localhost:{port}/")).status_code == 200
    (environ,) = app.environs
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["HTTPS"] == "on"
    assert environ["SSL_PROTOCOL"] == "TLSv1.3"
    assert environ["SSL_CIPHER"]
    assert environ["SSL_TLS_SNI"] == "localhost"
    assert environ["SSL_CLIENT_VERIFY"] == ("SUCCESS" if certificate else "NONE")
    assert environ.get("SSL_CLIENT_S_DN") == ("CN=alice" if certificate else None)
    assert ("SSL_CLIENT_CERT" in environ) is certificate
    assert environ["edgeserver.tls"].version == "TLSv1.3"
