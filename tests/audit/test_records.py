"""Log formats: each is recognised from its lines, and cut where its product ends a field."""

from __future__ import annotations

import pytest

from edgeserver.audit.records import compile_format, cut_line, cut_port, guess_format
from edgeserver.errors import ConfigurationError

XFF = "header:x-forwarded-for"

LINES = {
    "haproxy+captures": (
        "Nov 28 07:13:03 lb haproxy[7]: 203.0.113.66:36531 [28/Nov/2026:07:13:03.123] fe be/s1 "
        '0/0/0/1/1 200 123 - - ---- 1/1/0/0/0 0/0 {curl|198.51.100.7} "GET /a HTTP/1.1"',
        ("203.0.113.66:36531", "198.51.100.7"),
    ),
    "haproxy": (
        "Nov 28 07:13:03 lb haproxy[7]: 203.0.113.66:36531 [28/Nov/2026:07:13:03.123] fe be/s1 "
        '0/0/0/1/1 200 123 - - ---- 1/1/0/0/0 0/0 "GET /a HTTP/1.1"',
        ("203.0.113.66:36531", None),
    ),
    "alb": (
        "https 2026-11-28T07:13:03.186641Z app/lb/50dc 203.0.113.66:2817 10.0.0.1:80 0.000 0.001 "
        '0.000 200 200 34 366 "GET https://shop.example:443/a HTTP/1.1" "curl/8"',
        ("203.0.113.66:2817", None),
    ),
    "elb": (
        "2026-11-28T07:13:03.186641Z lb 203.0.113.66:2817 10.0.0.1:80 0.000 0.001 "
        '0.000 200 200 34 366 "GET http://shop.example:80/a HTTP/1.1" "curl/8"',
        ("203.0.113.66:2817", None),
    ),
    "traefik": (
        '{"ClientAddr":"203.0.113.66:2817","RequestPath":"/a","DownstreamStatus":200,'
        '"StartUTC":"2026-11-28T07:13:03Z","request_X-Forwarded-For":"198.51.100.7"}',
        ("203.0.113.66:2817", "198.51.100.7"),
    ),
    "json": (
        '{"remote_addr":"203.0.113.66","http_x_forwarded_for":"198.51.100.7","status":"200",'
        '"request":"GET /a HTTP/1.1","time":"2026-11-28T07:13:03Z"}',
        ("203.0.113.66", "198.51.100.7"),
    ),
    "nginx": (
        '203.0.113.66 - - [28/Nov/2026:07:13:03 +0000] "GET /a HTTP/1.1" 200 2 "-" "curl/8"',
        ("203.0.113.66", None),
    ),
    "clf": (
        '203.0.113.66 - - [28/Nov/2026:07:13:03 +0000] "GET /a HTTP/1.1" 200 2',
        ("203.0.113.66", None),
    ),
    "uvicorn": (
        'INFO:     203.0.113.66:4242 - "GET /a HTTP/1.1" 200 OK',
        ("203.0.113.66:4242", None),
    ),
    "edgeserver-text": (
        '2026-11-28T07:13:03.000Z 203.0.113.66 "GET /a HTTP/1.1" 200 2 0.100ms',
        ("203.0.113.66", None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LINES)
def test_formats_are_guessed(name: str) -> None:
    """A product's usual line is recognised, with its peer and its list."""
    line, (peer, listed) = LINES[name]
    guessed = guess_format([line] * 3)
    assert guessed is not None
    assert (guessed[0].name, guessed[1]) == (name, 3)
    found = cut_line(guessed[0], line)
    assert found is not None
    assert (found["peer"], found.get(XFF)) == (peer, listed)


@pytest.mark.parametrize(
    "line", ["", "hello world", '{"a": 1}', "\x00\x00", "{" * 5000], ids=repr
)  # fmt: skip
def test_what_is_no_log_is_not_guessed(line: str) -> None:
    """Lines of no known format have none."""
    assert guess_format([line] * 3) is None


def test_a_quoted_field_that_is_no_list_is_not_taken_for_one() -> None:
    """A log with another field after the user agent cannot tell what clients claimed."""
    line = '203.0.113.6 - - [28/Nov/2026:07:13:03 +0000] "GET / HTTP/1.1" 200 2 "-" "c" "shop"'
    guessed = guess_format([line] * 3)
    assert guessed is not None
    assert (guessed[0].name, guessed[0].holds(XFF)) == ("nginx", False)


FORMATS = {
    "nginx": (
        '$remote_addr [$time_local] "$request" $status "$http_x_forwarded_for" $realip_remote_addr',
        '198.51.100.7 [28/Nov/2026:07:13:03 +0000] "GET / HTTP/1.1" 200 "198.51.100.7" 192.0.2.5',
    ),
    "nginx json": (
        '{"a":"$realip_remote_addr","b":"$http_x_forwarded_for","s":$status}',
        '{"a":"192.0.2.5","b":"198.51.100.7","s":200}',
    ),
    "httpd": (
        '%h %l %u %t "%r" %>s %b "%{X-Forwarded-For}i"',
        '192.0.2.5 - - [28/Nov/2026:07:13:03 +0000] "GET / HTTP/1.1" 200 5 "198.51.100.7"',
    ),
    "gunicorn": (
        '%(h)s %(t)s "%(r)s" %(s)s %({x-forwarded-for}i)s;',
        '192.0.2.5 [28/Nov/2026:07:13:03 +0000] "GET / HTTP/1.1" 200 198.51.100.7;',
    ),
    "envoy": (
        "[%START_TIME%] %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% %RESPONSE_CODE% "
        '"%REQ(X-FORWARDED-FOR)%"',
        '[2026-11-28T07:13:12Z] 192.0.2.5 200 "198.51.100.7"',
    ),
    "haproxy": (
        "%ci %ST %[capture.req.hdr(0)] %[req.hdr(X-Forwarded-For)] %HP",
        "192.0.2.5 200 x 198.51.100.7 /",
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats_in_the_products_words(name: str) -> None:
    """A format as the product is told it cuts the lines that the product writes."""
    text, line = FORMATS[name]
    found = cut_line(compile_format(text), line)
    assert found is not None
    assert (found["peer"], found[XFF], found["status"]) == ("192.0.2.5", "198.51.100.7", "200")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"$request" $status', "no field of it is the peer"),
        ("$remote_addr$status", "stands right behind another"),
        ('{"a": "$remote_addr"', "this is no JSON"),
    ],
    ids=["no peer", "no separator", "torn JSON"],
)
def test_formats_that_cannot_be_read(text: str, message: str) -> None:
    """A format that would be cut wrongly is refused, with the reason."""
    with pytest.raises(ConfigurationError, match=message):
        compile_format(text)


@pytest.mark.parametrize(
    ("text", "last_colon", "address"),
    [
        ("203.0.113.6", False, "203.0.113.6"),
        ("203.0.113.6:80", False, "203.0.113.6"),
        ("2001:db8::6", False, "2001:db8::6"),
        ("[2001:db8::6]:80", False, "2001:db8::6"),
        ("2001:db8::6:80", True, "2001:db8::6"),
        ("::ffff:203.0.113.6", False, "::ffff:203.0.113.6"),
    ],
)
def test_ports_are_cut(text: str, *, last_colon: bool, address: str) -> None:
    """A port behind an address is no part of it."""
    assert cut_port(text, last_colon=last_colon) == address
