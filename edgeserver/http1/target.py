"""Request targets that do not start with a slash: where each form is allowed.

Decides whether an absolute-form, authority-form or asterisk-form target may stand beside its
method. It must not know of fields or connections.
"""

from __future__ import annotations

import re

from edgeserver.errors import HTTPInputError
from edgeserver.http.grammar import HOST
from edgeserver.support.escape import escape

__all__ = ["check_target"]

# RFC 9112 section 3.2.2: absolute-form = absolute-URI, here of the two schemes that HTTP has.
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]+)(?:[/?][^#]*)?")

# RFC 9112 section 3.2.3: authority-form = uri-host ":" port
_PORT = re.compile(rb":[0-9]{1,5}\Z")


def check_target(method: str, target: bytes) -> None:
    """Accept `target` beside `method`, or refuse the request.

    Args:
        method: The method as sent.
        target: The target; visible ASCII, not starting with a slash.

    Raises:
        HTTPInputError: The form is none of RFC 9112 section 3.2, or not allowed for the method.
    """
    if method == "CONNECT":
        # "used only for CONNECT requests": section 3.2.3.
        if HOST.fullmatch(target) and _PORT.search(target) and not target.startswith(b":"):
            return
    elif target == b"*":
        # "only used for a server-wide OPTIONS request": section 3.2.4.
        if method == "OPTIONS":
            return
    else:
        match = _ABSOLUTE.fullmatch(target)
        # Section 3.2.2; "userinfo" in an authority is to be treated as an error (RFC 9110
        # section 4.2.4), which HOST does by not knowing "@".
        if match and HOST.fullmatch(match[1]) and not match[1].startswith(b":"):
            return
    raise HTTPInputError(
        f"Malformed HTTP request line: target '{escape(target)}' is not allowed for"
        f" {escape(method)}",
        rfc="RFC 9112 section 3.2",
    )
