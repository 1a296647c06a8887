"""Request heads: from a decoded list of fields to what every version of HTTP has.

Decides whether a list is a well-formed request, and what it says in HTTP/1's terms: method, target,
`host` first, one `cookie`. It must not know of blocks, streams or connections.

Source: RFC 9113 sections 8.2 and 8.3.
"""

from __future__ import annotations

import re
from typing import Final

from edgeserver.http.grammar import FIELD_VALUE_MARKS, HOST, TARGET_MARKS, TOKEN, is_token
from edgeserver.http2.errors import PROTOCOL_ERROR, StreamError
from edgeserver.http2.hpack.tables import Field
from edgeserver.http2.priority import parse_priority
from edgeserver.support.escape import escape

__all__ = ["RequestHead", "check_trailers", "parse_request_list"]

MAX_METHOD: Final = 64
MAX_CACHED_NAME: Final = 64
MAX_CACHED_NAMES: Final = 1024

PSEUDO: Final = frozenset((b":authority", b":method", b":path", b":protocol", b":scheme"))

# Section 8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific
# header fields. [...] Any message containing connection-specific header fields MUST be treated as
# malformed."
CONNECTION_SPECIFIC: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)

UPPER: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LOWER_TOKEN: Final = bytes(byte for byte in TOKEN if byte not in UPPER)

# RFC 9110 section 8.6: Content-Length = 1*DIGIT. Longer than 18 digits is beyond any file.
_LENGTH = re.compile(rb"[0-9]{1,18}")

# RFC 9113 section 8.5: the authority of CONNECT is "the host and port to connect to".
_PORT = re.compile(rb":[0-9]{1,5}\Z")

_names: Final[set[bytes]] = set()
"""Names that were validated before; of fields that say nothing to this layer."""


class RequestHead:
    """What a valid list says; shared between requests that say the same of any path.

    Attributes:
        method: The method.
        target: The target, as it would stand in HTTP/1: the path, or CONNECT's authority.
        fields: The last value of each name, `host` first.
        lines: All fields in order where a name repeats, else None.
        length: What `content-length` says; -1 where there is none.
        protocol: What extended CONNECT asks for (RFC 8441); empty for all other requests.
        priority: Urgency, and whether it takes turns, of the `priority` field; None without one.
        list_bytes: The size of the list without its path, as limits count it.
    """

    __slots__ = (
        "fields",
        "length",
        "lines",
        "list_bytes",
        "method",
        "priority",
        "protocol",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: str,
        fields: dict[bytes, bytes],
        lines: list[Field] | None,
        length: int,
        protocol: str,
        priority: tuple[int, bool] | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.lines = lines
        self.length = length
        self.protocol = protocol
        self.priority = priority
        self.list_bytes = 0

    def aim(self, path: bytes) -> str:
        """Have it say the same of another path; return the target that this is.

        Raises:
            StreamError: It is not one.
        """
        target = self.target = _parse_path(self.method, path)
        return target


def parse_request_list(listed: list[Field]) -> RequestHead:
    """Return what `listed` says.

    Raises:
        StreamError: It is malformed.
    """
    pseudo: dict[bytes, bytes] = {}
    pairs: list[Field] = []
    for field in listed:
        name = field[0]
        if name[:1] == b":":
            # Section 8.3: "All pseudo-header fields MUST appear in a field block before all
            # regular field lines"; "The same pseudo-header field name MUST NOT appear more than
            # once in a field block."
            if pairs or name in pseudo or name not in PSEUDO:
                raise _malformed(f"'{escape(name)}' out of place", "8.3")
            pseudo[name] = field[1]
        else:
            if name not in _names:
                _check_name(name)
            value = field[1]
            if value and (
                value[0] <= 0x20 or value[-1] <= 0x20 or value.translate(FIELD_VALUE_MARKS) != value
            ):
                raise _malformed(f"the value of '{escape(name)}'", "8.2.1")
            pairs.append(field)
    method, target, authority, protocol = _read_pseudo(pseudo)
    return _assemble(method, target, authority, protocol, pairs)


def check_trailers(listed: list[Field]) -> None:
    """Accept the trailer section of a request; nobody is given it.

    Raises:
        StreamError: It is malformed.
    """
    for name, value in listed:
        # Section 8.1: "Trailers MUST NOT include pseudo-header fields".
        if name[:1] == b":":
            raise _malformed(f"'{escape(name)}' in a trailer section", "8.1")
        if name not in _names:
            _check_name(name)
        if value.translate(FIELD_VALUE_MARKS) != value:
            raise _malformed(f"the value of '{escape(name)}'", "8.2.1")


def _check_name(name: bytes) -> None:
    if not name or name.translate(None, LOWER_TOKEN):
        raise _malformed(f"'{escape(name)}' is not a field name in lower case", "8.2.1")
    if name in CONNECTION_SPECIFIC:
        raise _malformed(f"'{escape(name)}' is about a connection", "8.2.2")
    if len(name) <= MAX_CACHED_NAME:
        if len(_names) >= MAX_CACHED_NAMES:
            _names.clear()
        _names.add(name)


def _read_pseudo(pseudo: dict[bytes, bytes]) -> tuple[str, str, bytes, str]:
    """Return method, target, authority and protocol."""
    word = pseudo.get(b":method", b"")
    if not is_token(word) or len(word) > MAX_METHOD:
        raise _malformed(f"'{escape(word)}' is not a method", "8.3.1")
    method = word.decode("ascii")
    authority = pseudo.get(b":authority", b"")
    protocol = pseudo.get(b":protocol", b"")
    if method == "CONNECT" and b":protocol" not in pseudo:
        # Section 8.5: "The :scheme and :path pseudo-header fields MUST be omitted."
        if len(pseudo) != 2 or not (HOST.fullmatch(authority) and _PORT.search(authority)):
            raise _malformed("a CONNECT that says more or less than where to", "8.5")
        if authority.startswith(b":"):
            raise _malformed("a CONNECT to no host", "8.5")
        return method, authority.decode("ascii"), authority, ""
    if b":protocol" in pseudo and (method != "CONNECT" or not is_token(protocol)):
        raise StreamError(PROTOCOL_ERROR, "':protocol' without CONNECT", "RFC 8441 section 4")
    if not pseudo.get(b":scheme"):
        raise _malformed("no ':scheme'", "8.3.1")
    if b":path" not in pseudo:
        raise _malformed("no ':path'", "8.3.1")
    if b":authority" in pseudo and (not HOST.fullmatch(authority) or authority[:1] in (b"", b":")):
        raise _malformed(f"the authority '{escape(authority)}'", "8.3.1")
    target = _parse_path(method, pseudo[b":path"])
    return method, target, authority, protocol.decode("ascii")


def _parse_path(method: str, path: bytes) -> str:
    # Section 8.3.1: ":path" is never empty; it starts with a slash, but for OPTIONS of "*".
    if path.translate(TARGET_MARKS) != path or (
        path[:1] != b"/" and not (path == b"*" and method == "OPTIONS")
    ):
        raise _malformed(f"the path '{escape(path)}'", "8.3.1")
    return path.decode("ascii")


def _assemble(
    method: str, target: str, authority: bytes, protocol: str, pairs: list[Field]
) -> RequestHead:
    """Return the head of which these are the parts."""
    fields: dict[bytes, bytes] = {}
    if authority:
        fields[b"host"] = authority
    elif b"host" not in (host := dict(pairs)):
        # Section 8.3.1: "the request MUST contain either an :authority pseudo-header field or a
        # Host header field".
        raise _malformed("neither ':authority' nor 'host'", "8.3.1")
    else:
        fields[b"host"] = host[b"host"]
    lines: list[Field] = [(b"host", fields[b"host"])]
    cookies: list[bytes] = []
    for name, value in pairs:
        if name == b"host":
            if not value or value != fields[b"host"] or not HOST.fullmatch(value):
                raise _malformed(f"the host '{escape(value)}'", "8.3.1")
            continue
        if name == b"cookie":
            cookies.append(value)
            if len(cookies) > 1:
                continue
        elif name == b"te" and value.lower() != b"trailers":
            # Section 8.2.2: "it MUST NOT contain any value other than "trailers"".
            raise _malformed(f"'te: {escape(value)}'", "8.2.2")
        lines.append((name, value))
        fields[name] = value
    if len(cookies) > 1:
        # Section 8.2.3: "these MUST be concatenated into a single octet string using the
        # two-octet delimiter of 0x3b, 0x20".
        cookie = b"; ".join(cookies)
        fields[b"cookie"] = cookie
        lines = [(name, cookie if name == b"cookie" else value) for name, value in lines]
    repeats = lines if len(lines) != len(fields) else None
    length = _read_length(lines, fields)
    said = fields.get(b"priority")
    priority = None if said is None else parse_priority(said)
    return RequestHead(method, target, fields, repeats, length, protocol, priority)


def _read_length(lines: list[Field], fields: dict[bytes, bytes]) -> int:
    """Return what `content-length` says; -1 where there is none."""
    if b"content-length" not in fields:
        return -1
    joined = b",".join([value for name, value in lines if name == b"content-length"])
    values = [value.strip(b" \t") for value in joined.split(b",")]
    if any(value != values[0] for value in values) or _LENGTH.fullmatch(values[0]) is None:
        raise StreamError(
            PROTOCOL_ERROR,
            f"Malformed request: content-length '{escape(joined)}'",
            "RFC 9110 section 8.6",
        )
    return int(values[0])


def _malformed(what: str, section: str) -> StreamError:
    return StreamError(PROTOCOL_ERROR, f"Malformed request: {what}", f"RFC 9113 section {section}")
