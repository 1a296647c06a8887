"""Tornado's HTTPServer and ours, side by side over sockets: the same heads, the same answers.

The heads are those of `test_tornado_oracle.py`, which asks the policy alone; here the whole server
answers, over plain HTTP, TLS and Unix sockets, on kept connections, with `protocol=` and without.
Where a head has an answer of our own there, it is the answer here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import tornado.httpserver
import tornado.httputil
import tornado.netutil

from tests.e2e.site import connected, serve
from tests.e2e.test_tornado_oracle import CASES, NGINX_LIKE, Case
from tests.loops import on_both_loops

Head = tuple[str, ...]
Seen = tuple[str, str]


def tell_tornado(request: Any) -> None:
    """Answer with address and scheme, on Tornado's server."""
    body = json.dumps({"ip": request.remote_ip, "scheme": request.protocol}).encode()
    request.connection.write_headers(
        tornado.httputil.ResponseStartLine("HTTP/1.1", 200, "OK"),
        tornado.httputil.HTTPHeaders({"Content-Length": str(len(body))}),
        body,
    )
    request.connection.finish()


@contextlib.asynccontextmanager
async def both(path: str | None, **options: Any) -> AsyncIterator[list[Any]]:
    """Run Tornado's server and ours with the same options; give their addresses, in that order.

    Args:
        path: Where their Unix sockets go; None for ports.
        options: What both constructors take.
    """
    theirs = tornado.httpserver.HTTPServer(tell_tornado, **options)
    if path is None:
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    else:
        sockets = [tornado.netutil.bind_unix_socket(path + ".tornado")]
    theirs.add_sockets(sockets)
    try:
        async with serve(path=path, **options) as ours:
            name = ours.listeners[0].socket.getsockname()
            yield [sockets[0].getsockname(), name]
    finally:
        theirs.stop()
        await theirs.close_all_connections()


async def conversation(address: Any, heads: list[Head], **settings: Any) -> list[Seen]:
    """Send heads over one connection, and return what the server takes each for."""
    answers = []
    async with connected(address, **settings) as client:
        for lines in heads:
            head = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
            seen = (await client.ask(head)).seen
            answers.append((seen["ip"], seen["scheme"]))
    return answers


@on_both_loops
@pytest.mark.parametrize("case", CASES, ids=lambda case: " | ".join(case.lines) or "nothing")
async def test_each_head(case: Case) -> None:
    """Both servers take a head for the same, but where the specification lists a difference."""
    options = {"xheaders": True, "trusted_downstream": list(NGINX_LIKE)}
    async with both(None, **options) as (theirs, ours):
        (tornados,) = await conversation(theirs, [case.lines])
        (mine,) = await conversation(ours, [case.lines])
    if case.ours is None:
        assert mine == tornados
    else:
        assert mine == tuple(case.ours)
        assert mine != tornados, f"no difference any more: {case.why}"


SAME = [case.lines for case in CASES if case.ours is None]
"""The heads on which there is no difference."""

OPTIONS: dict[str, dict[str, Any]] = {
    "off": {},
    "off-https": {"protocol": "https"},
    "on": {"xheaders": True},
    "on-https": {"xheaders": True, "protocol": "https"},
    "on-http": {"xheaders": True, "protocol": "http"},
    "downstream": {"xheaders": True, "trusted_downstream": ["5.5.5.5", "127.0.0.1"]},
    "downstream-off": {"trusted_downstream": ["5.5.5.5"]},
}


@on_both_loops
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
async def test_all_heads_on_one_connection(options: dict[str, Any]) -> None:
    """On a kept connection each request starts from the peer again; `protocol=` stays below."""
    async with both(None, **options) as (theirs, ours):
        assert await conversation(ours, SAME) == await conversation(theirs, SAME)


@on_both_loops
@pytest.mark.parametrize("options", [OPTIONS["off"], OPTIONS["on"]], ids=["off", "on"])
async def test_over_tls(options: dict[str, Any], pair: dict[str, str], trusting: Any) -> None:
    """Over TLS the scheme is https unless a header says otherwise."""
    async with both(None, ssl_options=pair, **options) as (theirs, ours):
        expected = await conversation(theirs, SAME, tls=trusting)
        assert await conversation(ours, SAME, tls=trusting) == expected
        assert {scheme for _, scheme in expected} == (
            {"https"} if not options else {"http", "https"}
        )


@on_both_loops
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
async def test_over_a_unix_socket(tmp_path: Any, options: dict[str, Any]) -> None:
    """A Unix socket's peer is 0.0.0.0, and its fields are honoured."""
    async with both(str(tmp_path / "s"), **options) as (theirs, ours):
        expected = await conversation(theirs, SAME)
        assert await conversation(ours, SAME) == expected
        assert expected[0][0] == "0.0.0.0"


def test_the_table_is_worth_asking() -> None:
    """The table has both kinds of heads, and every difference names its rule."""
    assert len(SAME) >= 40
    assert all(case.why for case in CASES if case.ours is not None)
