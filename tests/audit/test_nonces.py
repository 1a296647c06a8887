"""The book of nonces: each once, so many a second, in all processes together."""

from __future__ import annotations

import os
import warnings

import pytest

from edgeserver.audit.nonces import NonceBook


def nonce(number: int) -> bytes:
    """Return a nonce that differs from all others."""
    return number.to_bytes(16, "big")


def test_a_nonce_is_taken_once() -> None:
    """A nonce that was taken is never taken again, whenever it comes."""
    book = NonceBook()
    assert book.take(nonce(1), 1000.0)
    assert not book.take(nonce(1), 1000.5)
    assert not book.take(nonce(1), 1170.0)


def test_ten_in_a_second() -> None:
    """The eleventh of a second is refused, and not remembered."""
    book = NonceBook(per_second=10)
    assert [book.take(nonce(each), 50.0 + each / 20) for each in range(1, 12)].count(True) == 10
    assert book.take(nonce(11), 51.0)


def test_none_is_forgotten_while_its_proof_is_good() -> None:
    """As many as can be taken in three minutes leave the first one remembered."""
    book = NonceBook(per_second=2, remembered_s=180)
    first = nonce(1)
    assert book.take(first, 0.0)
    for second in range(1, 181):
        assert book.take(nonce(2 * second), second)
        assert book.take(nonce(2 * second + 1), second)
    assert not book.take(first, 181.0)


@pytest.mark.parametrize("wrong", [b"", b"short", bytes(17)])
def test_what_is_no_nonce_is_refused(wrong: bytes) -> None:
    """Bytes of another length are never taken."""
    assert not NonceBook().take(wrong, 1.0)


def test_processes_share_the_book() -> None:
    """What a forked process has taken is taken here, and the other way round."""
    book = NonceBook()
    assert book.take(nonce(1), 5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # this process may have threads
        child = os.fork()
    if child == 0:
        os._exit(0 if not book.take(nonce(1), 5.0) and book.take(nonce(2), 5.0) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert not book.take(nonce(2), 5.0)
