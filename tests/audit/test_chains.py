"""What logs show of a chain: the corpus with its expected findings, and chains made to be wrong."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from edgeserver.audit.aggregate import Reading, read_heads
from edgeserver.audit.chains import CODES, ChainAudit, LogFinding
from edgeserver.audit.logfiles import open_log
from edgeserver.audit.records import FORMATS, LogFormat, guess_format
from edgeserver.proxyheaders import TrustPolicy

LOGS = Path(__file__).parent / "logs"
TRUST = ["192.0.2.5", "198.51.100.0/24", "10.0.0.0/8"]

# What the scripted traffic held, as far as a log with peer and list can tell.
SHOWN = {
    ("forgotten-proxy", "192.0.2.6", 3),
    ("bypass", "203.0.113.66, 203.0.113.67, 203.0.113.68, 203.0.113.69 and 2 more", 14),
    ("spoofing", "203.0.113.90, 203.0.113.91", 4),
    ("spoofing", "203.0.113.120, 203.0.113.121", 2),
    ("range-never-seen", "10.0.0.0/8", 0),
    ("range-too-wide", "198.51.100.0/24", 0),
    ("private-client", "10.1.2.3", 2),
    ("unusable-entry", "unknown", 1),
    ("health-check", "192.0.2.5", 1),
}
HIDDEN = {each for each in SHOWN if each[0] not in ("forgotten-proxy", "bypass")} - {
    ("spoofing", "203.0.113.90, 203.0.113.91", 4)
}
PAST = "192.0.2.6, 203.0.113.66, 203.0.113.67, 203.0.113.68 and 3 more"

CORPUS = {
    "202-nginx-proxy-add-xff.log": ("nginx+xff", SHOWN),
    "204-nginx-realip-peer.log": ("nginx+xff+realip", SHOWN),
    "206-caddy.jsonl": ("caddy", SHOWN | {("scheme-mixed", "192.0.2.5", 1)}),
    "209-envoy-default.log": ("envoy", SHOWN),
    "212-edgeserver-audit.jsonl": (
        "edgeserver",
        HIDDEN
        | {("bypass", PAST, 17), ("unshown-claims", "192.0.2.6, 203.0.113.90, 203.0.113.91", 7)},
    ),
    "214-gunicorn.log": ("nginx+xff", SHOWN),
    "216-cloudfront.tsv": ("cloudfront", SHOWN),
    "217-gcp-lb.jsonl": ("google", {("bypass", PAST, 17)}),
}


def audited(
    paths: Sequence[Path], trust: Sequence[str] = TRUST
) -> tuple[LogFormat, Reading, ChainAudit]:
    """Return what a log is, and what it shows."""
    policy = TrustPolicy(trust)
    with open_log([str(path) for path in paths], threads=1) as log:
        guessed = guess_format(log.sample())
        assert guessed is not None
        form = guessed[0]
        audit = ChainAudit(
            policy,
            has_claims=form.holds("header:x-forwarded-for"),
            has_scheme=form.holds("header:x-forwarded-proto"),
        )
        reading = Reading()
        for head in read_heads(
            log, form, source="x-forwarded-for", proto="x-forwarded-proto", reading=reading
        ):
            audit.add(head)
    return form, reading, audit


def written(
    tmp_path: Path, requests: Iterable[tuple[str, str, str]], name: str = "access.log"
) -> Path:
    """Return an access log of nginx with a peer, a list and a path for each request."""
    lines = [
        f"{peer} - - [28/Nov/2026:07:{number // 60 % 60:02d}:{number % 60:02d} +0000] "
        f'"GET {target} HTTP/1.1" 200 2 "-" "curl/8" "{claim}"\n'
        for number, (peer, claim, target) in enumerate(requests)
    ]
    path = tmp_path / name
    data = "".join(lines).encode("latin-1")
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def found(audit: ChainAudit, severities: Sequence[str] = ("error", "warning")) -> list[LogFinding]:
    """Return the findings of these severities."""
    return [each for each in audit.findings() if each.severity in severities]


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus(name: str) -> None:
    """Each log of the corpus is recognised, and shows what the traffic held and no more."""
    form, reading, audit = audited([LOGS / name])
    expected_form, expected = CORPUS[name]
    assert form.name == expected_form
    assert (reading.lines, reading.unread, audit.requests) == (33, 0, 33)
    shown = {(each.code, each.subject, each.requests) for each in audit.findings()}
    assert shown == expected


def test_the_parts_of_a_score_make_it() -> None:
    """A candidate's score is the product of the parts that are shown."""
    _, _, audit = audited([LOGS / "206-caddy.jsonl"])
    (candidate,) = [each for each in audit.findings() if each.code == "forgotten-proxy"]
    product = 1.0
    for _, value in candidate.parts:
        product *= value
    assert candidate.score == pytest.approx(product)
    assert candidate.score == pytest.approx(0.94, abs=0.01)


CLIENTS = [f"203.0.113.{number % 200 + 1}" for number in range(300)]


def test_a_clean_log_has_no_finding(tmp_path: Path) -> None:
    """Every client behind the listed proxy, some with a proxy of their own: nothing is odd."""
    requests = [("192.0.2.5", client, f"/{number % 7}") for number, client in enumerate(CLIENTS)]
    requests += [("192.0.2.5", f"198.18.0.{number}, 203.0.113.7", "/1") for number in range(2)]
    _, _, audit = audited([written(tmp_path, requests)], ["192.0.2.5"])
    assert not audit.findings()


def test_health_checks_are_no_proxy_that_does_not_append(tmp_path: Path) -> None:
    """A listed proxy that asks for one path by itself is not taken for one that adds nothing."""
    requests = [("192.0.2.5", client, f"/{number % 7}") for number, client in enumerate(CLIENTS)]
    requests += [("192.0.2.5", "-", "/healthz")] * 100
    _, _, audit = audited([written(tmp_path, requests)], ["192.0.2.5"])
    assert [each.code for each in audit.findings()] == ["health-check"]


@pytest.mark.parametrize("inner", [False, True], ids=["one proxy", "behind one that appends"])
def test_an_outer_proxy_that_does_not_append(tmp_path: Path, *, inner: bool) -> None:
    """A proxy whose lists are empty but where clients claim something passes on their claims."""

    def listed(claim: str) -> str:
        if not inner:
            return claim or "-"
        return f"{claim}, 192.0.2.5" if claim else "192.0.2.5"

    peer = "192.0.2.9" if inner else "192.0.2.5"
    requests = [(peer, listed(""), f"/{number % 5}") for number in range(300)]
    requests += [(peer, listed(f"8.8.8.{number}"), f"/{number % 5}") for number in range(6)]
    _, _, audit = audited([written(tmp_path, requests)], ["192.0.2.5", "192.0.2.9"])
    errors = found(audit, ["error"])
    assert [(each.code, each.subject) for each in errors] == [("not-appending", "192.0.2.5")]
    assert "300 requests of 306 name nobody" in errors[0].detail


@pytest.mark.parametrize("inner", [False, True], ids=["the peer", "behind a listed one"])
@pytest.mark.parametrize("name", ["access.log", "access.log.gz"])
def test_a_proxy_that_is_not_listed(tmp_path: Path, name: str, *, inner: bool) -> None:
    """Whoever always names others, many and public ones, is a candidate wherever it stands."""
    peer, more = ("192.0.2.9", ", 192.0.2.5") if inner else ("192.0.2.5", "")
    requests = [
        (peer, f"{client}{more}", f"/{number % 7}") for number, client in enumerate(CLIENTS)
    ]
    trust = ["192.0.2.9"]
    _, _, audit = audited([written(tmp_path, requests, name)], trust)
    errors = found(audit, ["error"])
    assert [(each.code, each.subject) for each in errors] == [("forgotten-proxy", "192.0.2.5")]
    assert ("192.0.2.5", "candidate: " + errors[0].detail) in audit.suggestions()


def test_requests_without_a_claim_lower_a_score(tmp_path: Path) -> None:
    """Who asks for himself, too, is less likely a proxy, and the parts of the score say so."""
    requests = [("192.0.2.5", each, "/") for each in CLIENTS[:200]] + [
        ("192.0.2.5", "-", "/")
    ] * 100
    _, _, audit = audited([written(tmp_path, requests)], [])
    (candidate,) = found(audit, ["error"])
    assert dict(candidate.parts)["never alone"] == pytest.approx(2 / 3)
    assert "100 bare" in candidate.detail


def test_rotated_logs_are_one(tmp_path: Path) -> None:
    """Files of one log are counted together, whichever are packed."""
    first = written(tmp_path, [("192.0.2.5", each, "/") for each in CLIENTS[:150]])
    second = written(tmp_path, [("192.0.2.5", each, "/") for each in CLIENTS[150:]], "1.log.gz")
    _, reading, audit = audited([first, second], [])
    assert reading.lines == 300
    assert found(audit)[0].requests == 300


def test_torn_and_binary_lines_are_counted(tmp_path: Path) -> None:
    """A torn line, NUL bytes, bytes that are no UTF-8 and a mebibyte do no harm."""
    path = written(tmp_path, [("192.0.2.5", each, "/") for each in CLIENTS])
    nasty = (
        b"\x00\x00\x1b[2J\n203.0.113.5 - - [28/No\n" + b"\xff\xfe" * 10 + b"\n" + b"x" * (1 << 20)
    )
    path.write_bytes(path.read_bytes() + nasty + b"\n192.0.2.5 - - [28/Nov/2026:07:1")
    _, reading, audit = audited([path], ["192.0.2.5"])
    assert (reading.lines, reading.unread, audit.requests) == (305, 5, 300)
    assert all(each.isprintable() and each.isascii() for each in reading.examples)


def test_an_endless_line_is_cut(tmp_path: Path) -> None:
    """A line longer than any is counted as one that was not read, and hides no other."""
    path = written(tmp_path, [("192.0.2.5", each, "/") for each in CLIENTS])
    path.write_bytes(b"y" * (5 << 20) + b"\n" + path.read_bytes())
    _, reading, audit = audited([path], ["192.0.2.5"])
    assert (reading.lines, reading.unread, audit.requests) == (301, 1, 300)


def test_what_a_stranger_wrote_is_escaped(tmp_path: Path) -> None:
    """Claims and paths reach a finding as printable ASCII alone."""
    requests = [
        ("203.0.113.5", "\x1b]0;x\x07\u00e9, <b>", "/\x1b[31m\u202e".encode().decode("latin-1"))
    ]
    requests += [("192.0.2.5", each, "/") for each in CLIENTS]
    _, _, audit = audited([written(tmp_path, requests)], ["192.0.2.5"])
    shown = " ".join(each.subject + each.detail for each in audit.findings())
    assert "spoofing" in [each.code for each in audit.findings()]
    assert "\\x1b" in shown
    assert shown.isascii()
    assert shown.isprintable()


def test_the_walk_is_the_policys(tmp_path: Path) -> None:
    """The chain that is counted ends where `TrustPolicy` finds the client."""
    policy = TrustPolicy(TRUST)
    with open_log([str(LOGS / "206-caddy.jsonl")], threads=1) as log:
        guessed = guess_format(log.sample())
        assert guessed is not None
        heads = list(
            read_heads(log, guessed[0], source="x-forwarded-for", proto=None, reading=Reading())
        )
    for head in heads:
        audit = ChainAudit(policy, has_claims=True, has_scheme=False)
        audit.add(head)
        ((chain, _),) = audit.chains.items()
        proof = policy.explain(peer=head.peer, headers=head.fields)
        trusted = [hop.address for hop in reversed(proof.hops) if hop.verdict == "trusted"]
        if policy.trusts(head.peer) and proof.resolved.verified and trusted:
            assert list(chain) == trusted


def test_every_code_has_its_words() -> None:
    """A finding's code says what it means and what to do."""
    assert all(code.meaning.endswith(".") and code.fix for code in CODES.values())


@pytest.mark.parametrize(
    ("user", "read"),
    [
        ("-", True),
        ("jos\u00e9", True),
        ("e\u0301\u0301", True),  # one sign of three letters
        ("\U0001f469\u200d\U0001f52c", True),
        ("\U0001f1e9\U0001f1ea\U0001f1e9", True),
        (" [x] - [y", True),  # the first `[` counts, as it did when nginx wrote it
        ("", False),
    ],
)
def test_fields_are_cut_by_letters(user: str, read: bool, tmp_path: Path) -> None:
    """Whatever a user calls himself, the fields behind his name are those that the proxy wrote."""
    name = f"{user} [28/Nov/2026:07:00:00 +0000]" if user else "nobody"
    line = f'192.0.2.5 - {name} "GET /a HTTP/1.1" 302 5 "-" "-" "203.0.113.9"'
    path = tmp_path / "access.log"
    path.write_text(f"{line}\n", "utf-8")
    with open_log([str(path)], threads=1) as log:
        reading = Reading()
        heads = list(
            read_heads(log, FORMATS["nginx+xff"], source="x-forwarded-for", proto=None,
                       reading=reading)
        )  # fmt: skip
    assert reading.unread == (0 if read else 1)
    assert [(head.peer, head.fields, head.settled, head.targets) for head in heads] == (
        [("192.0.2.5", ((b"x-forwarded-for", b"203.0.113.9"),), 0, ("/a",))] if read else []
    )
