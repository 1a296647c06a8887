"""The handshake of a TLS connection: from the first byte to an open `TLSTransport`.

Decides what a connection is (TLS, plain HTTP, garbage), which context serves it, and what a client
is told that is refused. It must know nothing of what is spoken afterwards: it puts a `TLSTransport`
in its own place at once, is told by it what comes, and is forgotten when the handshake is done.

The states, left downwards only, but for a flight that takes several steps: it comes back to
HANDSHAKE for each of them, as a handshake of two round trips does.

    HELLO      collecting the ClientHello; the clock runs from here to the end of the handshake
    QUEUED     the hello is complete, and the steps of other handshakes are first
    HANDSHAKE  OpenSSL computes
    STALLED    our flight is written, and the client's is awaited
    RETURNED   bytes of the client's flight have come, and the steps of others are first
    PLAIN      it was plain HTTP: the rest of the head is awaited, to name the URL
    OVER       the `TLSTransport` is open, the connection lingers, or it is lost
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any

from edgeserver.support.addresses import peer_of
from edgeserver.support.preludes import explain_prelude, prelude_version
from edgeserver.support.ratelimit import address_key
from edgeserver.tls.connection.info import TLSInfo
from edgeserver.tls.connection.transport import TLSTransport
from edgeserver.tls.connection.writer import CHUNK
from edgeserver.tls.contexts.source import ContextSource
from edgeserver.tls.handshake.alerts import ILLEGAL_PARAMETER, INTERNAL_ERROR, alert_record
from edgeserver.tls.handshake.clienthello import (
    ClientHello,
    HelloReader,
    Opening,
    parse_whole_hello,
)
from edgeserver.tls.handshake.failures import (
    REASONS,
    HandshakeFailure,
    Reason,
    explain_alert,
    explain_error,
    render_offer,
    render_peer,
)
from edgeserver.tls.handshake.ja4 import JA4Source, keep_for_ja4, render_ja4
from edgeserver.tls.handshake.limiter import NOW, HandshakeLimiter, Slot
from edgeserver.tls.handshake.plain_http import head_is_complete, render_plain_http_answer

__all__ = ["TLSLayer"]

# numbers, since an Enum's member costs a call on some Pythons
HELLO, QUEUED, HANDSHAKE, STALLED, RETURNED, PLAIN, OVER = range(7)
_QUEUEING = (QUEUED, RETURNED)

# What the first bytes were says more than what OpenSSL makes of them
_OPENING_REASONS = {
    Opening.GARBAGE: "not-tls",
    Opening.SSLV2: "sslv2",
    Opening.MALFORMED: "malformed-hello",
}


class TLSLayer(asyncio.Protocol):
    """What stands on an accepted connection until its handshake is done.

    Use it as the protocol of a listening socket, or hand it a live transport with
    `edgeserver.transport.handover.replace_layer` after a PROXY prelude.

    Args:
        contexts: Chooses the `SSLContext`.
        build_protocol: Called with the finished `TLSTransport`; returns the protocol above it.
        limiter: The limits and the log that all connections of a server share.
        linger: Ends a transport so that its peer can read what was written to it, though it may
            still be sending; without it the transport is only closed.
        client: The client's address where a PROXY prelude named one; limits go by it.
        redirect: Answer plain HTTP with 308 to https instead of 400.
    """

    __slots__ = (
        "_begun_s",
        "_build_protocol",
        "_client",
        "_contexts",
        "_hello",
        "_host",
        "_incoming",
        "_limiter",
        "_linger",
        "_lower",
        "_opening",
        "_outgoing",
        "_peer",
        "_raw",
        "_reader",
        "_redirect",
        "_searched",
        "_sslobject",
        "_state",
        "_transport",
        "key",
    )

    _lower: asyncio.Transport
    _transport: TLSTransport
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO
    _sslobject: ssl.SSLObject
    _host: str  # the configured host that was chosen
    _searched: int  # how much of a plain request was searched for its end

    def __init__(
        self,
        *,
        contexts: ContextSource,
        build_protocol: Callable[[TLSTransport], asyncio.BaseProtocol],
        limiter: HandshakeLimiter,
        linger: Callable[[asyncio.Transport], None] | None = None,
        client: str | None = None,
        redirect: bool = False,
    ) -> None:
        self._contexts = contexts
        self._build_protocol = build_protocol
        self._limiter = limiter
        self._linger = linger or _close
        self._client = client
        self._redirect = redirect
        self._state = HELLO
        self._hello: ClientHello | None = None  # None where it could not be read
        self._reader: HelloReader | None = None  # while the hello comes in pieces
        self._opening = Opening.HELLO  # what the first bytes are
        self._raw: bytes | bytearray = b""  # what has come and OpenSSL has not got
        self._begun_s = 0.0  # when the connection began, where that is asked

    # ---- what the transport below tells us ----

    def connection_made(self, transport: Any) -> None:
        """Start the clock and wait for the hello; uvloop's transport is none of asyncio's."""
        self._lower = transport
        limiter = self._limiter
        self._transport = TLSTransport(transport, self, closings=limiter.closing)
        transport.set_protocol(self._transport)
        peer = transport.get_extra_info("peername")
        named = isinstance(peer, tuple)  # a unix socket has a path or nothing
        self._peer: tuple[str, int] | None = peer[:2] if named else None
        self.key = address_key(self._client or (peer[0] if named else None))
        limiter.begin(self, self._contexts.handshake_timeout)
        if limiter.tally is not None:
            self._begun_s = time.perf_counter()

    def data_received(self, data: bytes) -> None:
        """Take the next bytes, whatever they are."""
        if self._state == STALLED:
            slot = self._limiter.acquire_again(self)
            if slot is NOW:
                self._shake(data)
            else:
                self._raw = data
                self._wait(RETURNED, slot)
        elif self._state == HELLO:
            self._read_hello(data)
        elif self._state == PLAIN:
            self._raw += data
            self._answer_plain_http()
        elif self._state in _QUEUEING:
            self._raw += data  # reading is paused: at most one segment more

    def eof_received(self) -> bool | None:
        """Called when the peer sends no more: a handshake cannot end that way."""
        if self._state == PLAIN:  # a half-closing client still wants its answer
            self._answer_plain_http(ended=True)
            return True
        self._end_early(None)
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is gone before its handshake was done."""
        self._end_early(exc)

    def pause_writing(self) -> None:
        """Called when the transport below is full; a handshake's few kilobytes wait."""
        self._transport.pause_writing()

    # ---- from the first bytes to OpenSSL ----

    def _read_hello(self, data: bytes) -> None:
        """Take the first bytes: nearly always a whole hello at once."""
        reader = self._reader
        if reader is None:
            self._hello = parse_whole_hello(data)
            if self._hello is not None:
                self._raw = data
                self._ask_for_slot()
                return
            reader = self._reader = HelloReader()
        opening = reader.feed(data)
        self._raw = reader.raw
        if opening is not None:
            self._hello = reader.hello
            self._opening = opening
            self._reader = None
            self._open(opening)

    def _open(self, opening: Opening) -> None:
        """Act on what the first bytes say that the connection is."""
        if opening is Opening.HTTP:
            self._state = PLAIN
            self._raw = bytearray(self._raw)
            self._searched = 0
            self._note(REASONS["plain-http"])
            self._answer_plain_http()
            return
        version = prelude_version(self._raw) if opening is Opening.GARBAGE else None
        if version is not None:
            peer = peer_of(self._lower)
            words = explain_prelude(version, peer, after=self._client is not None)
            self._refuse(REASONS["proxy-prelude"]._replace(words=words))
            return
        if opening is Opening.TOO_LONG:
            self._refuse(REASONS["hello-too-long"], alert_record(ILLEGAL_PARAMETER))
            return
        self._ask_for_slot()

    def _ask_for_slot(self) -> None:
        """Go on if there is a slot; else wait for one, and read no more until then."""
        slot = self._limiter.acquire(self)
        if slot is NOW:
            self._start()
        else:
            self._wait(QUEUED, slot)

    def _wait(self, state: int, slot: Slot) -> None:
        if slot is Slot.QUEUED:
            self._state = state
            self._lower.pause_reading()
        else:
            self._state = HANDSHAKE  # neither stalled nor queued any more
            self._refuse(self._over("crowded", self._limiter.max_waiting))

    def admit(self) -> None:
        """Called by the limiter when there is a slot: do the step."""
        returned = self._state == RETURNED
        self._state = HANDSHAKE
        try:
            self._lower.resume_reading()
            if returned:
                raw, self._raw = self._raw, b""
                self._shake(bytes(raw))
            else:
                self._start()
        except BaseException:
            # the event loop knows only whose turn it was: the connection has to end here
            self.abort()
            raise

    def _start(self) -> None:
        """Choose the context and hand OpenSSL what has come."""
        hello = self._hello
        if hello is None:
            selection = self._contexts.select(None, ())
        else:
            selection = self._contexts.select(hello.server_name, hello.alpn)
        context = selection.context
        if context is None or selection.alert is not None:
            alert = selection.alert or INTERNAL_ERROR
            self._refuse(explain_alert(alert), alert_record(alert))
            return
        self._host = selection.host
        incoming = self._incoming = ssl.MemoryBIO()
        outgoing = self._outgoing = ssl.MemoryBIO()
        self._sslobject = context.wrap_bio(incoming, outgoing, server_side=True)
        raw, self._raw = self._raw, b""
        self._shake(bytes(raw))

    def _shake(self, data: bytes) -> None:
        """Feed OpenSSL at most 16 KiB at a time, send what it says, and wait for the client."""
        self._state = HANDSHAKE
        rest = b""
        while True:
            if len(data) > CHUNK:
                data, rest = data[:CHUNK], data[CHUNK:]
            self._incoming.write(data)
            try:
                self._sslobject.do_handshake()
            except ssl.SSLWantReadError:
                if not rest:
                    break
                data, rest = rest, b""
            except ssl.SSLError as exc:
                self._refuse(self._explain(exc), self._outgoing.read())
                return
            else:
                self._finish(rest)
                return
        if self._outgoing.pending:
            self._lower.write(self._outgoing.read())
        self._state = STALLED
        self._limiter.stalled.add(self)

    def _finish(self, rest: bytes) -> None:
        """Put the finished transport in this layer's place."""
        limiter = self._limiter
        sslobject, outgoing = self._sslobject, self._outgoing
        limiter.completed += 1
        if sslobject.session_reused:
            limiter.resumed += 1
        if limiter.tally is not None and self._begun_s:
            duration_s = time.perf_counter() - self._begun_s
            resumed, version = bool(sslobject.session_reused), sslobject.version() or "none"
            limiter.tally.add(resumed, version, duration_s)
        hello = self._hello
        if hello is None:
            info = TLSInfo(sslobject, host=self._host)
        else:
            info = TLSInfo(
                sslobject,
                sni=hello.server_name,
                ja4_source=keep_for_ja4(hello),
                host=self._host,
            )
        self._state = OVER  # it holds no slot to give back, and `open` lets go of this layer
        limiter.end(self)
        transport = self._transport
        transport.open(sslobject, incoming=self._incoming, outgoing=outgoing, info=info)
        transport.start(self._build_protocol(transport), rest=rest)
        if outgoing.pending:
            limiter.send_late(transport)

    # ---- ends ----

    def _answer_plain_http(self, *, ended: bool = False) -> None:
        if not (ended or head_is_complete(self._raw, self._searched)):
            self._searched = len(self._raw)
            return
        self._leave()
        self._lower.write(render_plain_http_answer(bytes(self._raw), redirect=self._redirect))
        if ended:
            self._lower.close()
        else:
            self._linger(self._lower)

    def time_out(self) -> None:
        """Called when the time for the handshake is over."""
        if self._state == PLAIN:
            self._answer_plain_http(ended=True)
            return
        if self._state == HELLO and not self._raw:
            self._note(REASONS["silent"])
        else:
            self._note(REASONS["crowded" if self._state in _QUEUEING else "timeout"])
        self._leave()
        # nothing to linger for; and one that does not read must not keep the socket
        if self._lower.get_write_buffer_size():
            self._lower.abort()
        else:
            self._lower.close()

    def _end_early(self, exc: Exception | None) -> None:
        """Count a connection that ended by itself; one without a byte is a health check."""
        if self._state == OVER:
            return
        if self._state == HELLO and not self._raw:
            self._limiter.silent += 1
        elif self._state != PLAIN:
            self._note(REASONS["reset" if isinstance(exc, ConnectionError) else "closed"])
        self._leave()

    def _explain(self, exc: ssl.SSLError) -> Reason:
        reason = explain_error(exc, self._hello)
        opening = _OPENING_REASONS.get(self._opening)
        # an SSLv2 hello may fail for its version, and then that is what to say
        if opening is None or reason.name == "no-common-version":
            return reason
        return REASONS[opening]

    def _refuse(self, reason: Reason, last_words: bytes = b"") -> None:
        """Log it, tell the client, and close in a way that lets it read what it was told."""
        self._note(reason)
        self._leave()
        if last_words:
            self._lower.write(last_words)
            self._linger(self._lower)
        else:
            self._lower.close()

    def _note(self, reason: Reason) -> None:
        hello = self._hello
        failure = HandshakeFailure(
            when_s=time.time(),
            peer=render_peer(self._peer),
            client=self._client,
            server_name=hello.server_name if hello else None,
            offer=render_offer(hello),
            reason=reason,
            ja4=render_ja4(JA4Source.of(hello)) if hello else "",
        )
        self._limiter.log.add(failure, self.key)

    def _leave(self) -> None:
        """Stop the clock and wait for nothing; nothing here happens after this."""
        state = self._state
        self._state = OVER
        self._transport.end_handshake()
        limiter = self._limiter
        limiter.end(self)
        if state == STALLED:
            limiter.stalled.discard(self)
        elif state in _QUEUEING:
            limiter.cancel(self)

    def evict(self) -> None:
        """Called by the limiter when too many wait, most of them of this client."""
        if self._state == STALLED:
            self._note(self._over("stalled", self._limiter.stalled.limit))
        else:
            self._note(self._over("crowded", self._limiter.max_waiting))
        self.abort()

    @staticmethod
    def _over(name: str, limit: int) -> Reason:
        reason = REASONS[name]
        return reason._replace(words=f"{reason.words}: more than {limit}")

    def abort(self) -> None:
        """End the connection at once, as when the server stops."""
        self._leave()
        self._lower.abort()


def _close(transport: asyncio.Transport) -> None:
    transport.close()
