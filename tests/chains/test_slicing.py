"""What of a way is left out of the judgement: never a step that the answer depends on."""

from __future__ import annotations

import pytest

from edgeserver.chains.model import Refuse
from edgeserver.chains.slicing import Slicer
from tests.chains.chaining import judge, nginx_location, read

ADDED = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"

GATES = {
    # a refusal, how many of it stay, and the client's verdict where the field is appended, or kept
    "a field of its own": ("if ($http_user_agent ~* bot) { return 403; }", 0, "spoofable"),
    "twice": (
        "if ($http_user_agent ~ a) { return 403; } if ($http_user_agent ~ b) { return 403; }",
        0,
        "spoofable",
    ),
    "what has to be there": ("if ($http_x_key !~ ^k) { return 403; }", 1, "cannot-tell"),
    "the claim": ("if ($http_x_forwarded_for) { return 403; }", 1, "lost"),
    "the claim, by a pattern": ("if ($http_x_forwarded_for ~ .) { return 403; }", 1, "cannot-tell"),
    "what is always there": ("if ($request_uri ~ ^/) { return 403; }", 1, "cannot-tell"),
    "the connection": ("if ($scheme = http) { return 301 https://a; }", 1, "unreachable"),
    "what is not understood": ("if (-f $request_filename) { return 403; }", 1, "cannot-tell"),
}


@pytest.mark.parametrize("name", GATES)
def test_refusals(name: str) -> None:
    """A refusal goes where whoever sends nothing passes it and nothing else asks for its field."""
    refusal, stays, kept = GATES[name]
    hop = nginx_location(refusal)
    (way,) = hop.ways
    for first in (False, True):
        cut, fields = Slicer().slice(way, frozenset({"x-forwarded-for"}), is_first=first)
        refusals = sum(isinstance(step.op, Refuse) for step in cut.steps)
        assert refusals == (stays if first else refusal.count("return"))
        assert ("user-agent" in fields) is (not first and "user_agent" in refusal)
    assert judge(hop).client == kept
    expected = "unreachable" if kept == "unreachable" else "right"
    assert judge(nginx_location(ADDED + refusal)).client in (expected, "cannot-tell")


def test_what_a_pattern_matched_stays() -> None:
    """A variable that a refusal's pattern may have set keeps the refusal."""
    hop = nginx_location(
        "if ($http_user_agent ~ (bot)) { return 403; } set $who $1; "
        "proxy_set_header X-Forwarded-For $who;"
    )
    cut, _ = Slicer().slice(hop.ways[0], frozenset({"x-forwarded-for"}), is_first=True)
    assert any(isinstance(step.op, Refuse) for step in cut.steps)


LIFTED = {
    # a refusal, and whether a head gets past it
    "the connection": ("allow 10.0.0.0/8; deny all;", False),
    "the scheme": ("if ($scheme = http) { return 301 https://a; }", False),
    "a field": ('if ($http_x_key = "") { return 403; }', True),
    "an argument": ("if ($arg_a != b) { return 403; }", True),
    "a field that realip reads": (
        "set_real_ip_from 0.0.0.0/0; real_ip_header X-Forwarded-For; allow 10.0.0.0/8; deny all;",
        True,
    ),
    "a field that nobody here is believed in": (
        "set_real_ip_from 192.0.2.5; real_ip_header X-Forwarded-For; allow 10.0.0.0/8; deny all;",
        False,
    ),
    "a variable that a field sets": (
        "set $who $http_x_key; if ($who = '') { return 403; }",
        True,
    ),
}


@pytest.mark.parametrize("name", LIFTED)
def test_refused_whatever_the_head(name: str) -> None:
    """One request stands for all heads only where a refusal looks at none; each still counts."""
    refusal, lifted = LIFTED[name]
    judged = judge(nginx_location(ADDED + refusal))
    assert (judged.client != "unreachable") is lifted
    assert all(entry.case.tried > 20 for entry in judged.entries)


@pytest.mark.parametrize("name", ["x-a", "$a", "$", "~a"])
def test_a_field_of_any_name_is_tried(name: str) -> None:
    """A name may hold `$`: what asks for such a field is no variable; a stranger may send it."""
    hop = read(
        "haproxy",
        "frontend f\n bind :80\n mode http\n option forwardfor\n"
        " http-request del-header X-Forwarded-For\n"
        f" http-request set-header X-Forwarded-Proto https if {{ req.hdr({name}) s3 }}\n"
        f" http-request set-header X-Forwarded-Proto http unless {{ req.hdr({name}) s3 }}\n"
        " default_backend b\nbackend b\n mode http\n server s 127.0.0.1:1\n",
    )
    judged = judge(hop)
    assert (judged.client, judged.scheme) == ("right", "spoofable")
    trial = next(each.case.scheme_trial for each in judged.entries if each.case.scheme_trial)
    assert trial.head == {name: ("s3",)}
