"""Character classes: all 256 bytes of each."""

from __future__ import annotations

from edgeserver.http import grammar


def test_character_classes() -> None:
    """Each class holds exactly what its rule says, and the marks tell all others."""
    every = [bytes([byte]) for byte in range(256)]
    token = {b for b in every if b.isalnum() or (b in b"!#$%&'*+-.^_`|~" and b)}
    assert {b for b in every if grammar.is_token(b)} == token
    visible = {bytes([b]) for b in range(0x21, 0x7F)}
    assert {b for b in every if b.translate(grammar.TARGET_MARKS) == b} == visible
    value = visible | {b" ", b"\t"} | {bytes([b]) for b in range(0x80, 0x100)}
    assert {b for b in every if b.translate(grammar.FIELD_VALUE_MARKS) == b} == value
    control = {b for b in every if grammar.CONTROL.search(b.decode("latin-1"))}
    assert control == set(every) - value
    assert not grammar.is_token(b"")
