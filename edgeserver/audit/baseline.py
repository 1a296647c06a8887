"""The baseline of a check: findings that are known, and do not count again.

Decides what makes two findings the same one: not the line, which moves, and not the words.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from edgeserver.errors import ConfigurationError

__all__ = ["Fingerprints", "parse_baseline", "render_baseline"]

MAX_BASELINE_BYTES = 16 * 1024 * 1024


class Fingerprints:
    """Gives each finding of one report its fingerprint; those that are alike are numbered."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, ...]] = Counter()

    def of(self, *parts: str) -> str:
        """Return 32 hex digits for a finding.

        Args:
            parts: What tells it from others, of whatever length.
        """
        self._seen[parts] += 1
        text = json.dumps([*parts, self._seen[parts]])
        return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def parse_baseline(content: bytes, name: str) -> set[str]:
    """Return the fingerprints of a baseline.

    Args:
        content: The file.
        name: Its name, escaped, for what is said.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        if len(content) > MAX_BASELINE_BYTES:
            raise ValueError
        value = json.loads(content)
        if value["version"] != 1:
            raise ValueError
        return {str(each["fingerprint"]) for each in value["findings"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"{name}: not a baseline; write one with --update-baseline"
        ) from error


def render_baseline(findings: Iterable[dict[str, Any]]) -> str:
    """Return a baseline with these findings, one a line, so that changes can be reviewed.

    Args:
        findings: Each with its `fingerprint`, and whatever helps people.
    """
    lines = ",\n".join(json.dumps(each) for each in findings)
    return f'{{"version": 1, "findings": [\n{lines}\n]}}\n'
