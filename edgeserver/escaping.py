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
        value: What a stranger wrote; a `str` is taken as latin-1 where it can be, else UTF-8.
        limit: How many input bytes are shown; past that ` ...(+N bytes)` follows.
    """
    if isinstance(value, str):
        try:
            data = value.encode("latin-1")
        except UnicodeEncodeError:
            data = value.encode("utf-8", "backslashreplace")
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
