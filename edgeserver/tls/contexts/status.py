"""The status of a listener, in values and in words: names, expiry, versions, client policy.

Decides how it is told. It changes nothing and opens no file.
"""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["HostStatus", "StatusSource", "render_names", "start_lines", "status_of_given"]

_DAY_S = 86400.0
_MAX_NAMES_SHOWN = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class HostStatus:
    """What one host serves now.

    Args:
        host: The configured name; empty for the default.
        versions: The versions offered, in words.
        client_policy: What is asked of clients, in words.
        names: What the certificate is for; empty where a given context does not say.
        key: The key's kind and size.
        fingerprint: SHA-256 of the certificate, hexadecimal.
        not_after: When the first certificate of the chain expires; None if unknown.
        renew_after: From when on it should have been renewed.
        loaded_at: When these files were read.
        repairs: What was repaired in the chain.
        warnings: What is wrong today with what is served.
        problem: Why newer files were not taken; empty if all is well.
    """

    host: str
    versions: str
    client_policy: str
    names: tuple[str, ...] = ()
    key: str = ""
    fingerprint: str = ""
    not_after: datetime.datetime | None = None
    renew_after: datetime.datetime | None = None
    loaded_at: datetime.datetime | None = None
    repairs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str = ""

    @property
    def days_left(self) -> float | None:
        """Days until expiry, negative after it; None if unknown."""
        if self.not_after is None:
            return None
        return (self.not_after - datetime.datetime.now(datetime.UTC)).total_seconds() / _DAY_S

    @property
    def should_renew(self) -> bool:
        """Whether it should have been renewed by now."""
        return self.renew_after is not None and self.renew_after <= datetime.datetime.now(
            datetime.UTC
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        times = {
            name: value.isoformat() if value else None
            for name, value in (
                ("not_after", self.not_after),
                ("renew_after", self.renew_after),
                ("loaded_at", self.loaded_at),
            )
        }
        return {
            "host": self.host,
            "names": list(self.names),
            "key": self.key,
            "fingerprint": self.fingerprint,
            "versions": self.versions,
            "client_policy": self.client_policy,
            "days_left": self.days_left,
            "repairs": list(self.repairs),
            "warnings": list(self.warnings),
            "problem": self.problem,
            **times,
        }


def status_of_given(context: ssl.SSLContext) -> HostStatus:
    """Return what can be said of a context that the application made."""
    modes = {
        ssl.CERT_NONE: "no client certificates",
        ssl.CERT_OPTIONAL: "client certificate optional",
        ssl.CERT_REQUIRED: "client certificate required",
    }
    low = "TLS 1.3" if context.minimum_version is ssl.TLSVersion.TLSv1_3 else "TLS 1.2 and 1.3"
    return HostStatus(host="", versions=low, client_policy=modes[context.verify_mode])


class StatusSource(Protocol):
    """What has a status for each host: `TLSContexts`."""

    def status(self) -> tuple[HostStatus, ...]:
        """Return what is served, per host."""
        ...


def start_lines(contexts: StatusSource) -> list[str]:
    """Return what is served, one line a host, each followed by lines that say `warning:`."""
    lines = []
    for each in contexts.status():
        label = f'TLS for "{each.host}"' if each.host else "TLS"
        parts = [render_names(each.names), _render_expiry(each), each.versions]
        parts.append(each.client_policy)
        lines.append(f"{label}: " + "; ".join(part for part in parts if part))
        if each.problem:
            lines.append(f"warning: newer files are not in use: {each.problem}")
        lines += [f"warning: {warning}" for warning in each.warnings]
        lines += [f"warning: chain repaired in memory: {repair}" for repair in each.repairs]
        if each.should_renew and not each.warnings and each.days_left is not None:
            lines.append(f"warning: {render_names(each.names)}: {_render_expiry(each)}: renew it")
    return lines


def render_names(names: tuple[str, ...]) -> str:
    """Return the first names of a certificate, and how many more there are."""
    shown = ", ".join(names[:_MAX_NAMES_SHOWN])
    more = len(names) - _MAX_NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _render_expiry(each: HostStatus) -> str:
    if each.not_after is None or each.days_left is None:
        return ""
    days = int(each.days_left)
    if each.days_left < 0:
        return f"EXPIRED on {each.not_after:%Y-%m-%d}"
    unit = "day" if days == 1 else "days"
    return f"expires in {days} {unit} ({each.not_after:%Y-%m-%d})"
