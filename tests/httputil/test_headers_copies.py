"""HTTPHeaders: copies that share nothing, and what many lines cost."""

import copy
import pickle
import tracemalloc

import pytest

from edgeserver.httputil.headers import HTTPHeaders, RawHeaders
from tests.httputil.lines import PLAIN, RAW

COPIES = {
    "copy": HTTPHeaders.copy,
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "constructor": HTTPHeaders,
    **{
        f"pickle-{protocol}": lambda headers, protocol=protocol: pickle.loads(
            pickle.dumps(headers, protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("how", COPIES.values(), ids=COPIES.keys())
@pytest.mark.parametrize("decoded", [False, True], ids=["lazy", "decoded"])
@pytest.mark.parametrize("raw", [RAW, PLAIN], ids=["repeated", "plain"])
def test_copies_are_independent(how, decoded: bool, raw: RawHeaders) -> None:  # type: ignore[no-untyped-def]  # a table of callables
    """A copy equals its original, and a change to either leaves the other."""
    original = HTTPHeaders.from_raw(list(raw))
    if decoded:
        original["Extra"] = "1"
    lines = list(original.get_all()) if decoded else None
    made = how(original)
    made.add("Set-Cookie", "e=f")
    made["Host"] = "other"
    assert original["Host"] == "a.example"
    assert "e=f" not in original.get_list("Set-Cookie")
    assert lines is None or list(original.get_all()) == lines
    assert made.get_list("Set-Cookie")[-1] == "e=f"
    assert made["X-Latin"] == "caf\xe9"
    assert how(original) == original


def test_subclass_survives_copying() -> None:
    """The constructors and copies of a subclass give that subclass."""

    class Sub(HTTPHeaders):
        pass

    for made in (Sub.from_raw([]), Sub.parse("A: b"), Sub().copy()):
        assert type(made) is Sub


# Bounds


def test_many_repeats() -> None:
    """A hundred thousand lines of one name are taken one by one and kept."""
    headers = HTTPHeaders()
    for _ in range(100_000):
        headers.add("X", "y")
    assert len(headers.get_list("X")) == 100_000
    assert len(headers["X"]) == 199_999


def test_memory_for_many_short_lines() -> None:
    """Distinct short lines, the worst case, need at most 30 bytes for each byte of input."""
    text = "".join(f"X{number}: b\r\n" for number in range(8_000))
    tracemalloc.start()
    try:
        headers = HTTPHeaders.parse(text)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(headers) == 8_000
    assert peak / len(text) < 30
