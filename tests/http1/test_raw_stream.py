"""The bytes below HTTP, as applications written for Tornado reach for them."""

from __future__ import annotations

import pytest

from edgeserver.errors import StreamClosedError
from tests.http1.conversation import request_of


async def test_the_socket() -> None:
    """`socket` is what has the certificate on TLS, else the socket, and None when it is gone."""
    talk, request = request_of()
    stream = request.connection.stream
    assert stream.socket is None
    plain, secure = object(), object()
    talk.transport.tell(socket=plain)
    assert stream.socket is plain
    talk.transport.tell(ssl_object=secure)
    assert stream.socket is secure
    talk.transport.abort()
    await talk.turn()
    assert stream.socket is None
    assert request.connection.stream is None


async def test_write_and_close() -> None:
    """Bytes go out as they are; closing ends the exchange, and the connection."""
    talk, request = request_of()
    stream = request.connection.stream
    assert not stream.closed()
    assert stream.write(b"raw").done()
    stream.set_nodelay(True)
    assert talk.sent == b"raw"
    stream.close()
    assert talk.transport.closed
    assert stream.closed()
    with pytest.raises(StreamClosedError):
        stream.write(b"more")
    stream.close()


async def test_close_after_the_answer() -> None:
    """After its answer an application may still close a connection that is idle."""
    talk, request = request_of()
    stream = request.connection.stream
    request.answer(b"ok")
    assert stream.closed()
    stream.close()
    assert talk.transport.closed


async def test_close_callback() -> None:
    """The callback set here is the exchange's."""
    talk, request = request_of()
    told = []
    request.connection.stream.set_close_callback(lambda: told.append(1))
    talk.transport.abort()
    await talk.turn()
    assert told == [1]
