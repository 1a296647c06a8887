"""The scope of a request: the specification's table, and what is ours."""

import asyncio
import ssl
import sys

import pytest

from edgeserver.adapters.asgi import ASGIAdapter
from edgeserver.httpserver import HTTPServer
from edgeserver.httputil import HTTPServerConnectionDelegate
from edgeserver.netutil import bind_sockets, bind_unix_socket
from edgeserver.proxyheaders import Provenance, Resolved, TrustPolicy
from tests import inside
from tests.adapters.asgi.serving import GET, answer, serving, split
from tests.adapters.serving import STEP_S, hang_up, listening, until
from tests.tls import pki

AUTHORITY = pki.make_ca("Test CA")
STAFF = pki.make_ca("Staff CA")


async def scopes_of(*requests, server=None, **options):
    """Return the scope that the application got for each request."""
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await answer(send)

    async with serving(app, server=server, **options) as served:
        for request in requests:
            text = await served.ask(request)
            assert split(text)[0] == 200, text
        port = served.port
    for scope in scopes:
        assert scope["server"] == ("127.0.0.1", port)
    return scopes


def get(target, *fields, version="HTTP/1.1", method="GET"):
    """Return a request for `target`."""
    lines = [f"{method} {target} {version}", "Host: example.com", "Connection: close", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def test_every_key_of_the_specification_is_there():
    """The scope has the keys of the table, each of its type."""
    [scope] = await scopes_of(get("/a%20b?x=%20", "X-Thing: one", "X-Thing: tw\xf6"))
    assert scope["type"] == "http"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}
    assert scope["http_version"] == "1.1"
    assert scope["method"] == "GET"
    assert scope["scheme"] == "http"
    assert scope["path"] == "/a b"
    assert scope["raw_path"] == b"/a%20b"
    assert scope["query_string"] == b"x=%20"
    assert scope["root_path"] == ""
    assert scope["headers"] == [
        (b"host", b"example.com"),
        (b"connection", b"close"),
        (b"x-thing", b"one"),
        (b"x-thing", b"tw\xf6"),
    ]
    host, port = scope["client"]
    assert host == "127.0.0.1"
    assert isinstance(port, int)
    assert scope["state"] == {}
    assert type(scope["extensions"]) is dict


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        pytest.param("/", "/", b"/", b"", id="root"),
        pytest.param("/?", "/", b"/", b"", id="empty-query"),
        pytest.param("/a?b?c", "/a", b"/a", b"b?c", id="question-marks"),
        pytest.param("/%C3%BC", "/ü", b"/%C3%BC", b"", id="utf-8"),
        pytest.param("/%FF", "/�", b"/%FF", b"", id="not-utf-8"),
        pytest.param("/%zz%", "/%zz%", b"/%zz%", b"", id="no-escape"),
        pytest.param("/a%2Fb", "/a/b", b"/a%2Fb", b"", id="slash"),
        pytest.param("//a", "//a", b"//a", b"", id="two-slashes"),
        pytest.param("http://example.com/p?q", "/p", b"/p", b"q", id="absolute-form"),
        pytest.param("http://example.com", "/", b"/", b"", id="absolute-form-without-path"),
        pytest.param("http://example.com?q", "/", b"/", b"q", id="absolute-form-only-query"),
    ],
)
async def test_targets(target, path, raw_path, query):
    """The path is decoded, its bytes and the query are as they came."""
    [scope] = await scopes_of(get(target))
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


async def test_targets_change_from_request_to_request_of_a_connection():
    """Each request has its own, whatever those before had, and did to their scopes."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["path"], scope["raw_path"], scope["query_string"]))
        scope["path"] = scope["query_string"] = "changed"
        await answer(send)

    long = "/" + "a" * 300
    one = "GET {} HTTP/1.1\r\nHost: h\r\n\r\n"
    asked = ["/a?b", "/a?b", "/c", f"{long}?q", "/c", "/%41"]
    async with serving(app) as served:
        await served.ask("".join(map(one.format, asked)).encode() + GET)
    assert seen == [
        ("/a", b"/a", b"b"),
        ("/a", b"/a", b"b"),
        ("/c", b"/c", b""),
        (long, long.encode(), b"q"),
        ("/c", b"/c", b""),
        ("/A", b"/%41", b""),
        ("/", b"/", b""),
    ]


async def test_other_methods_and_versions():
    """The asterisk form keeps its asterisk, HTTP/1.0 its version, any method its name."""
    scopes = await scopes_of(
        get("*", method="OPTIONS"), get("/", version="HTTP/1.0"), get("/", method="Purge")
    )
    assert [scope["path"] for scope in scopes] == ["*", "/", "/"]
    assert [scope["http_version"] for scope in scopes] == ["1.1", "1.0", "1.1"]
    assert [scope["method"] for scope in scopes] == ["OPTIONS", "GET", "PURGE"]


@pytest.mark.parametrize("root_path", ["/api", "/api/"])
async def test_the_root_path_stands_before_every_path(root_path):
    """What the proxy stripped is put back, as uvicorn does; a slash at its end changes nothing."""
    [scope] = await scopes_of(get("/items%20"), root_path=root_path)
    assert scope["root_path"] == "/api"
    assert scope["path"] == "/api/items "
    assert scope["raw_path"] == b"/api/items%20"


async def test_client_and_scheme_are_the_resolved_ones():
    """Behind a trusted proxy they are whom it names; peer and proof are in the extension."""
    fields = ["X-Forwarded-For: 198.51.100.7, 203.0.113.5", "X-Forwarded-Proto: https"]
    policy = TrustPolicy(["127.0.0.1"])
    [scope] = await scopes_of(get("/", *fields), server={"trust": policy})
    assert scope["client"] == ("203.0.113.5", 0)
    ours = scope["extensions"]["edgeserver"]
    assert ours["peer"][0] == "127.0.0.1"
    assert isinstance(ours["client"], Resolved)
    assert ours["client"].remote_ip == "203.0.113.5"
    proof = ours["explain"]()
    assert isinstance(proof, Provenance)
    assert proof.resolved == ours["client"]
    assert scope["scheme"] == ours["client"].protocol


async def test_a_client_that_is_the_peer_has_its_port():
    """Without a proxy the client's address and port are the peer's."""
    [scope] = await scopes_of(get("/", "X-Forwarded-For: 203.0.113.5"))
    ours = scope["extensions"]["edgeserver"]
    assert scope["client"] == ours["peer"]
    assert ours["peer"][0] == "127.0.0.1"


async def test_clients_change_from_request_to_request_of_a_connection():
    """A proxy's connection serves many clients: each request has its own."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["client"][0])
        await answer(send)

    asked = ["203.0.113.1", "203.0.113.2", "203.0.113.1"]
    one = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {}\r\n\r\n"
    requests = "".join([one.format(each) for each in asked]).encode() + GET
    async with serving(app, server={"trust": TrustPolicy(["127.0.0.1"])}) as served:
        await served.ask(requests)
    assert seen == [*asked, "127.0.0.1"]


@pytest.mark.parametrize(
    "server", [{}, {"trust": TrustPolicy(["127.0.0.1"])}], ids=["no-policy", "policy"]
)
async def test_connections_do_not_see_each_other(server):
    """Each request shows its own connection, whatever others ask while it waits for its body."""
    seen = {}

    async def app(scope, receive, send):
        seen[scope["path"]] = (scope["client"], scope["extensions"]["edgeserver"]["peer"])
        await receive()
        await answer(send)

    async def finish(reader):
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\nok"), STEP_S)

    waiting = "GET /{} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"
    whole = "GET /{} HTTP/1.1\r\nHost: h\r\n\r\n"
    ends = {}
    async with serving(app, server=server) as served:
        (first, to_first), (second, to_second) = [await served.connect() for _ in range(2)]
        for number in range(3):
            one, other = f"one{number}", f"other{number}"
            ends[f"/{one}"] = to_first.get_extra_info("sockname")
            ends[f"/{other}"] = to_second.get_extra_info("sockname")
            to_first.write(waiting.format(one).encode())
            await until(lambda: any(each.exchange for each in inside.connections(served.server)))
            to_second.write(whole.format(other).encode())
            await finish(second)
            to_first.write(b"x")
            await finish(first)
        await hang_up(to_first)
        await hang_up(to_second)
    assert seen == {path: (end, end) for path, end in ends.items()}


async def test_applications_of_one_connection_do_not_see_each_other():
    """Where requests of a connection go to several applications each has its own root path."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["root_path"], scope["path"]))
        await answer(send)

    class Mounts(HTTPServerConnectionDelegate):
        def __init__(self):
            self.adapters = [
                ASGIAdapter(app, root_path=f"/{name}", lifespan="off") for name in ("a", "b")
            ]

        def start_request(self, server_conn, request_conn):
            self.adapters.reverse()
            return self.adapters[0].start_request(server_conn, request_conn)

    server = HTTPServer(Mounts())
    async with listening(server) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /p HTTP/1.1\r\nHost: h\r\n\r\n" * 4 + GET)
        await asyncio.wait_for(reader.read(), STEP_S)
        await hang_up(writer)
    paths = ["/p", "/p", "/p", "/p", "/"]
    assert seen == [
        (f"/{name}", f"/{name}{path}") for name, path in zip("babab", paths, strict=True)
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="has all of 127.0.0.0/8")
async def test_a_server_on_many_addresses_shows_the_one_that_was_asked():
    """Each scope has the address that its connection came in on, however many there are."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["server"])
        await answer(send)

    hosts = [f"127.0.{number // 50}.{number % 50 + 1}" for number in range(70)]
    server = HTTPServer(ASGIAdapter(app, lifespan="off"))
    sockets = bind_sockets(0, "0.0.0.0")
    port = sockets[0].getsockname()[1]
    server.add_sockets(sockets)
    try:
        for host in [*hosts, *hosts[:3]]:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(GET)
            await asyncio.wait_for(reader.read(), STEP_S)
            await hang_up(writer)
    finally:
        server.stop()
        await server.close_all_connections()
    assert seen == [(host, port) for host in [*hosts, *hosts[:3]]]


async def test_what_an_application_does_to_its_scope_stays_there():
    """Headers and state that it changes are its own copies: the proof is not affected."""
    found = []

    async def app(scope, receive, send):
        scope["headers"].clear()
        scope["state"]["mine"] = True
        found.append(scope["extensions"]["edgeserver"]["explain"]().resolved.remote_ip)
        found.append("mine" in served.adapter.state)
        await answer(send)

    async with serving(app, server={"trust": TrustPolicy(["127.0.0.1"])}) as served:
        await served.ask(get("/", "X-Forwarded-For: 203.0.113.5"))
    assert found == ["203.0.113.5", False]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"trust": TrustPolicy(["127.0.0.1"])},
        {"trust": TrustPolicy(["unix:"])},
        {"xheaders": True},
    ],
    ids=["off", "unlisted", "listed", "xheaders"],
)
async def test_a_unix_socket_has_a_path_and_a_client(tmp_path, options):
    """The server is the socket's path; the client is a pair, which frameworks take apart."""
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)
        await answer(send)

    path = str(tmp_path / "s")
    async with serving(app, server=options) as served:
        served.server.add_sockets([bind_unix_socket(path)])
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(GET)
        await reader.read()
        await hang_up(writer)
    assert scopes[0]["server"] == (path, None)
    assert scopes[0]["client"] == ("unix:", 0)
    assert scopes[0]["extensions"]["edgeserver"]["peer"] == ("unix:", None)


class TestTLS:
    """Source: ASGI, TLS extension 0.2."""

    async def fetch(self, tmp_path, show=None):
        """Return the scope of a request over TLS, with a client certificate if `show`."""
        scopes = []

        async def app(scope, receive, send):
            scopes.append(scope)
            await answer(send)

        pair = pki.write_pair(tmp_path, pki.make_leaf(AUTHORITY, "localhost"), "localhost")
        (tmp_path / "staff.pem").write_bytes(STAFF.pem)
        options = {
            **pair,
            "ca_certs": str(tmp_path / "staff.pem"),
            "cert_reqs": ssl.CERT_OPTIONAL,
        }
        context = pki.client_context(AUTHORITY, show, directory=tmp_path)
        async with serving(app, server={"ssl_options": options}) as served:
            reader, writer = await served.connect(ssl=context, server_hostname="localhost")
            writer.write(GET)
            await reader.read()
            cipher = writer.get_extra_info("cipher")
            await hang_up(writer)
        return scopes[0], cipher

    async def test_without_a_client_certificate(self, tmp_path):
        """The version and the cipher suite are numbers; the client's chain is empty."""
        scope, cipher = await self.fetch(tmp_path)
        assert scope["scheme"] == "https"
        tls = scope["extensions"]["tls"]
        assert tls["tls_version"] == 0x0304
        assert tls["cipher_suite"] in (0x1301, 0x1302, 0x1303)
        assert cipher[0].startswith("TLS_")
        assert tls["server_cert"] is None
        assert list(tls["client_cert_chain"]) == []
        assert tls["client_cert_name"] is None
        assert tls["client_cert_error"] is None

    async def test_with_a_client_certificate(self, tmp_path):
        """The chain is PEM, the client's own first, and the name is its subject."""
        alice = pki.make_client(STAFF, "alice")
        scope, _ = await self.fetch(tmp_path, alice)
        tls = scope["extensions"]["tls"]
        assert ssl.PEM_cert_to_DER_cert(tls["client_cert_chain"][0]) == alice.der
        assert tls["client_cert_name"] == "CN=alice"

    async def test_plain_connections_have_no_such_extension(self):
        """A server is forbidden from providing it where there is no TLS of its own."""
        [scope] = await scopes_of(get("/"))
        assert "tls" not in scope["extensions"]
