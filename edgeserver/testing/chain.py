"""A request as it travels: what its client wrote, and what each proxy on the way makes of it.

Decides what each kind of proxy does with the head that it was sent. It must not know a policy:
whom to believe is what tests of it are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from edgeserver.proxyheaders.addresses import parse_peer
from edgeserver.support.escape import escape

__all__ = ["Chain", "Headers", "read_headers"]

Headers = Mapping[str, str] | Iterable[str | tuple[str, str] | tuple[bytes, bytes]]
"""Header fields: a mapping, or lines `Name: value` or pairs, in order."""

_FOR_LISTS = ("x-forwarded-for", "forwarded")
"""Fields to which each proxy appends an entry."""


class Chain:
    """A request that goes through proxies to the server; each step returns a new one.

    A forged request through one proxy that appends, as nginx's `$proxy_add_x_forwarded_for`::

        Chain("203.0.113.9", headers=["X-Forwarded-For: 6.6.6.6"]).through("10.0.0.5")

    Args:
        client: The address of whoever asks; `"unix:"` for a program on the same machine.
        headers: The forwarding headers that it wrote itself: a forgery.

    Raises:
        ValueError: `client` is not an address, or a header is not one.
    """

    def __init__(self, client: str, *, headers: Headers = ()) -> None:
        self._peer = _check_address(client)
        self._headers = tuple(read_headers(headers))

    @property
    def peer(self) -> str:
        """The address that the server sees: that of the last proxy, or of the client."""
        return self._peer

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The header fields that the server gets, names as they were written, in order."""
        return list(self._headers)

    def through(
        self,
        proxy: str,
        *,
        field: str = "X-Forwarded-For",
        does: Literal["append", "replace", "pass", "remove"] = "append",
        proto: str | None = None,
        sets: Headers = (),
        removes: Sequence[str] = (),
    ) -> Chain:
        """Return the request as this proxy sends it on.

        Args:
            proxy: The proxy's own address, as the next one sees it.
            field: The field in which it names whoever it was asked by: `X-Forwarded-For`,
                `Forwarded`, or one that holds one address, such as `X-Real-IP`.
            does: `"append"` puts that behind what came; `"replace"` puts it in place of what came;
                `"pass"` sends on what came (a TCP proxy, or one that was forgotten); `"remove"`
                sends on nothing in that field.
            proto: The scheme that it writes to `X-Forwarded-Proto`, in place of what came; with
                `Forwarded` it is the element's `proto`.
            sets: Further fields that it writes, in place of what came.
            removes: Names of further fields that it does not send on.

        Raises:
            ValueError: `proxy` is not an address, or `does` is none of the four.
        """
        if does not in ("append", "replace", "pass", "remove"):
            raise ValueError(
                f"does={does!r}: a proxy does 'append', 'replace', 'pass' or 'remove'; give one"
            )
        written = read_headers(sets)
        kept = list(self._headers)
        is_forwarded = field.lower() == "forwarded"
        if proto is not None and not is_forwarded:
            written.append((b"X-Forwarded-Proto", proto.encode("ascii")))
        dropped = {name.lower() for name, _ in written}
        dropped |= {name.lower().encode("ascii") for name in removes}
        entry = _element(self._peer, proto) if is_forwarded else self._peer
        kept = [each for each in kept if each[0].lower() not in dropped]
        step = Chain(proxy)
        step._headers = (*_named(kept, field, entry, does), *written)
        return step

    def __repr__(self) -> str:
        lines = [f"{escape(name)}: {escape(value)}" for name, value in self._headers]
        return f"<Chain peer={self._peer} {lines}>"


def _named(
    head: list[tuple[bytes, bytes]], field: str, entry: str, does: str
) -> list[tuple[bytes, bytes]]:
    """Return a head with what a proxy says in `field` of whoever it was asked by."""
    if does == "pass":
        return head
    name = field.encode("ascii")
    before = [value for other, value in head if other.lower() == name.lower()]
    rest = [each for each in head if each[0].lower() != name.lower()]
    if does == "remove":
        return rest
    if does == "replace" or field.lower() not in _FOR_LISTS:
        before = []
    return [*rest, (name, b", ".join([*before, entry.encode("ascii")]))]


def _element(address: str, proto: str | None) -> str:
    """Return the element of `Forwarded` for an address.

    Source: RFC 7239 section 6 (what is quoted).
    """
    node = f'"[{address}]"' if ":" in address else address
    return f"for={node}" if proto is None else f"for={node};proto={proto}"


def _check_address(text: str) -> str:
    """Return the text of an address, as it was given.

    Raises:
        ValueError: It is none.
    """
    try:
        parse_peer(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address; give one, or 'unix:'") from None
    return text


def read_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return header fields as pairs of bytes.

    Raises:
        ValueError: A line has no colon, or a name is empty.
    """
    given = headers.items() if isinstance(headers, Mapping) else headers
    if isinstance(given, str):
        given = given.splitlines()
    return [_read_field(each) for each in given]


def _read_field(field: str | tuple[str, str] | tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Return one header field as a pair of bytes.

    Raises:
        ValueError: It is none.
    """
    if isinstance(field, str):
        written, colon, said = field.partition(":")
        if not colon or not written or written.strip() != written:
            raise ValueError(f"{field!r} is not a header field; write 'Name: value'")
        return written.encode("utf-8"), said.strip(" \t").encode("utf-8")
    name, value = field
    return (
        name.encode("utf-8") if isinstance(name, str) else name,
        value.encode("utf-8") if isinstance(value, str) else value,
    )
