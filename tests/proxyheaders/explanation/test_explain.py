"""The explanation: hops, verdicts, findings, the plain picture, and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeserver.proxyheaders import CODES, REASONS, TrustedProxy, TrustPolicy
from edgeserver.proxyheaders.explanation.codes import SEVERITIES, is_serious
from edgeserver.proxyheaders.explanation.render import render_provenance
from tests.proxyheaders.support import (
    CLIENT,
    PROXY,
    STRANGER,
    FakePrelude,
    codes,
    explain,
    head,
    policy,
)

ROOT = Path(__file__).parents[3]


def lowered(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return fields as a connection has them."""
    return [(name.lower(), value) for name, value in fields]


PICTURE = """\
 hop  address        said by        verdict  why
  0   10.0.3.7       TCP            trusted  in 10.0.0.0/8
  1   173.245.48.12  10.0.3.7       trusted  in 173.245.48.0/20
  2   203.0.113.9    173.245.48.12  CLIENT   first untrusted address
  3   6.6.6.6        203.0.113.9    ignored  left of the client: anyone can write it
client 203.0.113.9  scheme http  verified
warn  conflict: X-Real-Ip says 6.6.6.6; it is not the configured source"""


def test_picture_of_the_specification() -> None:
    """The plain picture is exactly what the specification draws."""
    provenance = explain(
        policy("10.0.0.0/8", "173.245.48.0/20"),
        "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 173.245.48.12",
        "X-Real-Ip: 6.6.6.6",
        peer="10.0.3.7",
    )
    assert render_provenance(provenance) == PICTURE
    assert str(provenance) == PICTURE


def test_hops_carry_the_whole_claim() -> None:
    """Each hop says what was claimed, where it stood, who said it and what matched."""
    trust = policy(TrustedProxy("10.0.0.0/8", name="edge"), "loopback")
    provenance = explain(
        trust,
        "X-Forwarded-For: a, b",
        f"X-Forwarded-For: [{'2001:DB8::7'}]:443 , 10.0.0.2:9",
        "X-Forwarded-For:  127.0.0.1 ",
        peer_port=7,
    )
    rows = [
        (hop.address, hop.port, hop.claimed, hop.said_by, hop.field, hop.line, hop.index, hop.rule)
        for hop in provenance.hops
    ]
    field = "x-forwarded-for"
    assert rows == [
        (PROXY, 7, PROXY.encode(), "TCP", "TCP", None, None, "10.0.0.0/8 (edge)"),
        ("127.0.0.1", None, b"127.0.0.1", PROXY, field, 2, 0, "127.0.0.0/8 (loopback)"),
        ("10.0.0.2", 9, b"10.0.0.2:9", "127.0.0.1", field, 1, 0, "10.0.0.0/8 (edge)"),
        ("2001:db8::7", 443, b"[2001:DB8::7]:443", "10.0.0.2", field, 1, 1, None),
        (None, None, b"b", "2001:db8::7", field, 0, 0, None),
        (None, None, b"a", "anyone", field, 0, 1, None),
    ]
    verdicts = [hop.verdict for hop in provenance.hops]
    assert verdicts == ["trusted", "trusted", "trusted", "client", "ignored", "ignored"]


def test_unverified_answer_is_the_peer() -> None:
    """Where the boundary is unusable, the picture marks the peer as the client, unverified."""
    provenance = explain(policy(), "X-Forwarded-For: 6.6.6.6, unix:, 10.0.0.2")
    assert [hop.verdict for hop in provenance.hops] == ["client", "trusted", "unusable", "ignored"]
    assert "Unix socket" in provenance.hops[2].why
    assert "UNVERIFIED (malformed-boundary)" in str(provenance)


@pytest.mark.parametrize("field", ["X-Forwarded-For", "Forwarded"])
def test_ignored_entries_are_shown_up_to_a_number(field: str) -> None:
    """Left of the client at most 32 entries are shown as bytes, then a count."""
    entry = "6.6.6.6" if field == "X-Forwarded-For" else "for=6.6.6.6"
    own = CLIENT if field == "X-Forwarded-For" else f"for={CLIENT}"
    trust = policy(source=field)
    lines = [f"{field}: {', '.join([entry] * 50)}", f"{field}: {', '.join([entry] * 50)}, {own}"]
    provenance = explain(trust, *lines)
    assert len(provenance.hops) == 2 + 32
    assert provenance.unseen == 100 - 32
    assert "68 more entries" in str(provenance)
    assert all(hop.address is None for hop in provenance.hops[2:])


def test_examined_entries_are_shown_up_to_a_number() -> None:
    """Where thousands of entries are listed proxies, the nearest and the last are shown."""
    trust = TrustPolicy.tornado(trusted_downstream=["5.5.5.5"])
    line = "X-Forwarded-For: 6.6.6.6" + ",5.5.5.5" * 8000
    provenance = explain(trust, line)
    assert len(provenance.hops) == 1 + 64 + 1
    assert provenance.hops[-1].address == provenance.resolved.remote_ip == "6.6.6.6"
    assert provenance.hops[-2].why == "7937 more entries, not shown"
    repeated = explain(policy(source="x-real-ip"), *["X-Real-Ip: 1", "X-Real-Ip: 2"] * 500)
    assert len(repeated.hops) == 66
    assert repeated.resolved.reason == "repeated-singleton"


@pytest.mark.parametrize(
    ("prelude", "lines", "rows"),
    [
        (
            FakePrelude(),
            ["X-Forwarded-For: 1.1.1.1"],
            [(PROXY, "TCP", "trusted"), (CLIENT, "PROXY", "client")],
        ),
        (
            FakePrelude(source="10.0.0.7"),
            ["X-Forwarded-For: 1.1.1.1"],
            [
                (PROXY, "TCP", "trusted"),
                ("10.0.0.7", "PROXY", "trusted"),
                ("1.1.1.1", "10.0.0.7", "client"),
            ],
        ),
        (
            FakePrelude(source="10.0.0.7"),
            [],
            [(PROXY, "TCP", "trusted"), ("10.0.0.7", "PROXY", "client")],
        ),
        (
            FakePrelude(source="224.0.0.1"),
            [],
            [(PROXY, "TCP", "client"), (None, "PROXY", "unusable")],
        ),
        (
            FakePrelude("LOCAL", None, None),
            ["X-Forwarded-For: 1.1.1.1"],
            [(PROXY, "TCP", "client"), (None, "PROXY", "unusable")],
        ),
        (
            FakePrelude(source="unix:/run/x"),
            ["X-Forwarded-For: 1.1.1.1"],
            [(PROXY, "TCP", "client"), (None, "PROXY", "unusable")],
        ),
    ],
    ids=["client", "proxy", "alone", "unusable", "local", "unix"],
)
def test_prelude_is_a_hop(
    prelude: FakePrelude, lines: list[str], rows: list[tuple[str | None, str, str]]
) -> None:
    """What the prelude names stands between the peer and the header."""
    provenance = explain(policy(), *lines, prelude=prelude)
    assert [(hop.address, hop.said_by, hop.verdict) for hop in provenance.hops] == rows


def test_unix_peer_is_shown_as_such() -> None:
    """The picture says `unix:`, not the address that stands for it."""
    picture = str(explain(TrustPolicy(["unix:"]), f"X-Forwarded-For: {CLIENT}", peer="unix:"))
    assert "  0   unix:" in picture


FINDINGS = [
    ("untrusted-peer-claims", policy(), ["X-Real-Ip: 1.1.1.1"], STRANGER, "X-Real-Ip"),
    ("untrusted-peer-claims", policy(), ["x_forwarded_for: 1.1.1.1"], STRANGER, "not believed"),
    ("untrusted-peer-claims", policy(source="a-b"), ["A-B: 1.1.1.1"], STRANGER, "A-B"),
    ("conflict", policy(), [f"X-Forwarded-For: {CLIENT}", "X-Real-Ip: 6.6.6.6"], PROXY, "6.6.6.6"),
    ("conflict", policy(), ["Forwarded: for=6.6.6.6"], PROXY, "Forwarded says 6.6.6.6"),
    ("conflict", policy(), ["CF-Connecting-IP: 6.6.6.6"], PROXY, "Cf-Connecting-Ip"),
    (
        "conflict",
        policy(source="forwarded"),
        [f"Forwarded: for={CLIENT}", "X-Forwarded-For: \x1b[2J"],
        PROXY,
        "says '\\x1b[2J'",
    ),
    ("malformed-boundary", policy(), ["X-Forwarded-For: \x1b]0;x\x07"], PROXY, "'\\x1b]0;x\\x07'"),
    ("unknown-boundary", policy(), ["X-Forwarded-For: unknown"], PROXY, "hides"),
    ("all-hops-trusted", policy(), ["X-Forwarded-For: 10.0.0.9"], PROXY, "10.0.0.9"),
    ("max-hops", policy(max_hops=1), ["X-Forwarded-For: 10.0.0.9"], PROXY, "1 entries"),
    ("trusted-peer-as-client", policy(), [], PROXY, "sent no X-Forwarded-For"),
    (
        "nonconformant-forwarded",
        policy(source="forwarded"),
        [f"Forwarded: for={CLIENT}:80"],
        PROXY,
        "quoted",
    ),
    (
        "repeated-singleton",
        policy(source="x-real-ip"),
        ["X-Real-Ip: 1.1.1.1", "X-Real-Ip: 2.2.2.2"],
        PROXY,
        "different lines",
    ),
    (
        "alias-header",
        policy(),
        [f"X-Forwarded-For: {CLIENT}", "X_Forwarded_For: 6.6.6.6"],
        PROXY,
        "x_forwarded_for",
    ),
    (
        "connection-nominates",
        policy(),
        [f"X-Forwarded-For: {CLIENT}", "Connection: close, X-FORWARDED-FOR"],
        PROXY,
        "X-Forwarded-For",
    ),
    (
        "proto-unusable",
        policy(),
        [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: \x00"],
        PROXY,
        "'\\x00'",
    ),
    (
        "proto-unusable",
        policy(source="forwarded"),
        [f"Forwarded: for={CLIENT};proto=ftp"],
        PROXY,
        "Forwarded's proto says 'ftp'",
    ),
    (
        "proto-conflict",
        policy(),
        [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: http", "X-Scheme: https"],
        PROXY,
        "X-Scheme says https",
    ),
    (
        "proto-conflict",
        policy(source="forwarded"),
        [f"Forwarded: for={CLIENT};proto=http", "X-Forwarded-Proto: https"],
        PROXY,
        "by Forwarded's proto",
    ),
    (
        "proto-unattributed",
        policy(source="forwarded"),
        [f"Forwarded: for={CLIENT}, for=10.0.0.9;proto=https"],
        PROXY,
        "nearer element",
    ),
    (
        "proto-unattributed",
        policy(),
        [f"X-Forwarded-For: {CLIENT}, 10.0.0.9", "X-Forwarded-Proto: https, http"],
        PROXY,
        "several values",
    ),
    *(
        ("proto-conflict", policy(), [f"X-Forwarded-For: {CLIENT}", line], PROXY, words)
        for line, words in [
            ("X-Forwarded-Proto: https,http", "'https,http' beside one address; http counts"),
            ("X-Forwarded-Proto: http, https, http", "beside one address; http counts"),
            ("X-Forwarded-Ssl: on", "X-Forwarded-Ssl says https; http counts"),
            ("Front-End-Https: ON", "Front-End-Https says https"),
            ("X-Forwarded-Scheme: https", "X-Forwarded-Scheme says https"),
            ("X-Forwarded-Protocol: ssl", "X-Forwarded-Protocol says https"),
            ("X-Url-Scheme: https", "X-Url-Scheme says https"),
            ("CloudFront-Forwarded-Proto: https", "Cloudfront-Forwarded-Proto says https"),
            (f"Forwarded: for={CLIENT};proto=https", "Forwarded says proto=https"),
        ]
    ),
    (
        "proto-conflict",
        policy(),
        [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https", "X-Forwarded-Ssl: off"],
        PROXY,
        "X-Forwarded-Ssl says http; https counts, by X-Forwarded-Proto",
    ),
    (
        "proto-conflict",
        policy(),
        [f"X-Forwarded-For: {CLIENT}, 10.0.0.9", "X-Forwarded-Proto: http, https, https"],
        PROXY,
        "beside 2 addresses",
    ),
    (
        "proto-conflict",
        policy(),
        [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https", "X-Forwarded-Proto: http"],
        PROXY,
        "'https,http' beside one address",
    ),
    (
        "proto-conflict",
        policy(source="x-real-ip"),
        [f"X-Real-Ip: {CLIENT}", "X-Forwarded-Proto: https,http"],
        PROXY,
        "beside one address",
    ),
    (
        "proto-undeclared",
        policy("10.0.0.0/8", TrustedProxy(PROXY, sets={"x-forwarded-host"})),
        [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https"],
        PROXY,
        "http counts, by the connection itself: 10.0.0.1 does not declare it",
    ),
    (
        "proto-unattributed",
        policy(),
        [f"X-Forwarded-For: {CLIENT}, 10.0.0.9", "X-Forwarded-Proto: https"],
        PROXY,
        "X-Forwarded-Proto has one value in a chain of 2 hops",
    ),
    (
        "proto-unattributed",
        policy(),
        [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https, https"],
        PROXY,
        "has 2 values, and X-Forwarded-For has 1",
    ),
    (
        "proto-unattributed",
        policy(),
        ["X-Forwarded-Proto: https"],
        PROXY,
        "came without X-Forwarded-For",
    ),
    (
        "declared-unusable",
        policy(TrustedProxy(PROXY, sets={"x-forwarded-host"})),
        [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Host: a b"],
        PROXY,
        "X-Forwarded-Host",
    ),
    (
        "any-peer-trusted",
        TrustPolicy(["0.0.0.0/0"], allow_all=True, source="x-real-ip"),
        ["X-Real-Ip: 2001:db8::1"],
        PROXY,
        PROXY,
    ),
    (
        "proxy-named-as-client",
        policy(),
        [f"X-Forwarded-For: {CLIENT}, {PROXY}"],
        PROXY,
        PROXY,
    ),
]

NOT_OF_A_HEAD = {
    "host-bits-set": "tests/proxyheaders/test_policy.py",
    "prelude-names-nobody": "tests/proxyheaders/test_walk.py",
    "proxy-prelude-invalid": "tests/proxyheaders/test_policy.py",
    "proxy-prelude-missing": "tests/e2e/test_misplaced_preludes.py",
}
"""Findings about policies and connections, and where each is seen."""


def test_each_finding_is_seen() -> None:
    """Who adds a finding adds a head that raises it, or says which test sees it."""
    unseen = CODES.keys() - {row[0] for row in FINDINGS}
    assert unseen == NOT_OF_A_HEAD.keys(), "add a row to FINDINGS, or say where it is seen"
    for code, test in NOT_OF_A_HEAD.items():
        assert f'"{code}"' in (ROOT / test).read_text(), test


@pytest.mark.parametrize(
    ("code", "trust", "lines", "peer", "words"),
    FINDINGS,
    ids=[f"{row[0]}-{row[4]}" for row in FINDINGS],
)
def test_finding(code: str, trust: TrustPolicy, lines: list[str], peer: str, words: str) -> None:
    """Every oddity of a head raises its finding, and only that one."""
    provenance = explain(trust, *lines, peer=peer)
    found = [finding for finding in provenance.findings if finding.code == code]
    assert len(found) == 1
    assert words in found[0].detail
    assert found[0].detail.isascii()
    assert found[0].detail.isprintable()
    assert found[0].severity == CODES[code].severity
    assert found[0].fix == CODES[code].fix
    allowed = {code, "trusted-peer-as-client"}
    assert set(codes(provenance)) <= allowed


QUIET = [
    (policy(), [f"X-Forwarded-For: {CLIENT}"], PROXY),
    (policy(), [f"X-Forwarded-For: {CLIENT}", f"X-Real-Ip: {CLIENT}"], PROXY),
    (policy(), [f"X-Forwarded-For: {CLIENT}", f'Forwarded: for="{CLIENT}:1"'], PROXY),
    (policy(), [f"X-Forwarded-For: {CLIENT}", f"CF-Connecting-IP: ::ffff:{CLIENT}"], PROXY),
    (policy(source="x-real-ip"), [f"X-Real-Ip: {CLIENT}", f"X-Forwarded-For: {CLIENT}"], PROXY),
    (policy(), [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https", "X-Scheme: WSS"], PROXY),
    (policy(), ["Host: a", "Connection: close", "X_Request_Id: 1"], STRANGER),
    (TrustPolicy.off(), ["X-Real-Ip: 1.1.1.1", "X_Real_Ip: 2"], STRANGER),
    (policy(proto=None), [f"X-Forwarded-For: {CLIENT}"], PROXY),
    (
        policy(),
        [
            f"X-Forwarded-For: {CLIENT}",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Ssl: on",
            "Front-End-Https: on",
            "X-Forwarded-Scheme: https",
            "CloudFront-Forwarded-Proto: https",
            f"Forwarded: for={CLIENT};proto=https",
        ],
        PROXY,
    ),
    (policy(), [f"X-Forwarded-For: 6.6.6.6, {CLIENT}", "X-Forwarded-Proto: https"], PROXY),
    (policy(), [f"X-Forwarded-For: 6.6.6.6, {CLIENT}", "X-Forwarded-Proto: http, https"], PROXY),
    (policy(), [f"X-Forwarded-For: {CLIENT}, 10.0.0.9", "X-Forwarded-Proto: ws,http"], PROXY),
    (
        policy(TrustedProxy("10.0.0.0/8", sets={"x-forwarded-proto"})),
        [f"X-Forwarded-For: {CLIENT}, 10.0.0.9", "X-Forwarded-Proto: https"],
        PROXY,
    ),
    (
        policy("10.0.0.0/8", TrustedProxy("10.0.0.9", sets={"x-forwarded-proto"})),
        [f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: http"],
        PROXY,
    ),
]


@pytest.mark.parametrize(("trust", "lines", "peer"), QUIET, ids=range(len(QUIET)))
def test_no_finding(trust: TrustPolicy, lines: list[str], peer: str) -> None:
    """A head that is as it should be raises nothing."""
    assert codes(explain(trust, *lines, peer=peer)) == []


def test_unusable_prelude_source_is_a_finding() -> None:
    """A prelude that names nobody is explained like any other boundary."""
    provenance = explain(policy(), "X-Real-Ip: 1.1.1.1", prelude=FakePrelude(source="ff02::1"))
    assert codes(provenance) == ["malformed-boundary", "untrusted-peer-claims"]


@pytest.mark.parametrize(
    ("prelude", "claimed", "words"),
    [
        (FakePrelude("LOCAL", None, None), b"LOCAL", "it says LOCAL"),
        (FakePrelude("UNKNOWN", None, None), b"UNKNOWN", "it says UNKNOWN"),
        (FakePrelude(source=None), b"UNSPEC", "its address family is unspecified"),
        (FakePrelude(source="unix:/run/x"), b"unix:/run/x", "its source is a Unix socket"),
    ],
    ids=["local", "unknown", "unspecified", "unix"],
)
def test_a_prelude_that_names_nobody_says_why(
    prelude: FakePrelude, claimed: bytes, words: str
) -> None:
    """A proxy's own check is a note; claims behind such a prelude are a warning that names them."""
    check = explain(policy(), prelude=prelude)
    assert codes(check) == ["prelude-names-nobody"]
    assert not is_serious(check.findings[0])
    assert check.hops[1].claimed == claimed
    assert words in check.hops[1].why
    assert words in check.findings[0].detail
    attempt = explain(policy(), "X-Forwarded-For: 1.1.1.1", prelude=prelude)
    assert codes(attempt) == ["prelude-names-nobody", "untrusted-peer-claims"]
    assert attempt.findings[1].detail == (
        f"somebody behind {PROXY} whom the PROXY prelude does not name sent X-Forwarded-For: "
        "not believed, and hidden from the application"
    )


def test_every_code_and_reason_is_described() -> None:
    """Codes are permanent kebab-case words with a severity, a meaning and a fix."""
    for code, entry in CODES.items():
        assert code == code.lower().replace("_", "-")
        assert entry.severity in SEVERITIES
        assert entry.meaning.endswith(".")
        assert entry.fix
    assert all(reason in CODES or REASONS[reason] for reason in REASONS)
    specified = """any-peer-trusted untrusted-peer-claims conflict malformed-boundary
        unknown-boundary all-hops-trusted max-hops trusted-peer-as-client nonconformant-forwarded
        repeated-singleton alias-header connection-nominates proto-unusable proto-conflict
        proto-unattributed proto-undeclared prelude-names-nobody proxy-prelude-missing
        proxy-prelude-invalid"""
    assert set(specified.split()) <= set(CODES)


def test_a_unix_peer_has_its_name_wherever_it_is_shown() -> None:
    """No program and nobody who reads the picture sees the address that stands for a socket."""
    provenance = explain(
        TrustPolicy(["unix:"]), f"X-Forwarded-For: 6.6.6.6, {CLIENT}", peer="unix:"
    )
    first, second, third = json.loads(json.dumps(provenance.as_dict()))["hops"]
    assert (first["address"], second["said_by"], third["said_by"]) == ("unix:", "unix:", CLIENT)
    assert "0.0.0.0" not in str(provenance)


def test_severity_decides_what_is_serious() -> None:
    """A note is not serious; warnings and errors are."""
    (note,) = explain(policy()).findings
    assert note.severity == "info"
    assert not is_serious(note)
    (warning,) = explain(policy(), "X-Forwarded-For: unknown").findings
    assert is_serious(warning)


STANDING_HEADS = {
    "one-scheme-of-two-hops": (
        None,
        ["X-Forwarded-For: 1.1.1.1, 10.0.0.9", "X-Forwarded-Proto: https"],
        "proto-unattributed",
    ),
    "prelude": (FakePrelude("LOCAL", None, None), [], "prelude-names-nobody"),
}


@pytest.mark.parametrize(("prelude", "lines", "code"), STANDING_HEADS.values(), ids=STANDING_HEADS)
def test_a_log_hears_of_a_proxys_setup_once(
    prelude: FakePrelude | None, lines: list[str], code: str
) -> None:
    """What holds for each request of a connection is reported, and counted, with the first."""
    trust = policy()
    other = head(*lines, "X-Real-Ip: 6.6.6.6")
    for connection in range(1, 3):
        bound = trust.bind(peer=PROXY, prelude=prelude)
        assert codes(bound.report(lowered(head(*lines)))) == [code]
        assert codes(bound.report(lowered(head(*lines)))) == []
        (kept,) = codes(bound.report(lowered(other)))
        assert kept in ("conflict", "untrusted-peer-claims")
        assert trust.finding_counts[code] == connection
        assert trust.finding_counts[kept] == connection
    whole = bound.explain(lowered(head(*lines)))
    assert codes(whole) == [code]
    assert bound.report(lowered(head(*lines))).hops == whole.hops


def test_explanation_is_of_what_was_captured() -> None:
    """A later policy, and later requests, alter nothing of an explanation made afterwards."""
    old = policy()
    bound = old.bind(peer=PROXY)
    raw = [(name.lower(), value) for name, value in head(f"X-Forwarded-For: {CLIENT}")]
    answer = bound.resolve(raw, dict(raw))
    policy("192.0.2.0/24").bind(peer=PROXY).resolve(raw, dict(raw))
    bound.resolve([], {})
    assert bound.explain(raw).resolved == answer


def test_json_is_whole_and_escaped() -> None:
    """The JSON form holds every hop and finding, in printable ASCII only."""
    provenance = explain(
        policy(), "X-Forwarded-For: \x1b[31m\u00ff\\, 6.6.6.6", "X_Real_Ip\x9b: 1", peer_port=5
    )
    shown = provenance.as_dict()
    text = json.dumps(shown, ensure_ascii=False)
    assert text.isascii()
    assert text.isprintable()
    assert shown["client"] == "6.6.6.6"
    assert shown["hops"][2]["claimed"] == "\\x1b[31m\\xff\\\\"  # type: ignore[index]  # JSON values
    assert str(provenance).replace("\n", "").isprintable()
