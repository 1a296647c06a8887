"""Requests as the internet sends them: each with what has to come of it, and the rule.

`REFUSED` are never served; `SERVED` are, with what the application has to see.
"""

from __future__ import annotations

from typing import NamedTuple


class Refused(NamedTuple):
    """A request that is refused: `status`, and where the rule stands."""

    id: str
    data: bytes
    status: int
    rule: str


class Served(NamedTuple):
    """A request that is served: method, target and body as the application sees them."""

    id: str
    data: bytes
    method: str
    target: str
    body: bytes = b""


def head(*lines: bytes) -> bytes:
    """Return a GET request with a Host, and `lines`."""
    return (
        b"GET / HTTP/1.1\r\n" + b"".join(line + b"\r\n" for line in (b"Host: a", *lines)) + b"\r\n"
    )


def post(*lines: bytes, body: bytes = b"") -> bytes:
    """Return a POST request with a Host, `lines` and a body."""
    start = b"POST /p HTTP/1.1\r\n"
    return start + b"".join(line + b"\r\n" for line in (b"Host: a", *lines)) + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    """Return a POST request whose chunked body is `body` as it stands."""
    return post(b"Transfer-Encoding: chunked", body=body)


NEXT = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

FIELDS = "RFC 9112 section 5"
LENGTH = "RFC 9110 section 8.6"
CODING = "RFC 9112 section 6.1"
FRAMING = "RFC 9112 section 6.3"
CHUNK = "RFC 9112 section 7.1"
LINES = "RFC 9112 section 2.2"
LINE = "RFC 9112 section 3"
TARGET = "RFC 9112 section 3.2"
HOST = "RFC 9112 section 3.2"

REFUSED = [
    # The request line.
    Refused("empty-request-line-twice", b"\r\n\r\n" + head(), 400, LINE),
    Refused("garbage", b"\xff\xfe\xfd nonsense\r\n\r\n", 400, LINE),
    Refused("tls-on-plain-port", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, LINE),
    Refused("one-word", b"GET\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("two-words", b"GET /\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("four-words", b"GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("two-spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("space-before-version", b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("trailing-space", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, LINE),
    Refused("leading-space", b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("tab-separated", b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("method-with-slash", b"GE/T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 9110 section 9"),
    Refused("method-with-colon", b"GET: / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 9110 section 9"),
    Refused(
        "method-not-ascii", b"G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 9110 section 9"
    ),
    Refused("method-empty", b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 9110 section 9"),
    Refused(
        "method-too-long", b"A" * 65 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "RFC 9110 section 9"
    ),
    Refused("version-lower-case", b"GET / http/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("version-two-digits", b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("version-one-digit", b"GET / HTTP/1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("version-leading-zero", b"GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("version-other-name", b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("version-2", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "RFC 9110 section 15.6.6"),
    Refused("version-0.9", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "RFC 9110 section 15.6.6"),
    Refused(
        "preface-of-http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "RFC 9110 section 15.6.6"
    ),
    # Targets.
    Refused("target-relative", b"GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    Refused("target-not-ascii", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("target-control", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("target-del", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("target-nul", b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINE),
    Refused("asterisk-with-get", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    Refused("authority-with-get", b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    Refused("connect-without-port", b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    Refused("connect-with-path", b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    Refused("connect-without-host", b"CONNECT :80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    Refused("absolute-other-scheme", b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    Refused("absolute-empty-host", b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    Refused("absolute-userinfo", b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    Refused("absolute-bad-host", b"GET http://a<b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, TARGET),
    # Line ends and controls.
    Refused("bare-lf-lines", b"GET / HTTP/1.1\nHost: a\n\n", 400, LINES),
    Refused("bare-lf-after-request-line", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, LINES),
    Refused("bare-lf-after-field", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, LINES),
    Refused("bare-lf-at-end", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, LINES),
    Refused("bare-cr-in-line", b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400, LINES),
    Refused("bare-cr-in-value", head(b"X: a\rb"), 400, LINES),
    Refused("bare-cr-at-value-end", head(b"X: a\r"), 400, LINES),
    Refused("cr-cr-lf", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, LINES),
    Refused("lf-first", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, LINES),
    Refused("nul-in-value", head(b"X: a\x00b"), 400, "RFC 9110 section 5.5"),
    Refused("escape-in-value", head(b"X: a\x1b[2Jb"), 400, "RFC 9110 section 5.5"),
    Refused("del-in-value", head(b"X: a\x7fb"), 400, "RFC 9110 section 5.5"),
    Refused("nul-in-name", head(b"X\x00: a"), 400, FIELDS),
    # Field lines.
    Refused("space-before-colon", head(b"X : a"), 400, FIELDS),
    Refused("tab-before-colon", head(b"X\t: a"), 400, FIELDS),
    Refused(
        "space-before-colon-of-length", post(b"Content-Length : 5", body=b"hello"), 400, FIELDS
    ),
    Refused("empty-name", head(b": a"), 400, FIELDS),
    Refused("no-colon", head(b"X"), 400, FIELDS),
    Refused("no-colon-known-name", head(b"Accept"), 400, FIELDS),
    Refused("name-not-ascii", head(b"X\xe9: a"), 400, FIELDS),
    Refused("name-with-parenthesis", head(b"X(y): a"), 400, FIELDS),
    Refused("name-with-space", head(b"X y: a"), 400, FIELDS),
    Refused("obs-fold-space", head(b"X: a", b" b"), 400, "RFC 9112 section 5.2"),
    Refused("obs-fold-tab", head(b"X: a", b"\tb"), 400, "RFC 9112 section 5.2"),
    Refused("obs-fold-of-length", post(b"Content-Length:", b" 5", body=b"hello"), 400, FIELDS),
    Refused("space-before-first-field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, FIELDS),
    # Host.
    Refused("host-missing", b"GET / HTTP/1.1\r\n\r\n", 400, HOST),
    Refused("host-missing-1.2", b"GET / HTTP/1.2\r\n\r\n", 400, HOST),
    Refused("host-twice", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, HOST),
    Refused("host-twice-equal", b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400, HOST),
    Refused("host-twice-1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, HOST),
    Refused("host-list", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, HOST),
    Refused("host-comma", b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400, HOST),
    Refused("host-space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, HOST),
    Refused("host-slash", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, HOST),
    Refused("host-userinfo", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, HOST),
    Refused("host-port-letters", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, HOST),
    Refused("host-two-ports", b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400, HOST),
    Refused("host-bracket-open", b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, HOST),
    Refused("host-bracket-inside", b"GET / HTTP/1.1\r\nHost: a[b]\r\n\r\n", 400, HOST),
    Refused("host-percent", b"GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n", 400, HOST),
    Refused("host-not-ascii", b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", 400, HOST),
    Refused("host-angle", b"GET / HTTP/1.1\r\nHost: <script>\r\n\r\n", 400, HOST),
    Refused("host-bad-1.0", b"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400, HOST),
    # Content-Length.
    Refused("length-empty", post(b"Content-Length:"), 400, LENGTH),
    Refused("length-sign", post(b"Content-Length: +5", body=b"hello"), 400, LENGTH),
    Refused("length-negative", post(b"Content-Length: -5", body=b"hello"), 400, LENGTH),
    Refused("length-hex", post(b"Content-Length: 0x5", body=b"hello"), 400, LENGTH),
    Refused("length-underscore", post(b"Content-Length: 1_0", body=b"hellohello"), 400, LENGTH),
    Refused("length-float", post(b"Content-Length: 5.0", body=b"hello"), 400, LENGTH),
    Refused("length-inner-space", post(b"Content-Length: 1 0", body=b"hellohello"), 400, LENGTH),
    Refused("length-words", post(b"Content-Length: five"), 400, LENGTH),
    Refused("length-superscript", post(b"Content-Length: \xb2"), 400, LENGTH),
    Refused(
        "length-differs",
        post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
        400,
        LENGTH,
    ),
    Refused("length-list-differs", post(b"Content-Length: 5, 6", body=b"hello!"), 400, LENGTH),
    Refused("length-list-empty-item", post(b"Content-Length: 5,", body=b"hello"), 400, LENGTH),
    Refused("length-list-leading-zero", post(b"Content-Length: 5, 05", body=b"hello"), 400, LENGTH),
    Refused("length-huge", post(b"Content-Length: 9999999999999999999999"), 400, LENGTH),
    Refused(
        "length-too-large", post(b"Content-Length: 104857601"), 413, "RFC 9110 section 15.5.14"
    ),
    # Transfer-Encoding.
    Refused(
        "length-and-coding",
        post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        400,
        CODING,
    ),
    Refused(
        "coding-and-length",
        post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
        400,
        CODING,
    ),
    Refused(
        "coding-and-length-0",
        post(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=b"0\r\n\r\n"),
        400,
        CODING,
    ),
    Refused("coding-unknown-alone", post(b"Transfer-Encoding: gzip"), 400, FRAMING),
    Refused(
        "coding-identity", post(b"Transfer-Encoding: identity", body=b"0\r\n\r\n"), 400, FRAMING
    ),
    Refused("coding-empty", post(b"Transfer-Encoding:"), 400, FRAMING),
    Refused("coding-chunked-twice", post(b"Transfer-Encoding: chunked, chunked"), 400, FRAMING),
    Refused(
        "coding-chunked-twice-lines",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        400,
        FRAMING,
    ),
    Refused("coding-chunked-first", post(b"Transfer-Encoding: chunked, gzip"), 400, FRAMING),
    Refused(
        "coding-chunked-and-identity-line",
        post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        400,
        FRAMING,
    ),
    Refused("coding-not-token", post(b"Transfer-Encoding: chu nked"), 400, FRAMING),
    Refused("coding-quoted", post(b'Transfer-Encoding: "chunked"'), 400, FRAMING),
    Refused("coding-parameter", post(b"Transfer-Encoding: chunked;q=1"), 400, FRAMING),
    Refused("coding-comma-first", post(b"Transfer-Encoding: ,chunked"), 400, FRAMING),
    Refused(
        "coding-vertical-tab", post(b"Transfer-Encoding: \x0bchunked"), 400, "RFC 9110 section 5.5"
    ),
    Refused(
        "coding-unknown-then-chunked",
        post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
        501,
        CODING,
    ),
    Refused(
        "coding-nonsense-then-chunked",
        post(b"Transfer-Encoding: xchunked, chunked", body=b"0\r\n\r\n"),
        501,
        CODING,
    ),
    # Chunks.
    Refused("chunk-size-letters", chunked(b"zz\r\n"), 400, CHUNK),
    Refused("chunk-size-empty", chunked(b"\r\n"), 400, CHUNK),
    Refused("chunk-size-sign", chunked(b"+3\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    Refused("chunk-size-0x", chunked(b"0x3\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    Refused("chunk-size-underscore", chunked(b"0_3\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    Refused("chunk-size-leading-space", chunked(b" 3\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    Refused("chunk-size-trailing-space", chunked(b"3 \r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    Refused("chunk-size-17-digits", chunked(b"00000000000000003\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    Refused("chunk-size-too-large", chunked(b"6400001\r\n"), 413, "RFC 9110 section 15.5.14"),
    Refused(
        "chunk-size-overflow", chunked(b"FFFFFFFFFFFFFFFF\r\n"), 413, "RFC 9110 section 15.5.14"
    ),
    Refused("chunk-bare-lf", chunked(b"3\nabc\r\n0\r\n\r\n"), 400, LINES),
    Refused("chunk-bare-cr", chunked(b"3\rabc\r\n0\r\n\r\n"), 400, LINES),
    Refused("chunk-cr-in-size-line", chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n"), 400, LINES),
    Refused("chunk-no-crlf-after-data", chunked(b"3\r\nabcd\r\n0\r\n\r\n"), 400, CHUNK),
    Refused("chunk-lf-after-data", chunked(b"3\r\nabc\n0\r\n\r\n"), 400, CHUNK),
    Refused("chunk-extension-nul", chunked(b"3;a=\x00\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    Refused("chunk-extension-no-name", chunked(b"3;\r\nabc\r\n0\r\n\r\n"), 400, CHUNK),
    Refused("chunk-extension-open-quote", chunked(b'3;a="b\r\nabc\r\n0\r\n\r\n'), 400, CHUNK),
    Refused("chunk-line-too-long", chunked(b"3;" + b"a" * 5000), 400, CHUNK),
    Refused("trailer-no-colon", chunked(b"0\r\nX\r\n\r\n"), 400, FIELDS),
    Refused("trailer-space-before-colon", chunked(b"0\r\nX : y\r\n\r\n"), 400, FIELDS),
    Refused("trailer-fold", chunked(b"0\r\nX: y\r\n z\r\n\r\n"), 400, FIELDS),
    Refused("trailer-bare-lf", chunked(b"0\r\nX: y\n\r\n"), 400, LINES),
    Refused("trailer-lf-end", chunked(b"0\r\n\n"), 400, LINES),
    Refused("trailer-control", chunked(b"0\r\nX: \x00\r\n\r\n"), 400, "RFC 9110 section 5.5"),
    # Too much of it.
    Refused("head-too-long", head(b"X: " + b"a" * 66000), 431, "RFC 6585 section 5"),
    Refused(
        "request-line-too-long",
        b"GET /" + b"a" * 66000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        414,
        "RFC 9112 section 3",
    ),
    Refused("head-without-end", b"GET / HTTP/1.1\r\nX: " + b"a" * 66000, 431, "RFC 6585 section 5"),
    Refused("too-many-fields", head(*[b"X: y"] * 256), 431, "RFC 6585 section 5"),
    Refused(
        "too-many-trailers",
        chunked(b"0\r\n" + b"X: y\r\n" * 257 + b"\r\n"),
        431,
        "RFC 6585 section 5",
    ),
]

SERVED = [
    Served("plain", head(), "GET", "/"),
    Served("empty-line-first", b"\r\n" + head(), "GET", "/"),
    Served("version-1.0-without-host", b"GET / HTTP/1.0\r\n\r\n", "GET", "/"),
    Served("version-1.9", b"GET / HTTP/1.9\r\nHost: a\r\n\r\n", "GET", "/"),
    Served("method-unregistered", b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "BREW", "/pot"),
    Served("method-odd-token", b"M-SEARCH!#$ / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH!#$", "/"),
    Served("method-lower-case", b"get / HTTP/1.1\r\nHost: a\r\n\r\n", "get", "/"),
    Served(
        "target-odd-characters",
        b'GET /a|b"c<d>{e}\\^`[f]#g HTTP/1.1\r\nHost: a\r\n\r\n',
        "GET",
        '/a|b"c<d>{e}\\^`[f]#g',
    ),
    Served("target-double-slash", b"GET //a HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "//a"),
    Served("absolute", b"GET http://b/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "http://b/x?y"),
    Served(
        "absolute-https-upper",
        b"GET HTTPS://b:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET",
        "HTTPS://b:443",
    ),
    Served(
        "absolute-ipv6",
        b"GET http://[::1]:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET",
        "http://[::1]:80/",
    ),
    Served("asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "*"),
    Served("authority", b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", "CONNECT", "b:443"),
    Served("host-empty", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET", "/"),
    Served("host-port", b"GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", "GET", "/"),
    Served("host-empty-port", b"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "GET", "/"),
    Served("host-ipv6", b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "GET", "/"),
    Served("host-underscore", b"GET / HTTP/1.1\r\nHost: a_b\r\n\r\n", "GET", "/"),
    Served("value-obs-text", head(b"X: \xc3\xa9"), "GET", "/"),
    Served("value-empty", head(b"X:"), "GET", "/"),
    Served("value-tabs", head(b"X:\t a\tb \t"), "GET", "/"),
    Served("upgrade-unknown", head(b"Connection: upgrade", b"Upgrade: h2c, teapot/1"), "GET", "/"),
    Served("length", post(b"Content-Length: 5", body=b"hello"), "POST", "/p", b"hello"),
    Served("length-zero", post(b"Content-Length: 0"), "POST", "/p"),
    Served(
        "length-leading-zeros", post(b"Content-Length: 005", body=b"hello"), "POST", "/p", b"hello"
    ),
    Served(
        "length-twice-equal",
        post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
        "POST",
        "/p",
        b"hello",
    ),
    Served(
        "length-list-equal", post(b"Content-Length: 5 ,\t5", body=b"hello"), "POST", "/p", b"hello"
    ),
    Served(
        "get-with-body",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "GET",
        "/",
        b"hello",
    ),
    Served(
        "body-looks-like-request",
        post(b"Content-Length: %d" % len(NEXT), body=NEXT),
        "POST",
        "/p",
        NEXT,
    ),
    Served(
        "upgrade-unknown-with-body",
        post(b"Connection: upgrade", b"Upgrade: teapot", b"Content-Length: 5", body=b"hello"),
        "POST",
        "/p",
        b"hello",
    ),
    Served("chunked", chunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "POST", "/p", b"abcde"),
    Served("chunked-empty", chunked(b"0\r\n\r\n"), "POST", "/p"),
    Served(
        "chunked-upper-case",
        post(b"TRANSFER-ENCODING: CHUNKED", body=b"A\r\n0123456789\r\n0\r\n\r\n"),
        "POST",
        "/p",
        b"0123456789",
    ),
    Served("chunked-leading-zeros", chunked(b"0003\r\nabc\r\n000\r\n\r\n"), "POST", "/p", b"abc"),
    Served(
        "chunked-extensions",
        chunked(b'3;a;b=c; d = "e;\\"f"\r\nabc\r\n0;last\r\n\r\n'),
        "POST",
        "/p",
        b"abc",
    ),
    Served(
        "chunked-trailers",
        chunked(b"3\r\nabc\r\n0\r\nX: y\r\nContent-Length: 7\r\n\r\n"),
        "POST",
        "/p",
        b"abc",
    ),
    Served(
        "chunked-data-looks-like-end",
        chunked(b"7\r\n0\r\n\r\nab\r\n0\r\n\r\n"),
        "POST",
        "/p",
        b"0\r\n\r\nab",
    ),
    Served(
        "chunked-1.0",
        b"POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "POST",
        "/p",
        b"abc",
    ),
    Served("fields-at-the-limit", head(*[b"X: y"] * 255), "GET", "/"),
]
