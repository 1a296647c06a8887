"""What a probe showed: verdicts, what each proxy did, and what stays open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeserver.audit.forgeries import HONEST, Forgery, plan_forgeries
from edgeserver.audit.probe import ProbeAnswer, ProbeOutcome, Target
from edgeserver.audit.probed import PROBE_CODES, ProbeReport, judge_probe, probe_as_dict
from edgeserver.chains.codes import CODES
from edgeserver.proxyheaders import TrustPolicy

ME, EDGE, INNER = "198.51.100.7", "192.0.2.5", "192.0.2.10"
HTTP = Target("http", "shop.example", 80, "/echo")
HTTPS = HTTP._replace(scheme="https", port=443)

Head = dict[str, list[str]]
Proxy = Callable[[Head, str], None]


def append(head: Head, peer: str) -> None:
    """Append the peer, as most proxies do."""
    lines = head.get("x-forwarded-for", [])
    head["x-forwarded-for"] = [", ".join([*lines, peer])]


def overwrite(head: Head, peer: str) -> None:
    """Set the list anew."""
    head["x-forwarded-for"] = [peer]


def keep(head: Head, peer: str) -> None:
    """Pass everything on."""


def drop(head: Head, peer: str) -> None:
    """Remove the list."""
    head.pop("x-forwarded-for", None)


def http(head: Head, peer: str) -> None:
    """Append, and say that the scheme is http."""
    append(head, peer)
    head["x-forwarded-proto"] = ["http"]


def https(head: Head, peer: str) -> None:
    """Append, and say that the scheme is https."""
    append(head, peer)
    head["x-forwarded-proto"] = ["https"]


def obeys(head: Head, peer: str) -> None:
    """Set the list, and then remove what `Connection` names, as httpd 2.4 does."""
    overwrite(head, peer)
    for name in head.pop("connection", []):
        head.pop(name, None)


def send(policy: TrustPolicy, proxies: tuple[Proxy, ...], forgery: Forgery) -> ProbeOutcome:
    """Return what comes of one request through proxies, each with its address."""
    head: Head = {}
    for name, value in forgery.lines:
        head.setdefault(name.lower(), []).append(value)
    if forgery.nominated:
        head["connection"] = [forgery.nominated]
    peer = ME
    addresses = (EDGE, INNER)[-len(proxies) :] if proxies else ()
    if forgery.prelude:
        return ProbeOutcome(forgery, 400, None, "status 400, Bad Request")
    for proxy, address in zip(proxies, addresses, strict=True):
        proxy(head, peer)
        peer = address
    pairs = [(name.encode(), line.encode()) for name, lines in head.items() for line in lines]
    found = policy.resolve(peer=peer, headers=pairs, scheme="http")
    told = tuple((name, line) for name, lines in head.items() for line in lines)
    return ProbeOutcome(forgery, 200, ProbeAnswer(peer, {}, "shop.example", told, found.remote_ip,
                                        found.protocol, found.verified, policy.source,
                                        policy.proto, "0" * 12))  # fmt: skip


def probe(
    proxies: tuple[Proxy, ...],
    trust: list[str],
    *,
    target: Target = HTTP,
    local: str = ME,
    me: str | None = ME,
) -> ProbeReport:
    """Return what a probe of a chain shows."""
    policy = TrustPolicy(trust)
    plan = plan_forgeries(source=policy.source, proto=policy.proto, scheme=target.scheme,
                          proxy=INNER, forged=("203.0.113.250", "203.0.113.251"))  # fmt: skip
    outcomes = [send(policy, proxies, each) for each in (HONEST, *plan)]
    return judge_probe(target, "192.0.2.5", outcomes, local=local, me=me)


def codes(report: ProbeReport) -> list[str]:
    """Return what was found, without the notes."""
    return [each.code for each in report.findings if each.code != "note"]


BOTH = [EDGE, INNER]


@pytest.mark.parametrize(
    ("proxies", "trust", "client", "scheme", "found"),
    [
        ((append, http), BOTH, "right", "right", []),
        ((overwrite, http), BOTH, "right", "right", []),
        ((keep, http), BOTH, "spoofable", "right",
         ["client-spoofable", "client-names-proxy", "client-hidden"]),
        ((keep, keep), BOTH, "spoofable", "spoofable",
         ["client-spoofable", "scheme-spoofable", "client-lost"]),
        ((append, http), [INNER], "names-outer-proxy", "right", ["proxy-not-listed"]),
        ((append, overwrite), BOTH, "names-outer-proxy", "spoofable",
         ["scheme-spoofable", "client-names-proxy"]),
        ((append, drop), BOTH, "lost", "spoofable", ["scheme-spoofable", "client-lost"]),
        ((append, https), BOTH, "right", "wrong-always", ["scheme-always-wrong"]),
        ((obeys, http), BOTH, "right-or-lost", "right", ["client-hidden"]),
        ((obeys,), [INNER], "right-or-lost", "spoofable", ["scheme-spoofable", "client-hidden"]),
        ((append,), [], "names-outer-proxy", "right", ["proxy-not-listed"]),
        ((), BOTH, "cannot-tell", "right", ["cannot-tell"]),
    ],
    ids=["right", "overwritten", "outer-keeps", "both-keep", "unlisted", "inner-overwrites",
         "inner-drops", "always-https", "nominated", "one-nominated", "nobody-listed", "no-proxy"],
)  # fmt: skip
def test_verdicts(
    proxies: tuple[Proxy, ...], trust: list[str], client: str, scheme: str, found: list[str]
) -> None:
    """Each chain has the verdict that its answers prove, and no better one."""
    report = probe(proxies, trust)
    assert (report.client, report.scheme) == (client, scheme)
    assert codes(report) == found


def test_scheme_of_https() -> None:
    """A request by https that the application takes for http has lost its scheme."""
    report = probe((append, http), BOTH, target=HTTPS)
    assert (report.scheme, codes(report)) == ("lost", ["scheme-lost"])


def test_what_each_proxy_did() -> None:
    """The table names the proxies by what the next one sees, and what they did to the list."""
    did = {
        name: [(each.address, each.did) for each in probe(proxies, BOTH).proxies]
        for name, proxies in {
            "right": (append, append), "outer": (keep, append), "inner": (append, overwrite),
            "neither": (keep, keep),
        }.items()
    }  # fmt: skip
    assert did == {
        "right": [(EDGE, "appends you to what is sent"), (INNER, "appends the proxy before it")],
        "outer": [(EDGE, "adds nothing, and passes on what is sent"),
                  (INNER, "appends the proxy before it")],
        "inner": [(EDGE, "cannot tell"), (INNER, "replaces the list by the proxy before it")],
        "neither": [(INNER, "adds nothing, and passes on what is sent")],
    }  # fmt: skip


def test_fields_of_the_whole_chain() -> None:
    """What the chain does to each field is what the model calls it."""
    does = {each.name: each.does for each in probe((append, http), BOTH).fields}
    assert does["x-forwarded-for"] == "append"
    assert does["x-forwarded-proto"] == "overwrite"
    assert does["x-real-ip"] == "pass"


def test_behind_nat_nothing_is_right() -> None:
    """Where the client may be this machine behind NAT or a proxy, that is not decided."""
    report = probe((append, http), BOTH, local="10.0.0.9", me=None)
    assert (report.client, report.knows_me) == ("cannot-tell", False)
    assert codes(report) == ["cannot-tell"]
    assert "--from" in report.findings[0].fix


@pytest.mark.parametrize(("address", "client"), [("9.9.9.9", "cannot-tell"), ("10.0.0.1", "right")])
def test_a_private_address_is_many_machines(address: str, client: str) -> None:
    """One's own private address in the list proves something in the same network only."""
    private = "10.0.0.9"
    outcomes = [
        each._replace(answer=each.answer and each.answer._replace(
            client=each.answer.client.replace(ME, private),
            head=tuple((name, value.replace(ME, private)) for name, value in each.answer.head),
        ))
        for each in outcomes_of()
    ]  # fmt: skip
    report = judge_probe(HTTP, address, outcomes, local=private, me=None)
    assert report.client == client


def test_behind_nat_what_is_proved_is_found() -> None:
    """A forgery that is believed needs no address of one's own; nor does an unlisted proxy."""
    report = probe((keep, http), BOTH, local="10.0.0.9", me=None)
    assert report.client == "spoofable"
    assert report.proxies[0].address == EDGE
    assert probe((append, http), [INNER], local="10.0.0.9", me=None).client == "names-outer-proxy"


def outcomes_of(*, last: ProbeOutcome | None = None) -> list[ProbeOutcome]:
    """Return those of a right chain, with another one at the end."""
    policy = TrustPolicy(BOTH)
    plan = plan_forgeries(source=policy.source, proto=policy.proto, scheme="http", proxy=INNER,
                          forged=("203.0.113.250", "203.0.113.251"))  # fmt: skip
    outcomes = [send(policy, (append, http), each) for each in (HONEST, *plan)]
    return outcomes if last is None else [*outcomes[:-1], last]


@pytest.mark.parametrize(
    "last",
    [
        ProbeOutcome(HONEST, 429, None, "status 429, Too Many Requests"),
        send(TrustPolicy([INNER]), (append, http), HONEST),
    ],
    ids=["limited", "another-chain"],
)
def test_refusals_prove_nothing_if_honest_ones_fail(last: ProbeOutcome) -> None:
    """If the last honest request is refused or answered otherwise, the verdict is open."""
    report = judge_probe(HTTP, EDGE, outcomes_of(last=last), local=ME, me=ME)
    assert (report.client, report.scheme) == ("cannot-tell", "cannot-tell")
    assert codes(report) == ["cannot-tell"]


def test_a_proxy_on_the_same_machine() -> None:
    """Where the peer has the prober's own address, nothing is right."""
    outcomes = outcomes_of()
    same = [each._replace(answer=each.answer and each.answer._replace(peer=ME, client=ME, head=()))
            for each in outcomes]  # fmt: skip
    assert judge_probe(HTTP, EDGE, same, local=ME, me=ME).client == "cannot-tell"


def test_underscores_that_come_through_are_a_note() -> None:
    """This server does not take them for the field; another one may."""
    report = probe((append, http), BOTH)
    notes = [each.detail for each in report.findings if each.code == "note"]
    assert any("underscores" in note for note in notes)


def test_json_holds_everything() -> None:
    """The saved report is JSON with each forgery and what became of it."""
    report = probe((keep, http), BOTH)
    value = json.loads(json.dumps(probe_as_dict(report, exit_code=1)))
    assert (value["version"], value["kind"], value["exit"]) == (1, "edgeserver-probe", 1)
    assert value["requests"] == report.requests == len(value["forgeries"]) + 2
    assert value["findings"][0]["sent"]["lines"] == [["X-Forwarded-For", "203.0.113.250"]]
    effects = {each["effect"] for each in value["forgeries"]}
    assert effects >= {"client", "refused", "nothing"}


def test_codes_are_those_of_configurations() -> None:
    """A probe has no finding of its own: the words are the same."""
    assert set(PROBE_CODES) <= set(CODES)


def test_codes_are_documented() -> None:
    """The reference of the probe names every finding that it has."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "audit-probe.md"
    text = page.read_text()
    assert all(f"`{code}`" in text for code in PROBE_CODES)
