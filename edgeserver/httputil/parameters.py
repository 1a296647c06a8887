"""Values with parameters, such as `form-data; name="a"; filename*=UTF-8''b`.

Decides where one parameter ends and the next begins, and how a value is unquoted. It must not
know what any parameter means.

Source: RFC 9110 section 5.6.6, RFC 2231 sections 3 and 4, RFC 8187.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from edgeserver.httputil.urls import percent_decode

__all__ = ["parse_parameters", "render_parameters"]

# An escaped quote or backslash, or one of the two characters that matter outside of them.
_landmarks = re.compile(r'\\["\\]|[";]').finditer

# quoted-pair, of which only these two count: browsers once sent `C:\file` unescaped.
_unescape = re.compile(r'\\(["\\])').sub

# RFC 2231 section 3 and 4.1: name "*" [ number [ "*" ] ]
_extended_name = re.compile(r"(.+?)\*(?:([0-9]{1,4})(\*)?)?").fullmatch

# RFC 8187 section 3.2.1 wants UTF-8; others that occur are subsets of it or trivial. Python's
# other codecs are not for strangers to choose from: some take quadratic time.
_CHARSETS = frozenset({"utf-8", "iso-8859-1", "us-ascii"})


def parse_parameters(line: str) -> tuple[str, dict[str, str]]:
    """Parse a value with parameters.

    Args:
        line: Such as `'form-data; name="a;b"'`.

    Returns:
        The value before the first semicolon, and the parameters that have a `=`: names in lower
        case, values unquoted. Of a repeated name the last counts, and `name*` beats `name`.
    """
    segments = _split(line)
    value = next(segments).strip()
    plain: dict[str, str] = {}
    extended: list[tuple[str, str]] = []
    for segment in segments:
        name, equals, text = segment.partition("=")
        name = name.strip().lower()
        if not equals:
            continue
        if "*" in name:
            extended.append((name, text.strip()))
        else:
            plain[name] = _unquote(text.strip())
    if extended:
        plain.update(_decode_extended(extended))
    return value, plain


def render_parameters(value: str, parameters: Mapping[str, object]) -> str:
    """Render a value with parameters, sorted by name; one that is None has no `=`.

    Nothing is quoted: the caller knows that every value is a token.
    """
    rendered = [
        name if text is None else f"{name}={text}" for name, text in sorted(parameters.items())
    ]
    return "; ".join([value, *rendered])


def _split(line: str) -> Iterator[str]:
    """Yield what stands between the semicolons that are not in quotes."""
    start = 0
    quoted = False
    for landmark in _landmarks(line):
        what = landmark[0]
        if what == '"':
            quoted = not quoted
        elif what == ";" and not quoted:
            yield line[start : landmark.start()]
            start = landmark.end()
    yield line[start:]


def _unquote(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _unescape(r"\1", text[1:-1])
    return text


def _decode_extended(extended: list[tuple[str, str]]) -> dict[str, str]:
    """Decode `name*=charset'language'%XX` and the continuations `name*0=`, `name*1*=`."""
    result: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for name, text in extended:
        match = _extended_name(name)
        if match is None:
            result[name] = _unquote(text)
        elif match[2] is None:
            charset, value = _split_charset(text)
            result[match[1]] = (
                percent_decode(_encode(value, charset)).decode(charset, "replace")
                if charset
                else _unquote(text)
            )
        else:
            pieces.setdefault(match[1], {})[int(match[2])] = (text, bool(match[3]))
    for name, numbered in pieces.items():
        if name not in result:
            result[name] = _join(numbered)
    return result


def _join(numbered: dict[int, tuple[str, bool]]) -> str:
    # RFC 2231 section 4.1: the numbers start at 0; the first piece, if it is encoded, says the
    # charset of all that are.
    first, encoded = numbered.get(0, ("", False))
    charset = ""
    if encoded:
        charset, first = _split_charset(first)
        numbered[0] = (first, encoded)
    charset = charset or "utf-8"
    data = []
    number = 0
    while number in numbered:
        text, encoded = numbered[number]
        data.append(
            percent_decode(_encode(text, charset)) if encoded else _encode(_unquote(text), charset)
        )
        number += 1
    return b"".join(data).decode(charset, "replace")


def _split_charset(text: str) -> tuple[str, str]:
    """Split `charset'language'value`; the charset is empty if there is none that we know."""
    charset, _, rest = text.partition("'")
    _, quote, value = rest.partition("'")
    charset = charset.lower()
    return (charset, value) if quote and charset in _CHARSETS else ("", text)


def _encode(text: str, charset: str) -> bytes:
    return text.encode(charset, "replace")
