"""Names for people: of fields, and of what a location matches."""

from __future__ import annotations

from edgeserver.chains.patterns import sample_pattern

__all__ = ["display_name", "url_path"]

_SPELLED = {"x-real-ip": "X-Real-IP", "cf-connecting-ip": "CF-Connecting-IP"}


def display_name(name: str) -> str:
    """Return a field's name as people write it."""
    return _SPELLED.get(name) or "-".join(word.capitalize() for word in name.split("-"))


def url_path(path: str) -> str:
    """Return a path that a location or rule matches, as far as can be told."""
    words = path.split()
    if not words:
        return "/"
    if words[0] in ("~", "~*") and len(words) > 1:
        sample = sample_pattern(words[1], nocase=words[0] == "~*")
        return sample if sample and sample.startswith("/") and sample.isprintable() else "/"
    return words[-1].rstrip("*") if words[-1].startswith("/") else "/"
