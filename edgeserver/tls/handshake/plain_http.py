"""The answer to a client that sends plain HTTP to the TLS port.

Decides the one answer: a sentence with the https URL, or a redirect to it. It must know no socket;
and nothing of the request reaches the answer but a host and a path that match a strict pattern.

Source: RFC 9110 sections 15.5.1 and 15.4.9.
"""

from __future__ import annotations

import re
from email.utils import formatdate

__all__ = ["MAX_PLAIN_BYTES", "head_is_complete", "render_plain_http_answer"]

MAX_PLAIN_BYTES = 16384

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_HOST_FIELD = re.compile(rb"^host:([^\r\n]*)\r?$", re.IGNORECASE | re.MULTILINE)
# RFC 3986 section 3.2.2, without percent-encoding and sub-delims, which no real host name has
_HOST = re.compile(rb"([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?\Z")
# RFC 9112 section 3.2.2, absolute-form: the authority, and what follows it
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)\Z", re.IGNORECASE)
# RFC 9112 section 3.2.1, origin-form, in the characters of RFC 3986 section 3.3 and 3.4
_TARGET = re.compile(rb"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]{0,1999}\Z")


def head_is_complete(raw: bytes | bytearray, seen: int = 0) -> bool:
    """Tell whether the empty line has come, or so much that it is not waited for.

    Args:
        raw: The request so far.
        seen: How much of it was searched before.
    """
    return len(raw) > MAX_PLAIN_BYTES or _HEAD_END.search(raw, max(seen - 3, 0)) is not None


def render_plain_http_answer(raw: bytes, *, redirect: bool = False) -> bytes:
    """Return the whole answer to a plain HTTP request that came to the TLS port.

    Args:
        raw: The request, or as much of it as came.
        redirect: Answer 308 to the https URL where the request names a usable host; else, and
            otherwise, 400.
    """
    method, _, rest = raw.partition(b" ")
    url = _https_url(raw, method, rest.split(b"\n", 1)[0].split(b" ", 1)[0].rstrip(b"\r"))
    if url and redirect:
        status, fields = b"308 Permanent Redirect", b"Location: " + url + b"\r\n"
    else:
        status, fields = b"400 Bad Request", b""
    body = b"This port speaks HTTPS only: use " + (url or b"an https:// URL") + b"\n"
    head = (
        b"HTTP/1.1 %s\r\nDate: %s\r\n%sContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n"
    ) % (status, formatdate(usegmt=True).encode("ascii"), fields, len(body))
    # RFC 9110 section 9.3.2: "the server MUST NOT send content in the response" to HEAD
    return head if method == b"HEAD" else head + body


def _https_url(raw: bytes, method: bytes, target: bytes) -> bytes:
    """Return the https form of what was asked for; empty where the host is not usable."""
    head = _HEAD_END.split(raw, maxsplit=1)[0]
    hosts = _HOST_FIELD.findall(head)
    # RFC 9112 section 3.2: a request with more than one Host, or an invalid one, is an error
    if len(hosts) > 1:
        return b""
    host = hosts[0].strip(b" \t") if hosts else b""
    # Section 3.2.2: where the target names a host, that one replaces the field's
    if method == b"CONNECT":
        host, target = target, b"/"
    elif absolute := _ABSOLUTE.match(target):
        host, target = absolute.groups()
    if not (match := _HOST.match(host)):
        return b""
    name, port = match.groups()
    if port == b":443":
        port = b""
    return b"https://" + name + (port or b"") + (target if _TARGET.match(target) else b"/")
