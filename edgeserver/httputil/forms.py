"""Form bodies: urlencoded and multipart, within limits.

Decides how a body becomes arguments and files, all or nothing, in linear time. It must not know
where the body came from.

Source: RFC 7578, RFC 2046 section 5.1; the names are those of `tornado.httputil`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from edgeserver.errors import HTTPInputError
from edgeserver.httputil.headers import HTTPHeaders
from edgeserver.httputil.parameters import parse_parameters
from edgeserver.httputil.urls import parse_qs_bytes
from edgeserver.support.escape import escape

__all__ = [
    "HTTPFile",
    "ParseBodyConfig",
    "ParseMultipartConfig",
    "ParseUrlEncodedConfig",
    "get_parse_body_config",
    "merge_values",
    "parse_body_arguments",
    "parse_multipart_form_data",
    "set_parse_body_config",
]

_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"

Arguments = dict[str, list[bytes]]


class HTTPFile(dict[str, Any]):
    """An uploaded file; each attribute is a key as well, as in Tornado.

    Attributes:
        filename: What the client calls it; never to be trusted as a path.
        body: Its content.
        content_type: What the client says it is, `"application/unknown"` if it says nothing.
    """

    filename: str
    body: bytes
    content_type: str

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name, name=name, obj=self) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


Files = dict[str, list[HTTPFile]]


@dataclass
class ParseMultipartConfig:
    """The limits of `multipart/form-data` bodies.

    Attributes:
        enabled: Whether such bodies are parsed; if not they are refused.
        max_parts: How many parts there may be.
        max_part_header_size: How many bytes the header of a part may have.
    """

    enabled: bool = True
    max_parts: int = 100
    max_part_header_size: int = 10 * 1024


@dataclass
class ParseUrlEncodedConfig:
    """The limits of urlencoded bodies, and of the query of a target.

    Attributes:
        max_arguments: How many arguments there may be.
    """

    max_arguments: int = 1000


@dataclass
class ParseBodyConfig:
    """The limits of all form bodies."""

    multipart: ParseMultipartConfig = field(default_factory=ParseMultipartConfig)
    urlencoded: ParseUrlEncodedConfig = field(default_factory=ParseUrlEncodedConfig)


_default_config = ParseBodyConfig()


def get_parse_body_config() -> ParseBodyConfig:
    """Return the limits that hold for this process where a call does not give its own."""
    return _default_config


def set_parse_body_config(config: ParseBodyConfig) -> None:
    """Replace the limits that hold for this process; for applications that need higher ones."""
    global _default_config
    _default_config = config


def parse_body_arguments(
    content_type: str,
    body: bytes,
    arguments: Arguments,
    files: Files,
    headers: HTTPHeaders | None = None,
    *,
    config: ParseBodyConfig | None = None,
) -> None:
    """Parse a form body; any other body is left alone.

    Args:
        content_type: The value of `Content-Type`.
        body: The whole body.
        arguments: Where arguments are added, by name.
        files: Where files are added, by name.
        headers: The header of the body; a `Content-Encoding` in it means refusal.
        config: Limits other than the process's.

    Raises:
        HTTPInputError: The form is malformed, encoded, or beyond a limit. Then nothing was added.
    """
    config = config or _default_config
    lowered = content_type.lower()
    media_type = lowered.partition(";")[0].strip()
    if media_type != _URLENCODED and not lowered.startswith(_MULTIPART):
        return
    if headers is not None and "Content-Encoding" in headers:
        # Decoding belongs to the HTTP layer, which bounds it; an encoded form was not decoded.
        raise HTTPInputError(
            f"Unsupported Content-Encoding: {escape(headers['Content-Encoding'])}",
            rfc="RFC 9110 section 8.4",
        )
    if media_type == _URLENCODED:
        _parse_urlencoded(body, arguments, config.urlencoded)
    elif media_type == _MULTIPART:
        boundary = parse_parameters(content_type)[1].get("boundary", "")
        if not boundary:
            raise _invalid("multipart boundary not found", rfc="RFC 2046 section 5.1.1")
        parse_multipart_form_data(
            boundary.encode("latin-1", "replace"), body, arguments, files, config=config.multipart
        )
    else:
        raise _invalid("Invalid content type", rfc="RFC 7578 section 4.1")


def _parse_urlencoded(body: bytes, arguments: Arguments, config: ParseUrlEncodedConfig) -> None:
    try:
        parsed = parse_qs_bytes(body, keep_blank_values=True, max_num_fields=config.max_arguments)
    except ValueError as error:
        raise HTTPInputError(f"Invalid x-www-form-urlencoded body: {error}") from error
    merge_values(parsed, into=arguments)


def parse_multipart_form_data(
    boundary: bytes,
    data: bytes,
    arguments: Arguments,
    files: Files,
    *,
    config: ParseMultipartConfig | None = None,
) -> None:
    """Parse a `multipart/form-data` body.

    Args:
        boundary: The boundary, possibly in quotes.
        data: The whole body. What stands before the first and after the last boundary is ignored.
        arguments: Where parts without a file name are added, by name.
        files: Where parts with a file name are added, by name.
        config: Limits other than the process's.

    Raises:
        HTTPInputError: The body is malformed, beyond a limit, or such bodies are disabled. Then
            nothing was added.

    Source: RFC 7578, RFC 2046 section 5.1.1.
    """
    config = config or _default_config.multipart
    if not config.enabled:
        raise _invalid("multipart/form-data parsing is disabled")
    if boundary.startswith(b'"') and boundary.endswith(b'"'):
        boundary = boundary[1:-1]
    if not boundary:
        raise _invalid("multipart boundary not found", rfc="RFC 2046 section 5.1.1")
    own_arguments: Arguments = {}
    own_files: Files = {}
    for count, (start, end) in enumerate(_each_part(b"--" + boundary, data), 1):
        if count > config.max_parts:
            raise _invalid(f"too many parts, more than {config.max_parts}")
        _parse_part(data, start, end, own_arguments, own_files, config.max_part_header_size)
    merge_values(own_arguments, into=arguments)
    merge_values(own_files, into=files)


def _each_part(dashed: bytes, data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each part starts and ends.

    Raises:
        HTTPInputError: There is no final boundary.
    """
    # RFC 2046 section 5.1.1: delimiter := CRLF "--" boundary; the first needs no CRLF. A line
    # that only starts like a delimiter is content.
    delimiter = b"\r\n" + dashed
    start: int | None = None
    at = 0 if data.startswith(dashed) else data.find(delimiter)
    while at != -1:
        behind = at + len(dashed if at == 0 and start is None else delimiter)
        what = data[behind : behind + 2]
        if what in (b"--", b"\r\n"):
            if start is not None:
                yield start, at
            if what == b"--":
                return
            start = behind + 2
            # An empty body may share its CRLF with the header that ends right before it.
            at = data.find(delimiter, start)
        else:
            at = data.find(delimiter, behind)
    raise _invalid("no final boundary found", rfc="RFC 2046 section 5.1.1")


def _parse_part(
    data: bytes, start: int, end: int, arguments: Arguments, files: Files, max_header: int
) -> None:
    # The empty line may lend its CRLF to the delimiter: a part without content ends in its header.
    header_end = data.find(b"\r\n\r\n", start, min(end + 2, start + max_header + 4))
    if header_end == -1:
        if end - start > max_header:
            raise _invalid(f"part header too large, more than {max_header} bytes")
        raise _invalid("missing headers", rfc="RFC 7578 section 4.2")
    try:
        headers = HTTPHeaders.parse(data[start:header_end].decode("utf-8"), unicode=True)
    except UnicodeDecodeError:
        raise _invalid("a part header is not UTF-8", rfc="RFC 7578 section 5.1") from None
    disposition, parameters = parse_parameters(headers.get("Content-Disposition", ""))
    if disposition.lower() != "form-data":
        raise _invalid("a part is not form-data", rfc="RFC 7578 section 4.2")
    name = parameters.get("name")
    if not name:
        raise _invalid("missing name", rfc="RFC 7578 section 4.2")
    value = data[header_end + 4 : end]
    filename = parameters.get("filename")
    if filename:
        content_type = headers.get("Content-Type", "application/unknown")
        files.setdefault(name, []).append(
            HTTPFile(filename=filename, body=value, content_type=content_type)
        )
    else:
        arguments.setdefault(name, []).append(value)


def merge_values(found: dict[str, list[Any]], *, into: dict[str, list[Any]]) -> None:
    """Add the values of each name behind those that are there."""
    for name, values in found.items():
        into.setdefault(name, []).extend(values)


def _invalid(why: str, *, rfc: str = "") -> HTTPInputError:
    return HTTPInputError(f"Invalid multipart/form-data: {why}", rfc=rfc)
