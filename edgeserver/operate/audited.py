"""The audit of a running server: over which proxies requests come, and what is odd.

Decides which of the counts are told, in the form of the other audits' reports, so that one page
shows them all. It must not know how they are counted, nor how that page looks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from edgeserver.audit.page.document import PageSource, render_audit_page
from edgeserver.operate.report import Facts, ServerReport, total
from edgeserver.proxyheaders.explanation.codes import CODES
from edgeserver.proxyheaders.results import REASONS, UNVERIFIED

__all__ = ["live_audit", "render_live_page"]

REFRESH_S: Final = 10
"""After how long the page loads itself again."""

SHOWN: Final = 50
"""How many peers are told of, and how many lines of the policy."""

_OTHER: Final = "other"


def live_audit(facts: Facts, report: ServerReport) -> dict[str, Any]:
    """Return what is known, ready for JSON; names are added in later versions, never changed.

    Args:
        facts: What does not change.
        report: What does.
    """
    ever = total(report.rows)
    said = [each.said() for each in report.workers]
    told: dict[str, Any] = next((each for each in said if each), {})
    chains = _counted(ever, "audit_chains")
    peers = _peers(said)
    listed = {hop for chain in chains for hop in chain.split()} - {"...", _OTHER}
    listed |= {each["address"] for each in peers if each["listed"]}
    reasons = _counted(ever, "audit_reasons")
    requests = sum(count for key, count in ever.items() if key[0] == "requests_total")
    return {
        "version": 1,
        "kind": "edgeserver-live",
        "application": facts.application,
        "policy": {"lines": _lines(told) or list(facts.policy), "proxies": sorted(listed)},
        "requests": round(requests),
        "unverified": round(sum(reasons.get(name, 0.0) for name in UNVERIFIED)),
        "reasons": [
            {"reason": name, "meaning": REASONS[name], "requests": round(count)}
            for name, count in _ranked(reasons)
            if name in REASONS
        ],
        "chains": [
            {"hops": chain.split(), "requests": round(count, 1)} for chain, count in _ranked(chains)
        ],
        "peers": peers,
        "shapes": [
            {"shape": name, "requests": round(count)}
            for name, count in _ranked(_counted(ever, "audit_shapes"))
        ],
        "findings": _findings(told, _counted(ever, "audit_findings")),
    }


def render_live_page(value: Mapping[str, Any], *, version: str) -> bytes:
    """Return the page of a running server; it loads itself again, and nothing else."""
    source = PageSource(dict(value), "")
    return render_audit_page([source], made_s=time.time(), version=version, refresh_s=REFRESH_S)


def _counted(numbers: Mapping[tuple[str, ...], float], family: str) -> dict[str, float]:
    """Return the numbers of a family by their label."""
    return {key[1]: count for key, count in numbers.items() if key[0] == family and count}


def _ranked(counts: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))


def _lines(told: Mapping[str, Any]) -> list[str]:
    lines = told.get("policy")
    found = lines[:SHOWN] if isinstance(lines, list) else []
    return [each for each in found if isinstance(each, str)]


def _peers(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the peers that came most to the workers that live, theirs added up."""
    found: dict[str, dict[str, Any]] = {}
    for each in said:
        peers = each.get("peers")
        for peer in peers if isinstance(peers, list) else ():
            known = found.setdefault(
                peer["address"],
                {"address": peer["address"], "listed": False, "claims": False, "requests": 0},
            )
            known["listed"] = known["listed"] or peer["listed"]
            known["claims"] = known["claims"] or peer["claims"]
            known["requests"] += peer["requests"]
    return sorted(found.values(), key=lambda each: -each["requests"])[:SHOWN]


def _findings(told: Mapping[str, Any], counts: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the findings about the policy, and those about requests with how many had them."""
    about_policy = told.get("findings")
    found = [
        {**each, "requests": None}
        for each in (about_policy if isinstance(about_policy, list) else ())
        if isinstance(each, dict) and each.get("code") not in counts
    ]
    for code, count in _ranked(counts):
        if code in CODES:
            entry = CODES[code]
            found.append(
                {
                    "code": code,
                    "severity": entry.severity,
                    "detail": entry.meaning,
                    "fix": entry.fix,
                    "requests": round(count),
                }
            )
    return found
