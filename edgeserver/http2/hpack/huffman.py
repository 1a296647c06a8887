"""The Huffman code of HPACK: strings to bits, and back.

Decides which bit strings are valid. It must not know what the strings are for.

There are two ways to decode. Of a short string a byte is taken at a time: for each inner node of
the code's tree there is a row that says, for each of the 256 bytes that may come next, which
symbols that completes and at which node it ends. A row is made when its node is first met; all of
them together take about 5 MB, which no cache of a processor keeps.

So any other string is given to zlib. HPACK's code is canonical, as those of DEFLATE are, and what
of it is longer than 15 bits, the most that DEFLATE has, begins with 15 ones: they are the block's
end there. A block that begins with these lengths and goes on with the string, the bits of each byte
the other way round, is decoded up to the last whole symbol. How many bits the symbols take says
what is left, which has to be padding. Where it is anything else, or the block has an end, the rows
decide: what is refused is refused by them alone.

Source: RFC 7541 section 5.2 and appendix B; RFC 1951 section 3.2 for the block.
"""

from __future__ import annotations

import zlib
from typing import Final

from edgeserver.http2.hpack.tables import CODES

__all__ = ["HuffmanError", "huffman_decode", "huffman_encode"]

EOS: Final = 256
"""The symbol that may not stand in a string."""

SHORT: Final = 10
"""Up to so many bytes the rows are quicker: zlib takes as long for one byte as they for ten."""

MOST_BITS: Final = 15
"""What a code of DEFLATE has at most."""

Row = list[tuple[int, bytes]]


class HuffmanError(ValueError):
    """A string of bits is not one that an encoder may make."""


def _grow_tree() -> list[list[int]]:
    """Return the children of each inner node: another one, or `-1 - symbol`; 0 for neither."""
    tree: list[list[int]] = [[0, 0]]
    for symbol, (code, bits) in enumerate(CODES):
        node = 0
        for bit in range(bits - 1, 0, -1):
            side = code >> bit & 1
            if not tree[node][side]:
                tree.append([0, 0])
                tree[node][side] = len(tree) - 1
            node = tree[node][side]
        tree[node][code & 1] = -1 - symbol
    return tree


_tree: Final = _grow_tree()

NOWHERE: Final = len(_tree)
"""Stands for the node behind EOS: nothing leads away from it, and nothing may end there."""

_rows: Final[list[Row]] = [*[[] for _ in _tree], [(NOWHERE, b"")] * 256]
"""By node; empty until it is met."""


def _find_ends() -> frozenset[int]:
    """Return the nodes at which a string may end.

    Source: section 5.2: "the most significant bits of the code corresponding to the EOS (end-of-
    string) symbol" pad it; "a padding strictly longer than 7 bits MUST be treated as a decoding
    error".
    """
    node, ends = 0, [0]
    for _ in range(7):
        node = _tree[node][1]
        ends.append(node)
    return frozenset(ends)


_ends: Final = _find_ends()


def _make_row(start: int) -> None:
    row = _rows[start]
    for byte in range(256):
        node = start
        symbols = bytearray()
        for bit in range(7, -1, -1):
            node = _tree[node][byte >> bit & 1]
            if node == -1 - EOS:
                break
            if node < 0:
                symbols.append(-1 - node)
                node = 0
        row.append((NOWHERE if node < 0 else node, bytes(symbols)))


def _begin_block() -> bytes:
    """Return the beginning of a DEFLATE block whose literals have HPACK's codes.

    Source: RFC 1951 section 3.2.7.
    """
    bits: list[int] = []

    def put(value: int, count: int) -> None:
        bits.extend(value >> place & 1 for place in range(count))

    for _ in range(3):  # empty blocks of 10 bits, so that the string begins with a byte
        put(0, 1)
        put(1, 2)
        put(0, 7)
    put(1, 1)  # the last block
    put(2, 2)  # with codes of its own:
    put(0, 5)  # 257 for literals and the block's end,
    put(0, 5)  # one for distances, which is never used,
    put(15, 4)  # and 19 for the lengths of these. In the order that DEFLATE has for them:
    for length in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15):
        put(4 if length <= MOST_BITS else 0, 3)  # so each length is itself, in four bits
    for length in (*_bits_of_symbols, MOST_BITS, 1):
        bits.extend(length >> place & 1 for place in (3, 2, 1, 0))  # codes: the first bit first
    return bytes(
        sum(bit << place for place, bit in enumerate(bits[start : start + 8]))
        for start in range(0, len(bits), 8)
    )


_bits_of_symbols: Final = bytes(bits if bits <= MOST_BITS else 0 for _, bits in CODES[:EOS])
"""For `bytes.translate`: how many bits a symbol has; 0 for one that zlib cannot decode."""

_reversed_bits: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""For `bytes.translate`: HPACK fills a byte from its highest bit on, DEFLATE from its lowest."""

_begun: Final = zlib.decompressobj(-9)
"""Copied for each string: it has read the beginning of a block."""

_begun.decompress(_begin_block())


def huffman_decode(data: bytes) -> bytes:
    """Return the string that `data` encodes.

    Raises:
        HuffmanError: It holds EOS, or its padding is wrong.
    """
    size = len(data)
    if size > SHORT:
        block = _begun.copy()
        text = block.decompress(data.translate(_reversed_bits), 2 * size)
        left = 8 * size - sum(text.translate(_bits_of_symbols))
        if 0 <= left < 8 and not block.eof:
            padding = (1 << left) - 1
            if data[-1] & padding == padding:
                return text
    return _decode_by_rows(data)


def _decode_by_rows(data: bytes) -> bytes:
    rows = _rows
    parts: list[bytes] = []
    node = 0
    try:
        for byte in data:
            node, symbols = rows[node][byte]
            parts.append(symbols)
    except IndexError:  # of a row that nothing has needed before
        _make_rows(data)
        return _decode_by_rows(data)
    if node in _ends:
        return b"".join(parts)
    if node == NOWHERE:
        # "A Huffman-encoded string literal containing the EOS symbol MUST be treated as a
        # decoding error."
        raise HuffmanError("the symbol EOS in a string")
    raise HuffmanError("a string with wrong padding")


def _make_rows(data: bytes) -> None:
    """Make the rows that `data` needs."""
    node = 0
    for byte in data:
        if not _rows[node]:
            _make_row(node)
        node = _rows[node][byte][0]


def huffman_encode(data: bytes) -> bytes:
    """Return `data` encoded, padded to whole bytes."""
    value = 0
    size = 0
    for byte in data:
        code, bits = CODES[byte]
        value = value << bits | code
        size += bits
    padding = -size % 8
    return (value << padding | (1 << padding) - 1).to_bytes((size + padding) // 8, "big")
