"""WebSocket handshakes: what is refused, and what is served as the request that it is."""

import base64

import pytest

from tests.adapters.asgi.serving import answer, serving, split

KEY = base64.b64encode(bytes(16)).decode()
FIELDS = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def handshake(*, line="GET /chat HTTP/1.1", more="", **changes):
    """Return a handshake with some of its fields changed, or left out where they are None."""
    fields = {**FIELDS, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([line, "Host: h", *lines]).encode() + b"\r\n" + more.encode() + b"\r\n"


async def never(scope, receive, send):
    """Be an application that is not asked."""
    raise AssertionError("the application was called")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"Sec_WebSocket_Version": "8"}, 426, id="version-8"),
        pytest.param({"Sec_WebSocket_Version": "14"}, 426, id="version-14"),
        pytest.param({"Sec_WebSocket_Version": "13, 8"}, 426, id="two-versions"),
        pytest.param({"more": "Sec-WebSocket-Version: 8\r\n"}, 426, id="two-version-lines"),
        pytest.param({"Sec_WebSocket_Version": None}, 426, id="no-version"),
        pytest.param({"Sec_WebSocket_Key": None}, 400, id="no-key"),
        pytest.param({"Sec_WebSocket_Key": "AAAA"}, 400, id="short-key"),
        pytest.param({"Sec_WebSocket_Key": "?"}, 400, id="no-base64"),
        pytest.param({"more": f"Sec-WebSocket-Key: {KEY}\r\n"}, 400, id="two-keys"),
        pytest.param({"Sec_WebSocket_Extensions": "a b"}, 400, id="extensions"),
    ],
)
async def test_a_wrong_handshake_is_told_the_version(changes, status):
    """RFC 6455 section 4.4: the versions that the server understands stand in the answer."""
    async with serving(never, ws_per_message_deflate=True) as served:
        said = await served.ask(handshake(**changes))
    found, fields, body = split(said)
    assert found == status
    assert fields["sec-websocket-version"] == "13"
    assert len(body) == int(fields["content-length"])
    assert b"\r\nConnection: close\r\n" in said
    if status == 426:
        assert fields["upgrade"] == "websocket"
        assert b"\r\nConnection: Upgrade\r\n" in said


LACKING = [
    pytest.param({"Connection": "keep-alive"}, "Connection does not say upgrade", id="connection"),
    pytest.param({"Connection": None}, "Connection does not say upgrade", id="no-connection"),
    pytest.param({"Upgrade": None}, "has no Upgrade", id="no-upgrade"),
    pytest.param({"Upgrade": None, "Connection": None}, "has no Upgrade", id="neither"),
    pytest.param({"Upgrade": "websocket, foo"}, "names another protocol", id="beside-another"),
    pytest.param({"line": "GET /chat HTTP/1.0"}, "it came in HTTP/1.0", id="http-1.0"),
    pytest.param(
        {"line": "GET /chat HTTP/1.0", "Connection": "close"}, "HTTP/1.0", id="nginx-default"
    ),
    pytest.param(
        {"line": "GET /chat HTTP/1.1", "Sec_WebSocket_Key": None, "Connection": None},
        "Connection does not say upgrade",
        id="only-upgrade",
    ),
    pytest.param({"line": "POST /chat HTTP/1.1"}, "its method is POST", id="post"),
]


@pytest.mark.parametrize(("changes", "words"), LACKING)
async def test_what_a_proxy_left_out_is_said(changes, words, caplog):
    """The request is served over HTTP, and one line says what the proxy lacks, with a limit."""

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await answer(send, b"plain", headers=[(b"connection", b"close")])

    async with serving(app) as served:
        for _ in range(3):
            status, _, body = split(await served.ask(handshake(**changes)))
            assert (status, body) == (200, b"plain")
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("A WebSocket handshake from 127.0.0.1 is served as an")
    assert words in record.getMessage()


@pytest.mark.parametrize("protocol", ["h2c", "TLS/1.2", "foo"])
async def test_other_protocols_are_no_mistake(protocol, caplog):
    """Nobody is told of an Upgrade that has nothing to do with WebSockets."""

    async def app(scope, receive, send):
        await answer(send, b"plain", headers=[(b"connection", b"close")])

    request = f"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    async with serving(app) as served:
        assert split(await served.ask(request.encode()))[0] == 200
    assert not caplog.records
