"""The first bytes of a connection: what they are, and what a ClientHello in them offers.

Decides whether a peer began with TLS, an SSLv2 hello, plain HTTP or nothing we know, and reads a
hello before any OpenSSL object exists. It must know no socket, context or certificate, and it is
no TLS implementation: what it cannot read goes to OpenSSL, which answers with the right alert.

The hello's shape, after the record layer is taken off:

    Handshake   = type(1)=1 length(3) ClientHello
    ClientHello = version(2) random(32) session_id<0..32> cipher_suites<2..2^16-2>
                  compression_methods<1..255> [ extensions<0..2^16-1> ]
    Extension   = type(2) data<0..2^16-1>

Source: RFC 8446 sections 4.1.2 and 5.1; RFC 5246 appendix E.2 for the SSLv2 hello.
"""

from __future__ import annotations

import enum
import re
from struct import Struct, error, unpack_from

from edgeserver.support.preludes import is_v2_part

__all__ = [
    "GREASE",
    "MAX_HELLO_BYTES",
    "ClientHello",
    "ClientHelloError",
    "HelloReader",
    "Opening",
    "parse_client_hello",
    "parse_numbers",
    "parse_whole_hello",
]

MAX_HELLO_BYTES = 65536
"""The longest ClientHello that is read; a post-quantum one is about 1.8 kB."""

MAX_RAW_BYTES = 2 * MAX_HELLO_BYTES  # with record headers: fragments of one byte cost six
MAX_RECORD_BYTES = 16384  # RFC 8446 section 5.1: "The length MUST NOT exceed 2^14 bytes"
MAX_REQUEST_LINE = 8192

GREASE = frozenset(0x0A0A + 0x1010 * step for step in range(16))
"""Values that clients offer to keep servers tolerant; they mean nothing (RFC 8701)."""

_SERVER_NAME, _GROUPS, _SIGNATURES, _ALPN, _VERSIONS = 0, 10, 13, 16, 43
_read_record = Struct(">BBxHBBH").unpack_from  # its type, major version and length; the message's
_read_hello_start = Struct(">H32xB").unpack_from  # version, length of the session_id
_read_size = Struct(">H").unpack_from
_read_extension_head = Struct(">HH").unpack_from

_METHOD_START = re.compile(rb"[A-Za-z]{1,32}(?: |\Z)")
_REQUEST_LINE = re.compile(rb"[A-Za-z]{1,32} [^ ]+ HTTP/[0-9](?:\.[0-9])?\r?\Z|[A-Z]+ /[^ ]*\r?\Z")


class ClientHelloError(ValueError):
    """The bytes are not a ClientHello; the message names the field. OpenSSL will answer them."""


class Opening(enum.Enum):
    """What a connection began with."""

    HELLO = "a ClientHello"
    MALFORMED = "TLS records without a readable ClientHello"
    TOO_LONG = "a ClientHello over 64 KiB"
    SSLV2 = "an SSLv2 hello"
    HTTP = "a plain HTTP request"
    GARBAGE = "neither TLS nor HTTP"


class ClientHello:
    r"""What a client offers, in its own order.

    Only what chooses a context is read at once, since each hello costs a server CPU; the rest is
    read when it is asked for, and is empty where it has no shape (OpenSSL refuses it then).

    Attributes:
        server_name: The host name asked for, lower case, or None. A name that is not ASCII has
            its bytes written as `\xNN`, and so equals no configured name.
        alpn: The protocols offered, as text (latin-1), the preferred one first.
        legacy_version: The version field of the hello itself.
        segment: The bytes that `parse_whole_hello` read it from; empty if it was read otherwise.
    """

    __slots__ = (
        "_body",
        "_offsets",
        "_suites_at",
        "alpn",
        "legacy_version",
        "segment",
        "server_name",
    )

    def __init__(self, body: bytes, legacy_version: int, suites_at: int) -> None:
        self._body = body
        self._offsets: dict[int, int] = {}  # extension type -> where it begins
        self._suites_at = suites_at
        self.legacy_version = legacy_version
        self.server_name: str | None = None
        self.alpn: tuple[str, ...] = ()
        self.segment = b""

    @property
    def cipher_suites(self) -> tuple[int, ...]:
        """The suites offered, GREASE included."""
        return parse_numbers(self.suites_raw, 2)

    @property
    def suites_raw(self) -> bytes:
        """The suites offered as they came, with their length before them."""
        at = self._suites_at
        return self._body[at - 2 : at + (self._body[at - 2] << 8 | self._body[at - 1])]

    @property
    def extensions(self) -> tuple[int, ...]:
        """The extension types, GREASE included."""
        return tuple(self._offsets)

    @property
    def groups(self) -> tuple[int, ...]:
        """The groups for key agreement, GREASE included."""
        return parse_numbers(self.extension(_GROUPS), 2)

    @property
    def signature_algorithms(self) -> tuple[int, ...]:
        """The signature schemes, GREASE included."""
        return parse_numbers(self.extension(_SIGNATURES), 2)

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions offered (0x0304 is TLS 1.3), without GREASE."""
        if _VERSIONS not in self._offsets:
            return (self.legacy_version,)
        return tuple(v for v in parse_numbers(self.extension(_VERSIONS), 1) if v not in GREASE)

    def extension(self, kind: int) -> bytes:
        """Return the data of an extension; empty if it is not there."""
        at = self._offsets.get(kind)
        if at is None:
            return b""
        body = self._body
        _, size = _read_extension_head(body, at)
        return body[at + 4 : at + 4 + size]

    def __repr__(self) -> str:
        return f"<ClientHello server_name={self.server_name!r} alpn={self.alpn!r}>"


def parse_client_hello(body: bytes, start: int = 0, end: int | None = None) -> ClientHello:
    """Parse the body of a ClientHello message, `body[start:end]`, without its four-byte header.

    It refuses what OpenSSL refuses, so that nobody is served by a host chosen from bytes that
    OpenSSL reads in another way.

    Raises:
        ClientHelloError: A length does not fit, an extension repeats, or a field has no shape.

    Source: RFC 8446 section 4.1.2.
    """
    end = len(body) if end is None else end
    try:
        return _parse(body, start, end)
    except (IndexError, error):
        raise ClientHelloError("the ClientHello ends inside a field") from None


def _parse(body: bytes, at: int, end: int) -> ClientHello:
    version, size = _read_hello_start(body, at)
    if at + 34 >= end or size > 32:
        raise ClientHelloError("the session_id does not fit (RFC 8446 section 4.1.2)")
    at += 37 + size
    (size,) = _read_size(body, at - 2)
    if size < 2 or size % 2 or at + size > end:
        raise ClientHelloError("the cipher_suites do not fit (RFC 8446 section 4.1.2)")
    hello = ClientHello(body, version, at)
    at += size
    if at >= end or not body[at] or at + 1 + body[at] > end:
        raise ClientHelloError("the compression_methods do not fit (RFC 8446 section 4.1.2)")
    at += 1 + body[at]
    if at == end:  # RFC 5246 section 7.4.1.2: a hello without extensions is complete here
        return hello
    (size,) = _read_size(body, at)
    at += 2
    if at + size != end:
        raise ClientHelloError("the extensions do not end where the hello ends")
    _parse_extensions(hello, body, at, end)
    return hello


def _parse_extensions(hello: ClientHello, body: bytes, at: int, end: int) -> None:
    offsets = hello._offsets
    while at < end:
        kind, size = _read_extension_head(body, at)
        if kind in offsets:
            # RFC 8446 section 4.2: "There MUST NOT be more than one extension of the same type"
            raise ClientHelloError("an extension is given twice (RFC 8446 section 4.2)")
        offsets[kind] = at
        at += size + 4
    if at != end:
        raise ClientHelloError("the last extension does not fit")
    if _SERVER_NAME in offsets and (name := hello.extension(_SERVER_NAME)):
        hello.server_name = _parse_server_name(name)
    if _ALPN in offsets and (alpn := hello.extension(_ALPN)):
        hello.alpn = _parse_alpn(alpn)


def parse_whole_hello(data: bytes) -> ClientHello | None:
    """Return the hello that the first segment of a connection holds whole, in one record.

    That is how nearly every connection begins; None for anything else, also for a hello that
    cannot be read: a `HelloReader` then tells what it is.
    """
    try:
        kind, major, size, message, high, low = _read_record(data)
        end = 9 + (high << 16 | low)
        if kind != 0x16 or major != 3 or message != 1 or size > MAX_RECORD_BYTES:
            return None
        if not end <= 5 + size <= len(data):
            return None
        hello = _parse(data, 9, end)
    except (ClientHelloError, IndexError, error):
        return None
    hello.segment = data
    return hello


def parse_numbers(data: bytes, prefix: int) -> tuple[int, ...]:
    """Return a vector of 16-bit numbers whose length stands in `prefix` bytes before it.

    What has no such shape has no numbers: it is for showing, and OpenSSL will refuse it.
    """
    size = int.from_bytes(data[:prefix])
    if size % 2 or prefix + size != len(data):
        return ()
    return unpack_from(f">{size // 2}H", data, prefix)


def _parse_server_name(data: bytes) -> str:
    """Return the one host_name of a server_name extension.

    Source: RFC 6066 section 3, "The ServerNameList MUST NOT contain more than one name of the
    same name_type"; no other type was ever defined.
    """
    outer, kind, size = unpack_from(">HBH", data)
    if kind or not size or not outer + 2 == size + 5 == len(data):
        raise ClientHelloError("the server_name is not one host name (RFC 6066 section 3)")
    return data[5:].decode("ascii", "backslashreplace").lower()


def _parse_alpn(data: bytes) -> tuple[str, ...]:
    """Return the protocol names of an ALPN extension (RFC 7301 section 3.1)."""
    end = len(data)
    if unpack_from(">H", data)[0] + 2 != end:
        raise ClientHelloError("the ALPN list does not fit its extension (RFC 7301 section 3.1)")
    names = []
    at = 2
    while at < end:
        size = data[at]
        at += 1
        if not size or at + size > end:
            raise ClientHelloError("an ALPN name is empty or does not fit (RFC 7301 section 3.1)")
        names.append(data[at : at + size].decode("latin-1"))
        at += size
    return tuple(names)


class HelloReader:
    """Collects the first bytes of one connection until it is clear what they are.

    Every byte is looked at a bounded number of times however it is cut, and at most
    `MAX_RAW_BYTES` plus one segment are held.

    Attributes:
        raw: All bytes so far, for OpenSSL or whoever answers.
        hello: The hello, once `feed` has returned `Opening.HELLO`.
        refusal: Why a hello could not be read, in words; empty otherwise.
    """

    __slots__ = ("_at", "_message", "_need", "hello", "raw", "refusal")

    def __init__(self) -> None:
        self.raw: bytes | bytearray = b""
        self.hello: ClientHello | None = None
        self.refusal = ""
        self._message: bytearray | None = None  # the handshake message, out of its records
        self._at = 0  # where the next record, or the search for LF, begins
        self._need = 0  # nothing can be told before `raw` is this long

    def feed(self, data: bytes) -> Opening | None:
        """Take the next bytes; return what the connection began with, or None for not yet."""
        if not self.raw:
            self.raw = data
        else:
            if isinstance(self.raw, bytes):
                self.raw = bytearray(self.raw)
            self.raw += data
        raw = self.raw
        if len(raw) < self._need or not raw:
            return None
        first = raw[0]
        if first == 0x16:
            return self._feed_records()
        if first in (0x14, 0x15, 0x17):
            return self._malformed("the first record is not a handshake (RFC 8446 section 5.1)")
        if first & 0x80:
            self._need = 3
            if len(raw) < 3:
                return None
            return Opening.SSLV2 if raw[2] == 1 else Opening.GARBAGE
        if first == 0x0D:
            # a PROXY v2 header: whoever is told of garbage looks whether it is one
            return None if is_v2_part(raw) else Opening.GARBAGE
        return self._feed_text()

    def _malformed(self, why: str) -> Opening:
        self.refusal = why
        return Opening.MALFORMED

    def _feed_records(self) -> Opening | None:
        raw = self.raw
        message = self._message
        if message is None:
            message = self._message = bytearray()
        self._need = 2
        if len(raw) < 2:
            return None
        if raw[1] != 3:
            return Opening.GARBAGE  # RFC 8446 section 5.1: every version of TLS is 3.x
        while True:
            at = self._at
            self._need = at + 5
            if len(raw) < self._need:
                return None
            size = raw[at + 3] << 8 | raw[at + 4]
            if raw[at] != 0x16 or not 0 < size <= MAX_RECORD_BYTES:
                # RFC 8446 section 5.1: handshake messages are not interleaved with other
                # types, are not empty, and a record has at most 2^14 bytes
                return self._malformed("a record of the ClientHello is not a handshake record")
            self._need = at + 5 + size
            if self._need > MAX_RAW_BYTES:
                return Opening.TOO_LONG
            if len(raw) < self._need:
                return None
            message += raw[at + 5 : at + 5 + size]
            self._at = self._need
            if message[0] != 1:
                return self._malformed("the message is not a ClientHello (RFC 8446 section 4)")
            if len(message) < 4:
                continue
            end = 4 + int.from_bytes(message[1:4])
            if end > MAX_HELLO_BYTES:
                return Opening.TOO_LONG
            if len(message) >= end:
                return self._complete(bytes(message), 4, end)

    def _complete(self, message: bytes, start: int, end: int) -> Opening:
        self._message = None
        try:
            self.hello = parse_client_hello(message, start, end)
        except ClientHelloError as exc:
            return self._malformed(str(exc))
        return Opening.HELLO

    def _feed_text(self) -> Opening | None:
        """Tell a request line (RFC 9112 section 3) from garbage as soon as either is certain."""
        raw = self.raw
        if not _METHOD_START.match(raw):
            return Opening.GARBAGE
        end = raw.find(b"\n", self._at, MAX_REQUEST_LINE)
        if end < 0:
            self._at = len(raw)
            return Opening.HTTP if len(raw) >= MAX_REQUEST_LINE else None
        return Opening.HTTP if _REQUEST_LINE.match(bytes(raw[:end])) else Opening.GARBAGE
