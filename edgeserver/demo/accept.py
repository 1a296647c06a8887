"""Which of two forms a client would rather have: JSON or a page.

Decides by the field `Accept` alone.
"""

from __future__ import annotations

__all__ = ["prefers_json"]

_MOST_RANGES = 32


def prefers_json(accept: str) -> bool:
    """Tell whether an `Accept` field ranks `application/json` above `text/html`.

    A wildcard counts for both, so that a browser and a bare curl get the page.

    Source: RFC 9110 section 12.5.1.
    """
    weights: dict[str, float] = {}
    for element in accept.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        name, *parameters = element.split(";")
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                weight = _parse_weight(value.strip())
        weights.setdefault(name.strip().lower(), weight)
    anything = weights.get("*/*", 0.0)
    as_json = weights.get("application/json", weights.get("application/*", anything))
    as_html = weights.get("text/html", weights.get("text/*", anything))
    return as_json > as_html


def _parse_weight(text: str) -> float:
    """Return a quality value; one that is none counts as 0, so that it decides nothing."""
    whole, _, part = text.partition(".")
    if whole not in ("0", "1") or len(part) > 3 or (part and not (part + "0").isdecimal()):
        return 0.0
    return min(1.0, float(f"{whole}.{part or 0}")) if text.isascii() else 0.0
