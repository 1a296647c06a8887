"""Header fields: a case-insensitive multi-map with two faces, bytes and `str`.

Decides how field names are compared and shown, and what a field may hold when an application
adds it. It must not know what any single field means.

The faces:

- `HTTPHeaders.raw`, the list of `(lower-case name bytes, value bytes)` as the parser made it;
- the `str` mapping, names in `Http-Header-Case` and values as latin-1, decoded in one pass when
  somebody first asks. An ASGI application never asks, and a Tornado application never sees bytes.

Source: RFC 9110 section 5; the names and the behaviour are those of `tornado.httputil`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Self, TypeVar, overload

from edgeserver.errors import HTTPInputError
from edgeserver.httputil.fieldnames import raw_of, title_of, title_of_raw
from edgeserver.support.escape import escape

__all__ = ["HTTPHeaders", "RawHeaders"]

RawHeaders = list[tuple[bytes, bytes]]
"""Pairs of (lower-case name, value), in the order received."""

_T = TypeVar("_T")

# field-name  = token                                           RFC 9110 section 5.1
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch

# field-value = *field-content, of VCHAR / obs-text, with SP / HTAB inside only
#                                                               RFC 9110 section 5.5
_NOT_IN_FIELD_VALUE = re.compile(r"[^\t\x20-\x7E\x80-\xFF]").search
_CONTROL = re.compile(r"[\x00-\x08\x0A-\x1F\x7F]").search

# OWS = *( SP / HTAB ): no other white space is ever stripped.  RFC 9110 section 5.6.3
_OWS = " \t"


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


class HTTPHeaders(MutableMapping[str, str]):
    """A mapping of header fields that ignores the case of names and keeps repeated lines apart.

    `h[name]` joins the values of repeated lines with `,`; `get_list` and `get_all` keep them
    apart, which `Set-Cookie` needs. A value given as a list means one line for each item. Setting
    an item checks nothing, as in Tornado (what is written is checked on the way out); `add` and
    `parse` check names and values. `repr` shows no field, since fields hold secrets.

    Args:
        headers: Another mapping, or pairs of name and value.
        **fields: Further fields, by name.
    """

    # _raw: the list of a parser, shared and never changed, until the first change of the mapping;
    #     where the parser made a dict, its items until somebody asks for the list.
    # _by_name: the same as a dict, if no name repeats; None until somebody looks a name up.
    # _fields: Http-Header-Case name -> value, or a list of values for a repeated line; None until
    #     all is decoded. _many: whether some value in _fields may be a list; unset until then.
    __slots__ = ("__weakref__", "_by_name", "_fields", "_many", "_raw")

    _raw: Collection[tuple[bytes, bytes]] | None
    _by_name: Mapping[bytes, bytes] | None
    _fields: dict[str, Any] | None
    _many: bool

    def __init__(self, headers: Any = (), /, **fields: str) -> None:
        self._raw = None
        self._many = False
        self._fields = own = {}
        if type(headers) is dict:
            for name, value in headers.items():
                if type(value) is list:
                    self._set_lines(name, value)
                else:
                    own[title_of[name]] = value
            if fields:
                self.update(fields)
        elif isinstance(headers, HTTPHeaders) and not fields:
            self._copy_from(headers)
        else:
            self.update(headers, **fields)

    @classmethod
    def from_raw(cls, raw: RawHeaders) -> Self:
        """Wrap fields that a parser has already validated; nothing is decoded or copied.

        Args:
            raw: Pairs of (lower-case name, value). The list is kept and never changed here; the
                caller must not change it either.
        """
        self = cls.__new__(cls)
        self._raw = raw
        self._by_name = None
        self._fields = None
        return self

    @classmethod
    def from_fields(cls, by_name: dict[bytes, bytes]) -> Self:
        """Wrap fields of which no name repeats, as `from_raw`.

        Args:
            by_name: From lower-case names to values, in order; kept and never changed.
        """
        self = cls.__new__(cls)
        self._raw = by_name.items()
        self._by_name = by_name
        self._fields = None
        return self

    @property
    def raw(self) -> RawHeaders:
        """The fields as `(lower-case name bytes, value bytes)`; not to be changed.

        It is the parser's own list while nobody has changed the mapping, and else is computed
        from the mapping.

        Raises:
            UnicodeEncodeError: A name or value that an application set is not latin-1.
        """
        raw = self._raw
        if raw is not None:
            if type(raw) is not list:
                raw = self._raw = list(raw)
            return raw
        return [
            (
                name.lower().encode("latin-1"),
                value if isinstance(value, bytes) else value.encode("latin-1"),
            )
            for name, value in self.get_all()
        ]

    def _decode(self) -> dict[str, Any]:
        raw = self._raw or ()
        fields: dict[str, Any] = {title_of_raw[name]: str(value, "latin-1") for name, value in raw}
        self._many = len(fields) != len(raw)
        if self._many:
            fields = {}
            for name, value in raw:
                _append(fields, title_of_raw[name], str(value, "latin-1"))
        self._fields = fields
        return fields

    def _lookup(self, name: str) -> Any:
        """Return the value of `name`, a list of values if its line repeats, or None."""
        fields = self._fields
        if fields is None:
            # Decoding ten fields costs as much as a dozen lookups among the raw ones, and most
            # applications look for two or three.
            by_name = self._by_name
            if by_name is None:
                raw = self._raw or ()
                by_name = dict(raw)
                if len(by_name) != len(raw):
                    return self._decode().get(title_of[name])
                self._by_name = by_name
            found = by_name.get(raw_of[name])
            return None if found is None else str(found, "latin-1")
        # Most lookups are written in Http-Header-Case, and no key is in any other case.
        value = fields.get(name)
        return fields.get(title_of[name]) if value is None else value

    def _to_change(self) -> dict[str, Any]:
        fields = self._fields
        if fields is None:
            fields = self._decode()
        self._raw = None
        return fields

    def _copy_from(self, other: HTTPHeaders) -> None:
        self._raw = other._raw
        fields = other._fields
        if fields is None:
            self._by_name = other._by_name
            self._fields = None
            return
        self._many = other._many
        self._fields = (
            {name: list(v) if type(v) is list else v for name, v in fields.items()}
            if other._many
            else fields.copy()
        )

    def _set_lines(self, name: str, values: list[str]) -> None:
        fields = self._to_change()
        if values:
            self._many = True
            fields[title_of[name]] = values.copy()
        else:
            fields.pop(title_of[name], None)

    # What Tornado's class has beside the mapping

    def add(self, name: str, value: str | bytes, *, unicode: bool = False) -> None:
        """Add a line, beside those that already have this name.

        Args:
            name: The field's name, in any case.
            value: Its value; `bytes` are kept as they are.
            unicode: Whether characters past latin-1 may stand in the value, as in the header of
                a `multipart/form-data` part. They cannot be sent in an HTTP header.

        Raises:
            HTTPInputError: The name is no token, or the value holds a control character or, for
                HTTP, white space at an end or a character past latin-1.

        Source: RFC 9110 sections 5.1 and 5.5.
        """
        if not _FIELD_NAME(name):
            raise HTTPInputError(
                f"Invalid header name '{escape(name)}'", rfc="RFC 9110 section 5.1"
            )
        text = _text(value)
        if unicode:
            bad = _CONTROL(text) is not None
        else:
            bad = _NOT_IN_FIELD_VALUE(text) is not None or text.strip(_OWS) != text
        if bad:
            raise HTTPInputError(
                f"Invalid header value '{escape(value)}'", rfc="RFC 9110 section 5.5"
            )
        if _append(self._to_change(), title_of[name], value):
            self._many = True

    def get_list(self, name: str) -> list[str]:
        """Return a new list of the values of all lines with this name; empty if there are none."""
        value = self._lookup(name)
        if value is None:
            return []
        return value.copy() if type(value) is list else [value]

    def get_all(self) -> Iterable[tuple[str, Any]]:
        """Return every `(Http-Header-Case name, value)` line, with repeated names repeated.

        Where no name repeats this is the view of the underlying `dict`, without a generator: it
        is what a serialiser iterates. Values are `str`, or `bytes` where `bytes` were set.
        """
        fields = self._fields
        if fields is None:
            fields = self._decode()
        return _each_line(fields) if self._many else fields.items()

    @classmethod
    def parse(cls, headers: str, *, unicode: bool = False) -> Self:
        r"""Parse a block of header lines, each ended by CRLF or LF.

        Args:
            headers: Such as `"Content-Type: text/html\r\nContent-Length: 42\r\n"`.
            unicode: As for `add`.

        Raises:
            HTTPInputError: A line is folded, has no colon, or has an invalid name or value.
        """
        result = cls()
        *lines, last = headers.split("\n")
        for line in lines:
            result._add_line(line.removesuffix("\r"), unicode=unicode)
        result._add_line(last, unicode=unicode)
        return result

    def parse_line(self, line: str, *, unicode: bool = False) -> None:
        """Add one header line, with or without its line end; an empty line adds nothing.

        Args:
            line: Such as `"Content-Type: text/html"`.
            unicode: As for `add`.

        Raises:
            HTTPInputError: The line is folded, has no colon, or has an invalid name or value.
        """
        if line.endswith("\n"):
            line = line[:-1].removesuffix("\r")
        self._add_line(line, unicode=unicode)

    def _add_line(self, line: str, *, unicode: bool) -> None:
        if not line:
            return
        if line[0] in _OWS:
            # RFC 9112 section 5.2: "A server that receives an obs-fold in a request message ...
            # MUST either reject the message".
            raise HTTPInputError(
                "header line cannot start with whitespace, folding not supported",
                rfc="RFC 9112 section 5.2",
            )
        name, colon, value = line.partition(":")
        if not colon:
            raise HTTPInputError("no colon in header line", rfc="RFC 9112 section 5")
        self.add(name, value.strip(_OWS), unicode=unicode)

    def copy(self) -> Self:
        """Return a copy that shares nothing that can change."""
        result = type(self).__new__(type(self))
        result._copy_from(self)
        return result

    __copy__ = copy

    # The mapping

    def __getitem__(self, name: str) -> str:
        value = self._lookup(name)
        if value is None:
            raise KeyError(title_of[name])
        return _join(value) if type(value) is list else value

    @overload
    def get(self, name: str) -> str | None: ...
    @overload
    def get(self, name: str, default: str | _T) -> str | _T: ...
    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of `name`, repeated lines joined with `,`, or `default`."""
        value = self._lookup(name)
        if value is None:
            return default
        return _join(value) if type(value) is list else value

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._lookup(name) is not None

    def __setitem__(self, name: str, value: str | list[str]) -> None:
        if type(value) is list:
            self._set_lines(name, value)
        else:
            self._to_change()[title_of[name]] = value

    def __delitem__(self, name: str) -> None:
        del self._to_change()[title_of[name]]

    def __iter__(self) -> Iterator[str]:
        fields = self._fields
        return iter(self._decode() if fields is None else fields)

    def __len__(self) -> int:
        fields = self._fields
        return len(self._decode() if fields is None else fields)

    def __str__(self) -> str:
        return "".join([f"{name}: {_text(value)}\n" for name, value in self.get_all()])

    def __getstate__(self) -> tuple[RawHeaders | None, dict[str, Any] | None, bool]:
        many = self._fields is not None and self._many
        return (None if self._raw is None else self.raw, self._fields, many)

    def __setstate__(self, state: tuple[RawHeaders | None, dict[str, Any] | None, bool]) -> None:
        self._raw, self._fields, self._many = state
        self._by_name = None


def _append(fields: dict[str, Any], title: str, value: Any) -> bool:
    """Add a line to `fields`, and say whether its name is repeated."""
    old = fields.get(title)
    if old is None:
        fields[title] = value
        return False
    if type(old) is list:
        old.append(value)
    else:
        fields[title] = [old, value]
    return True


def _join(values: list[Any]) -> str:
    return ",".join([_text(value) for value in values])


def _each_line(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if type(value) is list:
            for line in value:
                yield name, line
        else:
            yield name, value
