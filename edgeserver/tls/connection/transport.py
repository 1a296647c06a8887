"""An open TLS connection: an asyncio transport to what stands above, a protocol to what is below.

Decides how received bytes go up, with back-pressure, and what an end of input means; it owns a
`TLSWriter`, which decides how bytes go down. It must know nothing of how the handshake is made
(`layer.py`) nor of what is spoken above it: until `open` it passes on to the handshake what the
transport below tells it.

Rules that hold throughout:

- A `MemoryBIO` never shrinks: never more than 16 KiB enters it at a time. What waits, waits as
  records in `_rest`, at most what the transport below reads at once.
- `read` takes at most one record, and always a whole one, so an empty input BIO means that
  nothing decrypted is left inside OpenSSL.
- The first record of what comes goes up at once; where many came together, the others wait for
  their turns of the event loop (`turns.py`), at most `HELD_INPUT` and one read of them.
- `data_received` of the protocol above is never called from inside its own `resume_reading`.
- `_read_closed` is true whenever nothing that comes may go up.

Source: RFC 8446 section 6.1 for close_notify and truncation; asyncio's documentation for
`Transport` and `Protocol`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

from edgeserver.support.turns import TurnBudget, turns_of
from edgeserver.tls.connection.info import TLSInfo
from edgeserver.tls.connection.timeouts import Timeouts
from edgeserver.tls.connection.writer import CHUNK, CORKED, Abortable, Bytes, TLSWriter

__all__ = ["TLSTransport"]

DATALESS_BYTES = 64 * 1024
"""How much may come without application data, such as key updates: each costs us new keys.

A whole record is a quarter of it, and nobody updates keys twice without a byte in between.
"""

HELD_INPUT = 64 * 1024
"""Bytes of records that are kept while they wait for their turn; beyond that reading pauses."""

_OWN_INFO = frozenset(
    (
        "cipher",
        "compression",
        "peercert",
        "ssl_object",
        "sslcontext",
        "tls_info",
        "tls_truncated",
    )
)
"""What `get_extra_info` answers itself."""


class TLSTransport(asyncio.Transport, asyncio.Protocol):
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
        "_dataless_bytes",
        "_drain_planned",
        "_error",
        "_handshake",
        "_incoming",
        "_input_ended",
        "_lower",
        "_lower_eof",
        "_lower_reads",
        "_outgoing",
        "_protocol",
        "_read_closed",
        "_reading_paused",
        "_records",
        "_rest",
        "_told_to_pause",
        "_turns",
        "_writer",
        "tls_info",
        "truncated",
    )

    tls_info: TLSInfo
    _records: Any  # from `open` on, as the next two: reads records, an `SSLObject` or what is in it
    _incoming: ssl.MemoryBIO  # records that have come, at most one chunk of them
    _outgoing: ssl.MemoryBIO  # records that have not gone: the writer's, and what OpenSSL answers

    def __init__(
        self,
        lower: asyncio.Transport,
        handshake: asyncio.Protocol,
        *,
        closings: Timeouts[Abortable] | None = None,
    ) -> None:
        self._lower = lower
        self._writer = TLSWriter(lower, self, closings=closings)
        self._handshake: asyncio.Protocol | None = handshake  # until it is over
        self._protocol: Any = None  # asyncio.Protocol; None before the start and after the end
        self._told_to_pause = False  # the protocol above; the transport below changes more often
        self._read_closed = True  # nothing that comes may go up; not before the handshake is done
        self._reading_paused = False  # by the protocol above
        self._lower_reads = True  # whether the transport below reads
        self._rest: memoryview | None = None  # records that have come and are not in the BIO yet
        self._drain_planned = False  # whether `_drain` is going to be called
        self._dataless_bytes = 0  # what has come since the last byte of application data
        self._lower_eof = False  # whether the transport below has come to its end
        self._input_ended = False  # whether the protocol above was told of the end
        self._turns: TurnBudget | None = None  # the event loop's time, once it has been asked for
        self._error: Exception | None = None  # why we ended the connection
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
        # the methods of an `SSLObject` only call those of the object in it, for each record
        self._records = getattr(sslobject, "_sslobj", sslobject)
        self._incoming = incoming
        self._outgoing = outgoing
        self._writer.open(self._records, outgoing)
        self.tls_info = info
        self._read_closed = False

    def start(self, protocol: asyncio.BaseProtocol, *, rest: bytes = b"") -> None:
        """Make the connection known to the protocol above, then hand it what has come already.

        Args:
            protocol: What reads from now on.
            rest: Records that came with the handshake's end and are not in the input BIO yet.
        """
        self._protocol = protocol
        if rest:
            self._rest = memoryview(rest)
        protocol.connection_made(self)
        if self._writer.paused:
            self.pause_writing()
        if rest:
            self._drain()
            return
        come = self._incoming.pending
        if come:
            self._deliver(come)

    def send_waiting(self) -> None:
        """Send what is still in the output BIO: session tickets that no answer took along."""
        if self._outgoing.pending and not self._writer.closing:
            self._writer.send_held()

    # ---- what the transport below tells us ----

    def data_received(self, data: bytes) -> None:
        """Called with records: decrypt them and hand the plain text up."""
        if self._read_closed:
            if self._handshake is not None:
                self._handshake.data_received(data)
            return
        if (
            self._reading_paused
            or self._rest is not None
            or self._drain_planned
            or len(data) > CHUNK
        ):
            self._rest = memoryview(data if self._rest is None else bytes(self._rest) + data)
            if not self._drain_planned:
                self._drain()
            elif len(self._rest) > HELD_INPUT and self._lower_reads:
                self._lower_reads = False
                self._lower.pause_reading()
            return
        self._incoming.write(data)
        self._deliver(len(data))

    def eof_received(self) -> bool | None:
        """Called when nothing more comes; the write side stays ours to close."""
        if self._protocol is None:
            return None if self._handshake is None else self._handshake.eof_received()
        self._lower_eof = True
        if not self._reading_paused and self._rest is None and not self._incoming.pending:
            self._end_input(truncated=True)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is gone: tell the protocol, once."""
        if self._handshake is not None:
            self._handshake.connection_lost(exc)
        protocol, self._protocol = self._protocol, None
        writer = self._writer
        if not (writer.closing or self._input_ended):
            self.truncated = True
        writer.forget()
        self._read_closed = self._input_ended = True
        self._rest = None
        if protocol is not None:
            protocol.connection_lost(exc or self._error)

    def pause_writing(self) -> None:
        """Called when the transport below is full: the protocol above is paused too."""
        writer = self._writer
        writer.pause()
        if not self._told_to_pause and self._protocol is not None and not writer.closing:
            self._told_to_pause = True
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Called when the transport below takes more: the protocol may write too."""
        writer = self._writer
        if writer.paused and writer.resume() and self._told_to_pause:
            self._told_to_pause = False
            self._protocol.resume_writing()

    # ---- in ----

    def _deliver(self, size: int) -> None:
        """Hand up what is in the input BIO, until it is empty or the protocol pauses or closes.

        Args:
            size: How many bytes have come since the last call.
        """
        read = self._records.read
        writer = self._writer
        writer.room = CORKED
        while True:
            try:
                chunk = read(CHUNK)
            except ssl.SSLWantReadError:
                # perhaps with an answer to a key update in the BIO, or "no renegotiation"
                self._dataless_bytes += size
                if self._dataless_bytes > DATALESS_BYTES:
                    self._refuse_dataless()
                break
            except ssl.SSLZeroReturnError:  # close_notify after we have sent ours
                chunk = b""
            except ssl.SSLError as exc:
                self.truncated = True
                self.fail(exc)
                break
            if not chunk:
                self._end_input(truncated=False)
                break
            if self._dataless_bytes:
                self._dataless_bytes = 0
            size = 0
            self._protocol.data_received(chunk)
            if not self._incoming.pending or self._reading_paused or self._read_closed:
                break
            if self._turn_budget().spent():
                self._drain_later()
                break
        writer.room = 0
        if self._outgoing.pending:
            writer.send_held()

    def _refuse_dataless(self) -> None:
        """End a connection whose records bring work and no data."""
        self._error = ConnectionAbortedError(
            f"more than {DATALESS_BYTES} bytes of TLS records came without application data"
        )
        self.truncated = True
        self.abort()

    def _drain(self) -> None:
        """Deliver what waits in the BIO and in `_rest`, then whatever stood behind it."""
        self._drain_planned = False
        try:
            while not self._reading_paused and not self._read_closed:
                if self._incoming.pending:
                    self._deliver(self._incoming.pending)
                    if self._drain_planned:
                        return
                    if self._rest is not None and self._turn_budget().spent():
                        self._drain_later()
                        return
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

    def _drain_later(self) -> None:
        """Go on in a later turn of the event loop."""
        if not self._drain_planned:
            self._drain_planned = True
            self._turn_budget().wait(self._drain)

    def _turn_budget(self) -> TurnBudget:
        turns = self._turns
        if turns is None:
            turns = self._turns = turns_of(asyncio.get_running_loop())
        return turns

    def _read_below(self) -> None:
        """Let the transport below read again, after the input's end too: for FIN and resets."""
        if not self._lower_reads and not self._writer.closing:
            self._lower_reads = True
            self._lower.resume_reading()

    def _end_input(self, *, truncated: bool) -> None:
        """Tell the protocol above that no more comes; it decides whether the write side stays."""
        if self._input_ended or self._writer.closing:
            return
        self._input_ended = self._read_closed = True
        self._rest = None
        self.truncated = truncated
        if not self._protocol.eof_received():
            self.close()

    def pause_reading(self) -> None:
        """Hand nothing more up until `resume_reading`."""
        if self._reading_paused or self._writer.closing:
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
        if self._read_closed or not (self._incoming.pending or self._rest or self._lower_eof):
            self._read_below()
        elif not self._drain_planned:
            self._drain_planned = True
            asyncio.get_running_loop().call_soon(self._drain)

    def is_reading(self) -> bool:
        """Tell whether received data goes up."""
        return not self._reading_paused and not self._writer.closing

    # ---- out ----

    def write(self, data: Bytes) -> None:
        """Encrypt and send `data`; what cannot go now waits, and the protocol is paused."""
        self._writer.write(data)

    def writelines(self, list_of_data: Iterable[Bytes]) -> None:
        """Send several pieces, in as few records as they fit into."""
        self._writer.writelines(list_of_data)

    def can_write_eof(self) -> bool:
        """Tell that half-close works: TLS has it since RFC 8446 section 6.1."""
        return True

    def write_eof(self) -> None:
        """Send what waits, then close_notify and FIN; reading goes on."""
        self._writer.write_eof()

    def encrypt_close_notify(self) -> None:
        """Put close_notify into the output BIO; OpenSSL would take what is unread for an error."""
        incoming = self._incoming
        if incoming.pending:
            unread = incoming.read()
            self.encrypt_close_notify()
            incoming.write(unread)
            return
        try:
            self.tls_info.sslobject.unwrap()
        except ssl.SSLError:  # nearly always SSLWantReadError: the peer's is not here yet
            pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when `pause_writing` and `resume_writing` are called; as for the transport below."""
        self._lower.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return `(low, high)`."""
        return self._lower.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait, plain ones here and records below."""
        return self._writer.buffer_size()

    # ---- ends ----

    def close(self) -> None:
        """Send what waits and close_notify, then close; `connection_lost` follows."""
        writer = self._writer
        if not writer.closing:
            self._read_closed = True
            writer.close()

    def fail(self, exc: ssl.SSLError) -> None:
        """End the connection after what OpenSSL refused, or an alert of the peer."""
        if not self._writer.closing:
            self._error = exc
            self._read_closed = True
            self._writer.end_with_alert()

    def abort(self) -> None:
        """Close at once; what waits is lost."""
        if self._writer.closing and self._protocol is None:
            return  # it is lost already, and asyncio's transport would not bear it
        self._read_closed = True
        self._writer.abort()

    def is_closing(self) -> bool:
        """Tell whether the connection is closed or closing."""
        return self._writer.closing or self._lower.is_closing()

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
        if name not in _OWN_INFO:
            return self._lower.get_extra_info(name, default)
        if name == "tls_info":
            return self.tls_info
        if name == "ssl_object":
            return self.tls_info.sslobject
        if name == "sslcontext":
            return self.tls_info.sslobject.context
        if name == "tls_truncated":
            return self.truncated
        if name == "peercert":
            return self.tls_info.sslobject.getpeercert()
        if name == "cipher":
            return self.tls_info.sslobject.cipher()
        return self.tls_info.sslobject.compression()

    def __repr__(self) -> str:
        if self._handshake is not None:
            return f"<TLSTransport in its handshake over {self._lower!r}>"
        state = "closing" if self._writer.closing else "open"
        return f"<TLSTransport {state} {self.tls_info.sslobject.version()} over {self._lower!r}>"
