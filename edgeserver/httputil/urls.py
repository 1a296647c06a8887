"""Query strings: percent-decoding, arguments in, arguments out.

Decides how `a=1&b=2` becomes names and values. It must not know whether it stood in a target or
in a body.

Source: the WHATWG's application/x-www-form-urlencoded; the names are Tornado's.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import AnyStr
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

__all__ = ["parse_qs_bytes", "percent_decode", "qs_to_qsl", "url_concat"]

_SWAP_PERCENT_AND_EQUALS = bytes.maketrans(b"%=", b"=%")


def percent_decode(data: bytes) -> bytes:
    """Decode `%XX`; a percent sign without two hexadecimal digits behind it stays as it is.

    It means what `urllib.parse.unquote_to_bytes` means, in a constant number of passes in C and
    without an object for each escape: bodies of many megabytes come here.

    Source: RFC 3986 section 2.1.
    """
    if b"%" not in data:
        return data
    # `binascii.a2b_qp` decodes `=XX`. With the two signs exchanged an escape starts with `=`, and
    # a literal `=` is `%`; at the end they are exchanged back.
    data = data.translate(_SWAP_PERCENT_AND_EQUALS)
    # An escape for one of the two has to come out as the other: `=3D` as a bare `%`, which can
    # join no escape, and then `=25` as `=`.
    data = data.replace(b"=3D", b"%").replace(b"=3d", b"%").replace(b"=25", b"=3D")
    # What a2b_qp treats specially and is no escape here: `==`, of which it swallows one (twice,
    # since the pairs of `===` overlap), and `=` before a line end or at the end, a soft break.
    for _ in range(2):
        data = data.replace(b"==", b"=3D=")
    data = data.replace(b"=\n", b"=3D\n").replace(b"=\r", b"=3D\r")
    if data.endswith(b"="):
        data += b"3D"
    return binascii.a2b_qp(data).translate(_SWAP_PERCENT_AND_EQUALS)


def parse_qs_bytes(
    qs: str | bytes, *, keep_blank_values: bool = False, max_num_fields: int | None = None
) -> dict[str, list[bytes]]:
    """Parse a query string to names and lists of values.

    Args:
        qs: The query, without `?`; a `str` is taken as latin-1.
        keep_blank_values: Whether a name with an empty value, or none, counts.
        max_num_fields: How many fields there may be.

    Returns:
        Names as `str`, decoded as latin-1, and values as `bytes`, in order.

    Raises:
        ValueError: There are more fields, or `qs` holds characters that are not latin-1.
    """
    if isinstance(qs, str):
        qs = qs.encode("latin-1")
    result: dict[str, list[bytes]] = {}
    if not qs:
        return result
    if max_num_fields is not None and qs.count(b"&") >= max_num_fields:
        raise ValueError("Max number of fields exceeded")
    for field in qs.replace(b"+", b" ").split(b"&"):
        name, _, value = field.partition(b"=")
        if value or (field and keep_blank_values):
            result.setdefault(percent_decode(name).decode("latin-1"), []).append(
                percent_decode(value)
            )
    return result


def qs_to_qsl(qs: Mapping[str, Iterable[AnyStr]]) -> Iterator[tuple[str, AnyStr]]:
    """Yield the pairs of what `parse_qs` or `parse_qs_bytes` gave."""
    for name, values in qs.items():
        for value in values:
            yield name, value


def url_concat(url: str, args: Mapping[str, str] | Sequence[tuple[str, str]] | None) -> str:
    """Return `url` with further arguments in its query.

    Args:
        url: With or without a query and a fragment.
        args: A mapping, or pairs, which may repeat a name; None adds nothing.

    Raises:
        TypeError: `args` is neither.
    """
    if args is None:
        return url
    if isinstance(args, Mapping):
        added = list(args.items())
    elif isinstance(args, list | tuple):
        added = list(args)
    else:
        raise TypeError(f"'args' parameter should be dict, list or tuple. Not {type(args)}")
    parts = urlsplit(url)
    query = urlencode(parse_qsl(parts.query, keep_blank_values=True) + added)
    return urlunsplit(parts._replace(query=query))
