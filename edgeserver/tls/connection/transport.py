"""An open TLS connection: an asyncio transport to what stands above, a protocol to what is below.

Decides how received bytes go up, with backpressure, and what an end of input means; the way out is
`outgoing.py`'s. It must know nothing of how the handshake is made (`layer.py`) nor of what is
spoken above it: until `open` it passes on to the handshake what the transport below tells it.

Rules that hold throughout:

- A `MemoryBIO` never shrinks: never more than 16 KiB enters it at a time. What waits, waits as
  records in `_rest`, at most what the transport below reads at once.
- `read` takes at most one record, and always a whole one, so an empty input BIO means that
  nothing decrypted is left inside OpenSSL.
- `data_received` of the protocol above is never called from inside its own `resume_reading`.
- `_deaf` is true whenever nothing that comes may go up.

Source: RFC 8446 section 6.1 for close_notify and truncation; asyncio's documentation for
`Transport` and `Protocol`.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from edgeserver.tls.connection.info import TLSInfo
from edgeserver.tls.connection.timeouts import Deadlines
from edgeserver.tls.connection.writer import CHUNK, OutgoingHalf
from edgeserver.tls.handshake.limiter import Closing

__all__ = ["TLSTransport"]

BARREN_BYTES = 64 * 1024
"""How much may come without application data, such as key updates: each costs us new keys.

A whole record is a quarter of it, and nobody updates keys twice without a byte in between.
"""


class TLSTransport(OutgoingHalf, asyncio.Protocol):
    """A transport over TLS; what stands above gets it when its handshake is done.

    It is the transport's protocol from the beginning, since a protocol that is exchanged later
    costs uvloop two system calls: it stops reading and starts again.

    Args:
        lower: The transport that carries the records.
        handshake: Hears everything until `open`, or until `end_handshake`.
        closings: Ends connections that were closed and whose peer does not read.

    Attributes:
        tls_info: The facts of the handshake; also `get_extra_info("tls_info")`.
        truncated: Whether the peer's input ended without close_notify, so that what came last may
            be cut; also `get_extra_info("tls_truncated")`.
    """

    __slots__ = (
        "__weakref__",
        "_barren_bytes",
        "_drain_planned",
        "_handshake",
        "_input_ended",
        "_lower_eof",
        "_lower_reads",
        "_reading_paused",
        "_rest",
        "tls_info",
        "truncated",
    )

    tls_info: TLSInfo

    def __init__(
        self,
        lower: asyncio.Transport,
        handshake: asyncio.Protocol,
        *,
        closings: Deadlines[Closing] | None = None,
    ) -> None:
        super().__init__(lower, closings=closings)
        self._handshake: asyncio.Protocol | None = handshake
        self._barren_bytes = 0
        self._reading_paused = False
        self._lower_reads = True
        self._rest: memoryview | None = None
        self._drain_planned = False
        self._lower_eof = False
        self._input_ended = False
        self.truncated = False

    def end_handshake(self) -> None:
        """Let go of the handshake, which has failed unless `open` follows."""
        self._handshake = None

    def open(
        self,
        sslobject: ssl.SSLObject,
        *,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        info: TLSInfo,
    ) -> None:
        """Begin to be a transport.

        Args:
            sslobject: What `SSLContext.wrap_bio` gave, after its handshake.
            incoming: Its input BIO, with what the peer sent after the handshake.
            outgoing: Its output BIO, perhaps with session tickets to send.
            info: The facts of the handshake.
        """
        self._handshake = None
        self._sslobject = sslobject
        # the methods of an `SSLObject` only call those of the object in it, for each record
        self._records = getattr(sslobject, "_sslobj", sslobject)
        self._incoming = incoming
        self._outgoing = outgoing
        self.tls_info = info
        self._deaf = False

    def start(self, protocol: asyncio.BaseProtocol, *, rest: bytes = b"") -> None:
        """Make the connection known to the protocol above, then hand it what has come already.

        Args:
            protocol: What reads from now on.
            rest: Records that came with the handshake's end and are not in the input BIO yet.
        """
        self._protocol = protocol
        self._rest = memoryview(rest) if rest else None
        protocol.connection_made(self)
        if self._lower_paused:
            self.pause_writing()
        if rest or self._incoming.pending:
            self._drain()

    def send_waiting(self) -> None:
        """Send what is still in the output BIO: session tickets that no answer took along."""
        if self._outgoing.pending and not self._closing:
            self._lower.write(self._outgoing.read())

    # ---- what the transport below tells us ----

    def data_received(self, data: bytes) -> None:
        """Take records: decrypt them and hand the plain text up."""
        if self._deaf:
            if self._handshake is not None:
                self._handshake.data_received(data)
            return
        if self._reading_paused or self._rest is not None or len(data) > CHUNK:
            self._rest = memoryview(data if self._rest is None else bytes(self._rest) + data)
            self._drain()
            return
        self._incoming.write(data)
        self._deliver(len(data))

    def eof_received(self) -> bool | None:
        """Hear that nothing more comes; the write side stays ours to close."""
        if self._protocol is None:
            return None if self._handshake is None else self._handshake.eof_received()
        self._lower_eof = True
        if not self._reading_paused and self._rest is None and not self._incoming.pending:
            self._end_input(truncated=True)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the connection is gone, and tell the protocol, once."""
        if self._handshake is not None:
            self._handshake.connection_lost(exc)
        protocol, self._protocol = self._protocol, None
        if self._closing and self._closings is not None:
            self._closings.discard(self)
        if not self._input_ended and not self._closing:
            self.truncated = True
        self._forget()
        self._input_ended = True
        self._rest = None
        if protocol is not None:
            protocol.connection_lost(exc or self._error)

    # ---- in ----

    def _deliver(self, size: int) -> None:
        """Hand up what is in the input BIO, until it is empty or the protocol pauses or closes.

        Args:
            size: How many bytes have come since the last call.
        """
        read = self._records.read
        incoming = self._incoming
        self._room = CHUNK + 1
        while True:
            try:
                chunk = read(CHUNK)
            except ssl.SSLWantReadError:
                # perhaps with an answer to a key update in the BIO, or "no renegotiation"
                self._barren_bytes += size
                if self._barren_bytes > BARREN_BYTES:
                    self._refuse_barren()
                break
            except ssl.SSLZeroReturnError:  # close_notify after we have sent ours
                chunk = b""
            except ssl.SSLError as exc:
                self.truncated = True
                self._fail(exc)
                break
            if not chunk:
                self._end_input(truncated=False)
                break
            if self._barren_bytes:
                self._barren_bytes = 0
            size = 0
            self._protocol.data_received(chunk)
            if not incoming.pending or self._reading_paused or self._deaf:
                break
        self._room = 0
        if not self._eof_written and (records := self._outgoing.read()):
            self._lower.write(records)

    def _refuse_barren(self) -> None:
        """End a connection whose records bring work and no data."""
        self._error = ConnectionAbortedError(
            f"more than {BARREN_BYTES} bytes of TLS records came without application data"
        )
        self.truncated = True
        self.abort()

    def _drain(self) -> None:
        """Deliver what waits in the BIO and in `_rest`, then whatever stood behind it."""
        self._drain_planned = False
        try:
            while not self._reading_paused and not self._deaf:
                if self._incoming.pending:
                    self._deliver(self._incoming.pending)
                elif self._rest is not None:
                    rest = self._rest
                    self._rest = rest[CHUNK:] if len(rest) > CHUNK else None
                    self._incoming.write(rest[:CHUNK])
                else:
                    break
        except BaseException as exc:
            # the loop knows only who planned this: the connection has to end here
            self._error = exc if isinstance(exc, Exception) else None
            self.abort()
            raise
        if self._reading_paused:
            return
        if self._lower_eof:
            self._end_input(truncated=True)
        self._read_below()

    def _read_below(self) -> None:
        """Let the transport below read again, after the input's end too: for FIN and resets."""
        if not self._lower_reads and not self._closing:
            self._lower_reads = True
            self._lower.resume_reading()

    def _end_input(self, *, truncated: bool) -> None:
        """Tell the protocol above that no more comes; it decides whether the write side stays."""
        if self._input_ended or self._closing:
            return
        self._input_ended = self._deaf = True
        self._rest = None
        self.truncated = truncated
        if not self._protocol.eof_received():
            self.close()

    def pause_reading(self) -> None:
        """Hand nothing more up until `resume_reading`."""
        if self._reading_paused or self._closing:
            return
        self._reading_paused = True
        if self._lower_reads and not self._input_ended:
            self._lower_reads = False
            self._lower.pause_reading()

    def resume_reading(self) -> None:
        """Hand up what waits, from the event loop and not in this call; then read again."""
        if not self._reading_paused:
            return
        self._reading_paused = False
        if self._deaf or not (self._incoming.pending or self._rest or self._lower_eof):
            self._read_below()
        elif not self._drain_planned:
            self._drain_planned = True
            asyncio.get_running_loop().call_soon(self._drain)

    def is_reading(self) -> bool:
        """Tell whether received data goes up."""
        return not self._reading_paused and not self._closing

    # ---- what is known ----

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand everything that comes from now on to `protocol`."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol above."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what asyncio's TLS transports return, `tls_info`, `tls_truncated`, or from below.

        Args:
            name: `ssl_object`, `sslcontext`, `peercert`, `cipher`, `compression`, `tls_info`
                (a `TLSInfo`), `tls_truncated`, or a name of the transport below.
            default: What is returned for an unknown name.
        """
        if name == "tls_info":
            return self.tls_info
        if name == "ssl_object":
            return self._sslobject
        if name == "sslcontext":
            return self._sslobject.context
        if name == "tls_truncated":
            return self.truncated
        if name == "peercert":
            return self._sslobject.getpeercert()
        if name == "cipher":
            return self._sslobject.cipher()
        if name == "compression":
            return self._sslobject.compression()
        return self._lower.get_extra_info(name, default)

    def __repr__(self) -> str:
        if self._handshake is not None:
            return f"<TLSTransport in its handshake over {self._lower!r}>"
        state = "closing" if self._closing else "open"
        return f"<TLSTransport {state} {self._sslobject.version()} over {self._lower!r}>"
