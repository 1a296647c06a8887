"""The `Cookie` field: names and values, read as browsers write them.

Decides where one cookie ends and the next begins, in linear time whatever a stranger sends. It
must not know what any cookie means.

Source: `tornado.httputil.parse_cookie`; RFC 6265 section 5.4 for what browsers send.
"""

from __future__ import annotations

import re
from http.cookies import CookieError, SimpleCookie

__all__ = ["load_cookies", "parse_cookie"]

# In a quoted value: three octal digits, or any one character.  RFC 2109 section 4, as
# `http.cookies` writes it.
_unescape = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL).sub


def parse_cookie(cookie: str) -> dict[str, str]:
    r"""Parse the value of a `Cookie` field.

    Every semicolon separates, even within quotes; a part without `=` is a value without a name;
    of a repeated name the last counts.

    Args:
        cookie: Such as `'a=b; c="d\073"'`.
    """
    cookies = {}
    for part in cookie.split(";"):
        name, equals, value = part.partition("=")
        if not equals:
            name, value = "", part
        name, value = name.strip(), value.strip()
        if name or value:
            cookies[name] = _unquote(value)
    return cookies


def load_cookies(cookie: str) -> SimpleCookie:
    """Parse the value of a `Cookie` field to morsels, without what `http.cookies` refuses."""
    cookies: SimpleCookie = SimpleCookie()
    for name, value in parse_cookie(cookie).items():
        try:
            cookies[name] = value
        except CookieError:
            # A reserved name, or characters that http.cookies could not write again: Tornado
            # drops such a cookie and keeps the others.
            continue
    return cookies


def _unquote(value: str) -> str:
    if len(value) < 2 or not value[0] == value[-1] == '"':
        return value
    return _unescape(_unescaped, value[1:-1])


def _unescaped(match: re.Match[str]) -> str:
    octal, character = match.groups()
    return chr(int(octal, 8)) if octal else character
