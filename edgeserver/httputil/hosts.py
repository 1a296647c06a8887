"""Hosts and absolute targets: which host a request is for.

Decides what a `Host` field and the authority of a target may be made of, and how a port is split
off. It must not know which hosts this server answers for.

Source: RFC 9110 section 7.2, RFC 9112 section 3.2; `split_host_and_port` is Tornado's.
"""

from __future__ import annotations

import re

from edgeserver.errors import HTTPInputError
from edgeserver.support.escape import escape

__all__ = ["HOST_GRAMMAR", "check_host", "split_absolute_target", "split_host_and_port"]

# RFC 9110 section 7.2: Host = uri-host [ ":" port ], with uri-host of RFC 3986 section 3.2.2:
#   host        = IP-literal / IPv4address / reg-name
#   IP-literal  = "[" ( IPv6address / IPvFuture ) "]"
#   reg-name    = *( unreserved / pct-encoded / sub-delims )
# A comma, a sub-delim, is left out: in a field it reads as two hosts.
_REG_NAME = r"[A-Za-z0-9\-._~!$&'()*+;=]*(?:%[0-9A-Fa-f]{2}[A-Za-z0-9\-._~!$&'()*+;=]*)*"
_IP_LITERAL = r"\[(?:[0-9A-Fa-f:.]{2,45}|v[0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+;=:]+)\]"
HOST_GRAMMAR = rf"(?:{_IP_LITERAL}|{_REG_NAME})(?::[0-9]{{0,5}})?"
"""The pattern of a `Host` field's whole value, in ASCII."""

_is_host = re.compile(HOST_GRAMMAR).fullmatch

# RFC 9112 section 3.2.2: absolute-form = absolute-URI, here of the two schemes that HTTP has.
_absolute = re.compile(r"https?://([^/?#]*)([^?]*)\??(.*)", re.IGNORECASE | re.DOTALL).fullmatch

# No port needs more digits, and converting thousands of them is an error.
_MAX_PORT_DIGITS = 18


def check_host(host: str) -> None:
    """Accept `host` as the value of a `Host` field; it may be empty.

    Raises:
        HTTPInputError: It names several hosts, or is not `uri-host [ ":" port ]`.

    Source: RFC 9110 section 7.2, RFC 9112 section 3.2.
    """
    if _is_host(host):
        return
    if "," in host:
        # RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to
        # [...] any request message that contains more than one Host header field line"; RFC 9110
        # section 5.3 lets a proxy join such lines with a comma.
        raise HTTPInputError(
            f"Multiple host headers not allowed: '{escape(host)}'", rfc="RFC 9112 section 3.2"
        )
    raise HTTPInputError(f"Invalid Host header: '{escape(host)}'", rfc="RFC 9112 section 3.2")


def split_absolute_target(target: str) -> tuple[str, str, str] | None:
    """Split an absolute-form target, or return None for one of another form.

    Args:
        target: A request-target, such as `"http://a.example:80/b?c"`.

    Returns:
        The authority, the path (`"/"` where it is empty) and the query.

    Raises:
        HTTPInputError: The authority is no host, has no host, or holds userinfo.

    Source: RFC 9112 section 3.2.2, RFC 9110 section 4.2.
    """
    match = _absolute(target)
    if match is None:
        return None
    authority, path, query = match.groups()
    if not _is_host(authority) or authority[:1] in ("", ":"):
        # RFC 9110 section 4.2.1: "A recipient that processes such a URI reference [with an empty
        # host] MUST reject it as invalid"; section 4.2.4: userinfo is to be treated as an error.
        raise HTTPInputError(
            f"Malformed HTTP request line: '{escape(authority)}' in the target is no host",
            rfc="RFC 9112 section 3.2.2",
        )
    return authority, path or "/", query


def split_host_and_port(netloc: str) -> tuple[str, int | None]:
    """Split `host:port`; the port is None where there is none.

    Args:
        netloc: Such as `"a.example:8000"` or `"[::1]:8000"`.
    """
    host, colon, digits = netloc.rpartition(":")
    if not (colon and host and digits.isascii() and digits.isdigit()):
        return netloc, None
    return host, int(digits) if len(digits) <= _MAX_PORT_DIGITS else None
