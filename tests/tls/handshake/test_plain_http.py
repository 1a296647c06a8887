"""Tests for `edgeserver.tls.handshake.plain_http`: what a client is told that forgot the `s`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeserver.tls.handshake.plain_http import (
    MAX_PLAIN_BYTES,
    head_is_complete,
    render_plain_http_answer,
)


def url_in(answer):
    """Return the URL at the end of an answer."""
    return answer.rsplit(b"use ", 1)[1].rstrip(b"\n")


@pytest.mark.parametrize(
    ("head", "url"),
    [
        (b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n", b"https://a.test/a"),
        (b"GET /a?b=%20 HTTP/1.1\r\nhOsT:\ta.test:8443 \r\n\r\n", b"https://a.test:8443/a?b=%20"),
        (b"GET / HTTP/1.1\nHost: a.test:443\n\n", b"https://a.test/"),
        (b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n", b"https://[2001:db8::1]:8443/"),
        (b"GET http://b.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n", b"https://b.test/x"),
        (b"GET HTTP://b.test HTTP/1.0\r\n\r\n", b"https://b.test/"),
        (b"GET http://b.test?x HTTP/1.0\r\n\r\n", b"https://b.test/"),
        (b"GET http://u@b.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", b"an https:// URL"),
        (b"CONNECT b.test:8443 HTTP/1.1\r\nHost: a.test\r\n\r\n", b"https://b.test:8443/"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", b"https://a.test/"),
        (b"GET /<script> HTTP/1.1\r\nHost: a.test\r\n\r\n", b"https://a.test/"),
        (b"GET /" + b"a" * 3000 + b" HTTP/1.1\r\nHost: a.test\r\n\r\n", b"https://a.test/"),
        (b"GET / HTTP/1.1\r\n\r\nHost: body.test\r\n", b"an https:// URL"),
        (b"GET / HTTP/1.1\r\n\r\n", b"an https:// URL"),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", b"an https:// URL"),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", b"an https:// URL"),
        (b"GET / HTTP/1.1\r\nHost: a@b.test\r\n\r\n", b"an https:// URL"),
        (b"GET / HTTP/1.1\r\nHost: a.test/x\r\n\r\n", b"an https:// URL"),
        (b"GET / HTTP/1.1\r\nHost: a.test:port\r\n\r\n", b"an https:// URL"),
        (b"GET / HTTP/1.1\r\nHost: \xc3\xa4.test\r\n\r\n", b"an https:// URL"),
        (b"GET /", b"an https:// URL"),
        (b"", b"an https:// URL"),
    ],
)
def test_url(head, url):
    """The URL is made of a host and a path that are beyond doubt, or there is none."""
    answer = render_plain_http_answer(head)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert url_in(answer) == url


def test_redirect():
    """A redirect has the URL in `Location`, and is permanent."""
    answer = render_plain_http_answer(b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n", redirect=True)
    assert answer.startswith(b"HTTP/1.1 308 Permanent Redirect\r\n")
    assert b"\r\nLocation: https://a.test/a\r\n" in answer


def test_no_redirect_without_a_host():
    """Where no URL is certain the answer stays 400."""
    answer = render_plain_http_answer(b"GET / HTTP/1.0\r\n\r\n", redirect=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Location" not in answer


def test_head_has_no_body():
    """HEAD gets the same head, with its length, and no content."""
    full = render_plain_http_answer(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    head = render_plain_http_answer(b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    body = full.split(b"\r\n\r\n", 1)[1]
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("raw", "seen", "complete"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 0, True),
        (b"GET / HTTP/1.1\n\n", 0, True),
        (b"GET / HTTP/1.1\r\n\r\n", 16, True),
        (b"GET / HTTP/1.1\r\nA: b\r\n", 0, False),
        (b"a" * (MAX_PLAIN_BYTES + 1), 0, True),
    ],
)
def test_end_of_head(raw, seen, complete):
    """The head ends with an empty line, or where no more is waited for."""
    assert head_is_complete(raw, seen) is complete


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=150, deadline=None)
def test_nothing_of_a_stranger_reaches_the_head(noise, redirect):
    """Whatever the target and the host are, the answer has exactly the fields it should have."""
    request = b"GET /" + noise + b" HTTP/1.1\r\nHost: a.test" + noise + b"\r\n\r\n"
    answer = render_plain_http_answer(request, redirect=redirect)
    head = answer.split(b"\r\n\r\n", 1)[0].split(b"\r\n")
    names = [line.split(b":", 1)[0] for line in head[1:]]
    assert [name for name in names if name != b"Location"] == [
        b"Date",
        b"Content-Type",
        b"Content-Length",
        b"Connection",
    ]
    assert all(0x20 <= byte < 0x7F for line in head for byte in line)
