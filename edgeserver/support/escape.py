"""How text that strangers wrote is shown: in a log line, on a page or on a terminal.

Decides one thing: which characters may pass. It knows nothing of who asks.
"""

__all__ = ["escape"]

DEFAULT_LIMIT = 200

_SAFE = frozenset(range(0x20, 0x7F)) - {0x5C}


def escape(value: bytes | str, limit: int = DEFAULT_LIMIT) -> str:
    r"""Return `value` with everything but printable ASCII written as `\xNN`, cut to `limit`.

    A backslash is doubled, so the result is unambiguous; nothing in it can end a log line, start
    a terminal sequence or change the direction of text.

    Args:
        value: What a stranger wrote; a `str` is taken as latin-1 where it can be, else UTF-8. In
            that, a byte that Python could not decode (`surrogateescape`) is shown as that byte.
        limit: How many input bytes are shown; past that ` ...(+N bytes)` follows.
    """
    if isinstance(value, str):
        if len(value) <= limit and value.isascii() and value.isprintable() and "\\" not in value:
            return value  # as nearly everything is
        try:
            data = value.encode("latin-1")
        except UnicodeEncodeError:
            data = _encode_utf8(value)
    else:
        data = value
    shown = data[:limit]
    text = "".join(
        chr(byte) if byte in _SAFE else "\\\\" if byte == 0x5C else f"\\x{byte:02x}"
        for byte in shown
    )
    if len(data) > limit:
        text += f" ...(+{len(data) - limit} bytes)"
    return text


def _encode_utf8(value: str) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte, as JSON may write it
        return value.encode("utf-8", "backslashreplace")
