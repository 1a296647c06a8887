"""The lines of the audit log, version 2: one for each request, one for the policy in force.

Decides what a line holds, and that nothing in it is long or unescaped. A line has everything that
`TrustPolicy.explain` needs to find the same client again. It must not know when lines are written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from edgeserver.proxyheaders import TrustPolicy
from edgeserver.proxyheaders.explanation.render import Hop, Provenance
from edgeserver.proxyheaders.results import Finding
from edgeserver.proxyheaders.stripping import DECLARABLE, is_forwarding_name
from edgeserver.support.escape import DEFAULT_LIMIT, escape

__all__ = ["MAX_HEAD", "MAX_TARGET", "policy_id", "render_audit_line", "render_policy_line"]

MAX_TARGET = 2048
"""How many bytes of a request target are shown."""

MAX_HEAD = 2048
"""How many characters of forwarding fields are shown, names and escaped values together."""

_encode = json.JSONEncoder(separators=(",", ":")).encode
_MAX_NAME = 200
_MAX_WORD = 128


def render_audit_line(
    provenance: Provenance,
    *,
    method: str,
    target: str,
    now: float,
    pairs: Iterable[tuple[bytes, bytes]] = (),
    bound: Any = None,
    policy: Any = None,
    request_id: str | None = None,
) -> str:
    """Return one line of JSON, ASCII only, without its line feed.

    Args:
        provenance: The proof.
        method: The method, as sent.
        target: The request target, as sent; shown up to `MAX_TARGET` bytes.
        now: Seconds since the epoch when the request was resolved.
        pairs: The fields of the head.
        bound: The policy on the connection, a `Bound`; None leaves out what it says.
        policy: The policy itself, a `TrustPolicy`, where `bound` is given.
        request_id: The id that the server has given the request; without one it is what the head
            says in X-Request-ID, whoever sent it.
    """
    peer = provenance.hops[0] if provenance.hops else None
    line: dict[str, Any] = {
        "v": 2,
        "time": _time(now),
        "peer": _shown(peer.claimed) if peer is not None else None,
        "method": _shown(method),
        "target": _shown(target, MAX_TARGET),
    }
    pairs = [(name.lower(), value) for name, value in pairs]
    for name, value in pairs:
        if name == b"host":
            line["host"] = _shown(value, _MAX_WORD)
        elif name == b"x-request-id":
            line["request_id"] = _shown(value, _MAX_WORD)
    if request_id is not None:
        line["request_id"] = request_id
    if bound is not None:
        line["conn"] = _connection(bound)
        line["policy"] = policy_id(policy)
    line["head"], cut = _head(pairs, policy)
    if cut:
        line["head_cut"] = cut
    _add_decision(line, provenance)
    return _encode(line)


def _add_decision(line: dict[str, Any], provenance: Provenance) -> None:
    """Write who the client is, and why."""
    resolved = provenance.resolved
    line |= {
        "client": resolved.remote_ip,
        "scheme": resolved.protocol,
        "verified": resolved.verified,
        "reason": resolved.reason,
        "hops": [_hop(hop) for hop in provenance.hops],
        "findings": [_finding(finding) for finding in provenance.findings],
    }
    for key, found in (("port", resolved.port), ("zone", resolved.zone)):
        if found is not None:
            line[key] = found
    if resolved.declared is not None:
        line["declared"] = resolved.declared.as_dict()
    if provenance.unseen:
        line["unseen"] = provenance.unseen


def _shown(value: bytes | str, limit: int = DEFAULT_LIMIT) -> str:
    """Return what `escape` gives, faster where there is nothing to escape."""
    if len(value) <= limit and value.isascii():
        text = value if isinstance(value, str) else value.decode("ascii")
        if text.isprintable() and "\\" not in text:
            return text
    return escape(value, limit)


def _time(now: float) -> str:
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")


def _connection(bound: Any) -> dict[str, Any]:
    """Return what the connection itself says: its scheme, the peer's port, its prelude."""
    peer = bound.peer
    shown: dict[str, Any] = {"scheme": peer.scheme}
    if peer.port is not None:
        shown["port"] = peer.port
    prelude = peer.prelude
    if prelude is not None:
        shown["prelude"] = {
            "version": prelude.version,
            "command": prelude.command,
            "source": prelude.source and _shown(prelude.source),
            "source_port": prelude.source_port,
            "destination": prelude.destination and _shown(prelude.destination),
            "destination_port": prelude.destination_port,
        }
    return shown


def _head(pairs: list[tuple[bytes, bytes]], policy: Any) -> tuple[list[list[str]], int]:
    """Return the forwarding fields, and how many bytes of them are left out.

    Where they are too long it is the left end that is left out: the walk begins at the right.
    """
    source, proto = (policy.source, policy.proto) if policy is not None else ("", "")
    shown: list[list[str]] = []
    room, cut = MAX_HEAD, 0
    for name, value in reversed(pairs):
        if not _is_forwarding(name, source, proto) and not (
            name == b"connection" and _nominates(value, source, proto)
        ):
            continue
        written = _shown(name, _MAX_NAME)
        part, left = _right_end(value, room - len(written))
        cut += left
        if left and not part:
            cut += len(name)
            continue
        room -= len(written) + len(part)
        shown.append([written, part])
    shown.reverse()
    return shown, cut


def _right_end(value: bytes, room: int) -> tuple[str, int]:
    """Return as much of a value's right end as there is room for, and how much is left out."""
    if room <= 0:
        return "", len(value)
    kept = value[-room:]
    text = _shown(kept, len(kept))
    while len(text) > room:
        kept = kept[max(1, (len(text) - room) // 4) :]
        text = _shown(kept, len(kept))
    return text, len(value) - len(kept)


@lru_cache(maxsize=512)
def _is_forwarding(name: bytes, source: str, proto: str | None) -> bool:
    """Return whether a field may say something of the client, under its name or an alias."""
    extra = frozenset(each.encode() for each in (source, proto) if each)
    return is_forwarding_name(name.replace(b"_", b"-"), extra) or name in DECLARABLE


def _nominates(value: bytes, source: str, proto: str | None) -> bool:
    """Return whether `Connection` asks that such a field be removed."""
    return any(
        _is_forwarding(word.strip(b" \t").lower(), source, proto) for word in value.split(b",")
    )


def _hop(hop: Hop) -> dict[str, Any]:
    """Return a hop without what follows from the rest, and without the words for it."""
    shown: dict[str, Any] = {"field": hop.field, "verdict": hop.verdict}
    claimed = _shown(hop.claimed)
    if hop.address is not None:
        shown["address"] = hop.address
    if claimed != hop.address:
        shown["claimed"] = claimed
    if hop.port is not None:
        shown["port"] = hop.port
    if hop.zone is not None:
        shown["zone"] = hop.zone
    if hop.line:
        shown["line"] = hop.line
    if hop.index is not None:
        shown["index"] = hop.index
    if hop.rule is not None:
        shown["rule"] = hop.rule
    return shown


def _finding(finding: Finding) -> dict[str, str]:
    return {"code": finding.code, "detail": finding.detail}


# -- the policy ----------------------------------------------------------------------------------


def _policy(policy: TrustPolicy) -> dict[str, Any]:
    """Return a policy in the one form that its id is made from: all that changes a decision."""
    declared = {"sets": policy.sets} if any(policy.sets) else {}
    return {
        "mode": policy.mode,
        "proxies": [_shown(each) for each in policy.proxies],
        **declared,
        "source": policy.source,
        "proto": policy.proto,
        "max_hops": policy.max_hops,
        "unlisted": policy.unlisted,
        "undeclared": policy.undeclared,
        "allow_all": policy.allow_all,
    }


@lru_cache(maxsize=16)
def policy_id(policy: TrustPolicy) -> str:
    """Return 12 hex digits that tell a policy from others: of the SHA-256 of its settings."""
    text = json.dumps(_policy(policy), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def render_policy_line(policy: TrustPolicy, *, now: float) -> str:
    """Return the line that says which policy is in force from here on.

    Args:
        policy: The policy.
        now: Seconds since the epoch.
    """
    line = {
        "v": 2,
        "kind": "policy",
        "time": _time(now),
        "id": policy_id(policy),
        "policy": _policy(policy),
    }
    return json.dumps(line, separators=(",", ":"))
