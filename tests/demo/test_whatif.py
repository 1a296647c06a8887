"""The form "what if": how it is read, what it answers, and what it refuses."""

import pytest

from edgeserver.demo.whatif import EXAMPLES, Form, answer_form, read_form


def test_nothing_filled_in() -> None:
    """A query without a peer is no form, nor is one with more than a form has."""
    assert read_form("") is None
    assert read_form("a=b&headers=x") is None
    assert read_form("&".join(f"peer={number}" for number in range(30))) is None


@pytest.mark.parametrize("form", list(EXAMPLES.values()), ids=list(EXAMPLES))
def test_a_form_survives_its_query(form: Form) -> None:
    """What was filled in is what is read, line breaks and empty fields too."""
    assert read_form(form.as_query()) == form


@pytest.mark.parametrize(
    ("name", "client", "finding"),
    list(
        zip(
            EXAMPLES,
            ["203.0.113.9", "203.0.113.9", "6.6.6.6", "198.51.100.7", "203.0.113.9"],
            [None, "untrusted-peer-claims", "any-peer-trusted", None, "conflict"],
            strict=True,
        )
    ),
    ids=list(EXAMPLES),
)
def test_what_the_examples_show(name: str, client: str, finding: str | None) -> None:
    """Each example has the client and the finding that it is there to show."""
    answer = answer_form(EXAMPLES[name])
    assert answer["client"] == client
    codes = [each["code"] for each in answer["findings"]]
    assert codes == [] if finding is None else finding in codes


@pytest.mark.parametrize(
    ("field", "form", "says"),
    [
        ("peer", Form(peer="nobody"), "'nobody' is not an address"),
        (
            "headers",
            Form(headers="no colon"),
            "line 1: 'no colon' is no header; write 'Name: value'",
        ),
        ("headers", Form(headers="a: b\n" * 60), "60 lines are more than this page takes: 50"),
        ("trust", Form(trust="10.0.0.300"), "10.0.0.300"),
        ("trust", Form(trust="10.0.0.0/33"), "0 to 32 for IPv4"),
        ("trust", Form(trust="::/x", rules="xheaders"), "0 to 128 for IPv6"),
        ("trust", Form(trust="10.0.0.1 " * 40), "40 proxies are more than this page takes: 32"),
        ("source", Form(source="x y"), "is not a header name"),
        (
            "rules",
            Form(rules="magic"),
            "there are no rules 'magic'; choose one of trust, xheaders, off",
        ),
        ("scheme", Form(scheme="gopher"), "no scheme 'gopher'; choose http or https"),
        ("peer", Form(peer="\x1b[31m"), r"\x1b"),
    ],
    ids=[
        *(
            "peer",
            "header",
            "too many lines",
            "address",
            "range",
            "xheaders",
            "too many proxies",
            "source",
        ),
        *("rules", "scheme", "escape"),
    ],
)
def test_what_cannot_be(field: str, form: Form, says: str) -> None:
    """A form that makes no sense is answered with what was wrong, escaped, and where it stands."""
    answer = answer_form(form)
    assert set(answer) == {"error", "field"}
    assert answer["field"] == field
    assert says in answer["error"]
    assert answer["error"].isprintable()


def test_no_header_is_read() -> None:
    """By the rules of nobody the peer is the client, whatever came."""
    answer = answer_form(Form(rules="off"))
    assert (answer["client"], answer["reason"]) == ("10.0.0.5", "proxy-headers-off")


def test_what_is_long_is_cut() -> None:
    """A field holds a few thousand characters at most."""
    form = read_form(f"peer={'1' * 10000}")
    assert form is not None
    assert len(form.peer) == 4000
