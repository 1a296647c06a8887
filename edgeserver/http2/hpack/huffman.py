"""The Huffman code of HPACK: strings to bits, and back.

Decides which bit strings are valid. It must not know what the strings are for.

Decoding goes a byte at a time: for each inner node of the code's tree there is a row that says, for
each of the 256 bytes that may come next, which symbols that completes and at which node it ends. A
row is made when its node is first met; all of them together take about 5 MB, and few ever are.

Source: RFC 7541 section 5.2 and appendix B.
"""

from __future__ import annotations

from typing import Final

from edgeserver.http2.hpack.tables import CODES

__all__ = ["HuffmanError", "huffman_decode", "huffman_encode"]

EOS: Final = 256
"""The symbol that may not stand in a string."""

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


def huffman_decode(data: bytes) -> bytes:
    """Return the string that `data` encodes.

    Raises:
        HuffmanError: It holds EOS, or its padding is wrong.
    """
    rows = _rows
    parts: list[bytes] = []
    node = 0
    try:
        for byte in data:
            node, symbols = rows[node][byte]
            parts.append(symbols)
    except IndexError:  # of a row that nothing has needed before
        _make_rows(data)
        return huffman_decode(data)
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
