"""The findings of the doctor: what is wrong, the fix, and the grade that is left.

Decides how findings become a grade. It finds nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["GRADE_CAPS", "Defect", "Report"]

GRADE_CAPS = {
    # every client, or every current one, refuses
    "unreadable": "F",
    "damaged": "F",
    "expired": "F",
    "not-yet-valid": "F",
    "key-mismatch": "F",
    "name-missing": "F",
    "no-san": "F",
    "not-for-servers": "F",
    "key-usage": "F",
    "explicit-curve": "F",
    "weak-key": "F",
    "weak-signature": "F",
    "crl-expired": "F",
    "crl-forged": "F",
    "handshake-failed": "F",
    "unusable": "F",
    "untrusted": "F",
    # some clients refuse, or some attacker gains
    "intermediate-missing": "C",
    "self-signed": "C",
    "key-readable": "C",
    "old-version": "C",
    "weak-cipher": "C",
    # it works today, and should be put right
    "renew-soon": "B",
    "chain-order": "B",
    "chain-duplicate": "B",
    "chain-stranger": "B",
    "root-included": "B",
    "name-unused": "B",
    "no-tls13": "B",
}
"""The best grade that a finding leaves, by its code."""

_NO_DEFECTS = frozenset(("name-unused",))
"""What may be as it is: a further name harms nobody."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that is wrong.

    Args:
        code: A key of `GRADE_CAPS`.
        where: The file or the endpoint.
        what: What is wrong, as a sentence without a full stop.
        fix: What to do about it.
    """

    code: str
    where: str
    what: str
    fix: str

    @property
    def grade(self) -> str:
        """The best grade that it leaves."""
        return GRADE_CAPS[self.code]


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found.

    Args:
        subjects: One line for each thing looked at.
        findings: What is wrong.
        notes: What is worth knowing and not wrong.
    """

    subjects: list[str] = field(default_factory=list)
    findings: list[Defect] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, code: str, where: str, what: str, fix: str) -> None:
        """Add a finding, once."""
        finding = Defect(code, where, what, fix)
        if finding not in self.findings:
            self.findings.append(finding)

    def extend(self, others: Iterable[Report]) -> None:
        """Take over what other reports say."""
        for other in others:
            self.subjects += other.subjects
            self.findings += other.findings
            self.notes += other.notes

    @property
    def grade(self) -> str:
        """A to F: the worst of what the findings leave."""
        return max((finding.grade for finding in self.findings), default="A")

    @property
    def asks_for_action(self) -> bool:
        """Whether anything is to be put right: not where all is that a name is not used."""
        return any(each.code not in _NO_DEFECTS for each in self.findings)

    @property
    def reasons(self) -> list[str]:
        """The codes that led to the grade; empty for an A."""
        grade = self.grade
        return list(dict.fromkeys(each.code for each in self.findings if each.grade == grade))

    def as_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "grade": self.grade,
            "reasons": self.reasons,
            "subjects": self.subjects,
            "findings": [{**asdict(each), "grade": each.grade} for each in self.findings],
            "notes": self.notes,
        }

    def render(self) -> list[str]:
        """Return it as lines for people, the worst finding first."""
        lines = list(self.subjects)
        for each in sorted(self.findings, key=lambda finding: finding.grade, reverse=True):
            lines.append(f"[{each.grade}] {each.code}: {each.where}: {each.what}")
            lines.append(f"    fix: {each.fix}")
        lines += [f"note: {note}" for note in self.notes]
        why = ", ".join(self.reasons) or "nothing to put right"
        lines.append(f"grade {self.grade}: {why}")
        return lines
