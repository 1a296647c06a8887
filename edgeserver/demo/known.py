"""What the server knows of a request, as JSON can hold it.

Decides what is told and how much of it; everything that a stranger wrote is escaped here. It must
not know how it is shown.
"""

from __future__ import annotations

from typing import Any

from edgeserver.support.escape import escape

__all__ = ["describe_request"]

_MOST_FIELDS = 100
_MOST_BYTES = 2000


def describe_request(request: Any) -> dict[str, Any]:
    """Return what the server knows of `request`, as JSON can hold it."""
    context = getattr(request.connection, "context", None)
    names = list(request.headers.get_all())
    return {
        "client": {"address": request.remote_ip, "scheme": request.protocol},
        "peer": getattr(context, "peer_ip", None),
        "request": {
            "method": escape(request.method, _MOST_BYTES),
            "target": escape(request.uri, _MOST_BYTES),
            "version": request.version,
            "headers": [
                [escape(name, _MOST_BYTES), escape(value, _MOST_BYTES)]
                for name, value in names[:_MOST_FIELDS]
            ],
            "headers_left_out": max(0, len(names) - _MOST_FIELDS),
        },
        "tls": _describe_tls(getattr(context, "tls", None)),
        "explanation": _describe_provenance(request),
    }


def _describe_tls(tls: Any) -> dict[str, Any] | None:
    """Return what is known of the TLS connection, None for a plain one."""
    if tls is None:
        return None
    known = {}
    for name in ("version", "cipher", "sni", "alpn", "resumed", "ja4"):
        value = getattr(tls, name, None)
        if value is not None:
            known[name] = value if isinstance(value, bool) else escape(str(value))
    return known


def _describe_provenance(request: Any) -> dict[str, Any] | None:
    """Return the proof for the client address, where the server has one."""
    explain = getattr(request, "explain", None)
    proof = explain() if callable(explain) else None
    # A Provenance escapes what was claimed when it becomes a dict.
    return None if proof is None else proof.as_dict()
