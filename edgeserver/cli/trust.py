"""The flags of a trust policy, for every command that has one: `serve` and `audit explain`.

Decides how flags become a policy, and the lines that say what is in force. What a policy means is
`edgeserver.proxyheaders`'.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from edgeserver.cli.options import flag, list_flag, switch
from edgeserver.config.ip_ranges import load_ranges
from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from edgeserver.support.escape import escape

__all__ = ["TRUST_OPTIONS", "XHEADERS_OPTIONS", "build_policy", "describe_policy", "split_list"]

_STRIP_OR_KEEP = click.Choice(["strip", "keep"])

TRUST_OPTIONS: tuple[click.Option, ...] = (
    list_flag(
        "--trust",
        "CIDR[,...]",
        "Proxies to believe: addresses, ranges, 'unix:', 'loopback', 'private'.",
    ),
    list_flag(
        "--trust-file", "FILE", "A file of proxies to believe: one range a line, '#' comments."
    ),
    flag(
        "--source",
        "HEADER",
        "The header that names the client: x-forwarded-for (default), forwarded, "
        "or one that holds a single address.",
    ),
    flag(
        "--proto-header",
        "HEADER",
        "The header that names the scheme: x-forwarded-proto (default), or 'none'.",
    ),
    flag("--max-hops", "N", "How many entries of the source to examine (default 20).", type=int),
    flag(
        "--unlisted",
        "strip|keep",
        "Whether applications see forwarding headers of unlisted peers (default strip).",
        type=_STRIP_OR_KEEP,
    ),
    flag(
        "--undeclared",
        "strip|keep",
        "Whether they see those of proxies beside the source and the scheme header "
        "(default strip).",
        type=_STRIP_OR_KEEP,
    ),
)
"""The flags of a trust policy."""

XHEADERS_OPTIONS: tuple[click.Option, ...] = (
    switch(
        "--xheaders",
        "Tornado's rules: believe X-Real-Ip, X-Forwarded-For and the like of any peer.",
    ),
    list_flag(
        "--trusted-downstream",
        "IP|CIDR[,...]",
        "With --xheaders: proxies to skip in X-Forwarded-For, from the right.",
    ),
)
"""The flags of Tornado's rules."""

_ONLY_WITH_TRUST = {
    "source": "--source",
    "proto_header": "--proto-header",
    "max_hops": "--max-hops",
    "unlisted": "--unlisted",
    "undeclared": "--undeclared",
}


_OVERWRITE = "make sure that the outermost proxy overwrites it"


def split_list(values: Sequence[str]) -> list[str]:
    """Return the entries of a repeatable flag whose values are comma-separated."""
    return [entry.strip() for value in values for entry in value.split(",") if entry.strip()]


def build_policy(values: Mapping[str, Any]) -> TrustPolicy | None:
    """Return the policy that the flags describe, or None if they describe none.

    Args:
        values: The values of `TRUST_OPTIONS`, and of `XHEADERS_OPTIONS` where the command has them.

    Raises:
        ConfigurationError: A value is wrong, or two flags contradict each other.
    """
    for name in ("trust", "trusted_downstream"):
        _refuse_empty(name, values.get(name) or ())
    entries: list[str | TrustedProxy] = list(split_list(values.get("trust") or ()))
    for path in values.get("trust_file") or ():
        name = os.path.basename(path)
        entries.extend(TrustedProxy(text, name=escape(name)) for text in load_ranges(path))
    downstream = split_list(values.get("trusted_downstream") or ())
    if values.get("xheaders"):
        if entries:
            raise ConfigurationError(
                "--xheaders believes every peer, --trust only those listed: give one of the two, "
                "--trust if in doubt"
            )
        _refuse_lone(values)
        return TrustPolicy.tornado(trusted_downstream=downstream)
    if downstream:
        raise ConfigurationError(
            "--trusted-downstream says which proxies to skip in X-Forwarded-For, which is only "
            "read with --xheaders; add --xheaders, or use --trust"
        )
    if not entries:
        _refuse_lone(values)
        return None
    options: dict[str, Any] = {}
    if values.get("source") is not None:
        options["source"] = values["source"]
    if values.get("proto_header") is not None:
        proto = values["proto_header"]
        options["proto"] = None if proto.lower() == "none" else proto
    for name in ("max_hops", "unlisted", "undeclared"):
        if values.get(name) is not None:
            options[name] = values[name]
    return TrustPolicy(entries, **options)


def _refuse_empty(name: str, values: Sequence[str]) -> None:
    """Refuse a list without an entry: an unset variable must not turn a policy off.

    Raises:
        ConfigurationError: There is one.
    """
    for value in values:
        if not split_list([value]):
            flag = "--" + name.replace("_", "-")
            raise ConfigurationError(
                f"{flag} {escape(value)!r} names no proxy; give it an address or a range, "
                "or leave the flag out"
            )


def _refuse_lone(values: Mapping[str, Any]) -> None:
    """Refuse flags that mean something only beside `--trust`.

    Raises:
        ConfigurationError: There is one.
    """
    for key, name in _ONLY_WITH_TRUST.items():
        if values.get(key) is not None:
            raise ConfigurationError(
                f"{name} says what to make of trusted proxies and others, and none is named; "
                "add --trust or --trust-file"
            )


def describe_policy(policy: TrustPolicy | None) -> list[str]:
    """Return what is in force, as lines for the start of a server.

    Args:
        policy: The policy, or None where no header is read.
    """
    if policy is None or policy.mode == "off":
        return ["client address: the peer's; no header is read"]
    lines = []
    skipped = f", skipping {_shortened(policy.proxies)}" if policy.proxies else ""
    if policy.mode == "tornado":
        lines.append(
            "client address: X-Real-Ip, else X-Forwarded-For from the right"
            f"{skipped}, of any peer (--xheaders)"
        )
        lines.append(f"scheme: X-Scheme, else X-Forwarded-Proto, as sent by any peer: {_OVERWRITE}")
    else:
        proxies = _shortened(policy.proxies)
        lines.append(
            f"client address: {_title(policy.source)} of trusted proxies {proxies}; "
            f"at most {policy.max_hops} hops"
        )
        lines.append(_describe_scheme(policy, proxies))
    lines.extend(
        f"warning: {warning.code}: {warning.detail}; {warning.fix}" for warning in policy.warnings
    )
    return lines


def _describe_scheme(policy: TrustPolicy, proxies: str) -> str:
    """Return who says by which scheme clients came, and what that takes."""
    if policy.proto is None:
        return "scheme: the connection's own; no header is read"
    if policy.source == "forwarded":
        return "scheme: the proto of the element of Forwarded that names the client"
    return f"scheme: {_title(policy.proto)}, as sent by {proxies}: {_OVERWRITE}"


def _title(name: str) -> str:
    """Return a header name as people write it."""
    return "-".join(part.capitalize() for part in name.split("-"))


def _shortened(entries: Sequence[str]) -> str:
    """Return a list for a sentence; beyond a few, a count."""
    shown = ", ".join(escape(entry) for entry in entries[:6])
    return f"{shown} and {len(entries) - 6} more" if len(entries) > 6 else shown or "(none)"
