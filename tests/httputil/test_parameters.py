"""Values with parameters: quoting, RFC 2231, and what strangers try."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeserver.httputil.parameters import parse_parameters, render_parameters


@pytest.mark.parametrize(
    ("line", "value", "parameters"),
    [
        ("", "", {}),
        ("text/html", "text/html", {}),
        (" form-data ; name = a ", "form-data", {"name": "a"}),
        ('form-data; NAME="A b"', "form-data", {"name": "A b"}),
        ('x; a="b;c"; d="e\\";f"', "x", {"a": "b;c", "d": 'e";f'}),
        (r'x; a="C:\dir\f.txt"', "x", {"a": r"C:\dir\f.txt"}),
        (r'x; a="b\\"; c=d', "x", {"a": "b\\", "c": "d"}),
        ("x; a; b=; =c", "x", {"b": "", "": "c"}),
        ("x; a=1; a=2", "x", {"a": "2"}),
        ('x; a="unfinished; b=c', "x", {"a": '"unfinished; b=c'}),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate", {}),
        (";;;", "", {}),
    ],
    ids=repr,
)
def test_parse(line: str, value: str, parameters: dict[str, str]) -> None:
    """Semicolons outside quotes separate; quotes and the two escapes are undone."""
    assert parse_parameters(line) == (value, parameters)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("a*=utf-8''T%C3%A4st", {"a": "T\xe4st"}),
        ("a*=UTF-8'en'T%C3%A4st", {"a": "T\xe4st"}),
        ("a*=iso-8859-1''T%E4st", {"a": "T\xe4st"}),
        ("a*=us-ascii''%41%ff", {"a": "A\ufffd"}),
        ("a*=utf-8''%ff%zz", {"a": "\ufffd%zz"}),
        ("a=b; a*=utf-8''c", {"a": "c"}),
        ("a*=utf-8''c; a=b", {"a": "c"}),
        ("a*0=b; a*1=c", {"a": "bc"}),
        ("a*1=c; a*0=b; a*3=lost", {"a": "bc"}),
        ("a*0*=utf-8''%C3; a*1*=%A4; a*2=\"%41\"", {"a": "\xe4%41"}),
        ("a*=utf-8''whole; a*0=pieces", {"a": "whole"}),
        ("a*1=c", {"a": ""}),
        ("a*=plain%20text", {"a": "plain%20text"}),
        ('a*="quoted"', {"a": "quoted"}),
        ("a*=punycode''b", {"a": "punycode''b"}),
        ("a*=utf-7''+AGE-", {"a": "utf-7''+AGE-"}),
        ("a*x=b; *=c", {"a*x": "b", "*": "c"}),
        ("a*99999=b", {"a*99999": "b"}),
        ("a*=\u6d4b''x", {"a": "\u6d4b''x"}),
    ],
    ids=repr,
)
def test_extended_parameters(parameters: str, expected: dict[str, str]) -> None:
    """Charsets, languages, escapes and continuations are undone; other charsets are not known."""
    assert parse_parameters("x; " + parameters) == ("x", expected)


@given(st.text(max_size=30))
def test_quoted_value_round_trips(text: str) -> None:
    """Whatever is quoted comes back, and does not reach into what follows."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_parameters(f'x; a="{quoted}"; b=c') == ("x", {"a": text, "b": "c"})


@given(st.text(st.sampled_from("ab*01;=\"\\' %"), max_size=40))
def test_anything_parses(line: str) -> None:
    """No line at all raises."""
    parse_parameters(line)


@pytest.mark.parametrize(
    "piece", [";", '"', '\\"', '; a="', "; a*0=b", "; a*1*=%41", "*", "; a=b"], ids=repr
)
def test_long_lines(piece: str) -> None:
    """A hundred thousand of whatever once was quadratic are parsed (CVE-2025-67726)."""
    assert parse_parameters("x; b=c" + piece * 100_000)[0] == "x"


def test_memory_for_many_parameters() -> None:
    """Many tiny parameters need at most 60 bytes for each byte of input."""
    line = "form-data" + "; a=b" * 10_000
    tracemalloc.start()
    try:
        parse_parameters(line)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / len(line) < 60


def test_render() -> None:
    """Parameters are sorted, and one without a value has no equals sign."""
    assert render_parameters("x", {}) == "x"
    assert render_parameters("x", {"b": None, "a": 15}) == "x; a=15; b"
