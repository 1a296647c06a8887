"""Trust settings: from what flags say to a policy, and the lines that say what is in force.

Decides which of them contradict each other, and what stands for those that are not given. What a
policy means is `edgeserver.proxyheaders`'.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from edgeserver.config.ip_ranges import load_ranges, written_s
from edgeserver.config.model import setting, settings_of
from edgeserver.errors import ConfigurationError, TrustConfigurationError
from edgeserver.proxyheaders import TrustedProxy, TrustPolicy
from edgeserver.support.escape import escape

__all__ = [
    "build_policy",
    "check_trust",
    "describe_policy",
    "names_proxies",
    "split_list",
    "stale_files",
]

_ONLY_WITH_TRUST = ("source", "proto-header", "max-hops", "unlisted", "undeclared")

_ARGUMENT = re.compile(r"\b(source|proto|max_hops|unlisted|undeclared)(='[^']*'|=None|(?= out\b))")
"""An argument of the policy, as its complaints write it."""

_ADVICE_TO_PROGRAMS = re.compile(r"your proxies, or pass allow_all=True if nobody else can connect")

_OVERWRITE = "make sure that the outermost proxy overwrites it"


def split_list(values: Sequence[str]) -> list[str]:
    """Return the entries of a repeatable flag whose values are comma-separated."""
    return [entry.strip() for value in values for entry in value.split(",") if entry.strip()]


def names_proxies(values: Mapping[str, Any]) -> bool:
    """Return whether the settings list proxies whose word counts."""
    return bool(split_list(values.get("trust") or ()) or values.get("trust_file"))


def check_trust(values: Mapping[str, Any]) -> None:
    """Refuse settings that contradict each other or say nothing alone; no file is read.

    Args:
        values: What was given for each setting of the table `proxies`, by its key.

    Raises:
        ConfigurationError: They do.
    """
    for name in ("trust", "trusted-downstream"):
        _refuse_empty(name, values.get(setting(name).key) or ())
    if values.get("trust_file_max_age") is not None and not values.get("trust_file"):
        raise ConfigurationError(
            "--trust-file-max-age without a file whose age it limits; add --trust-file FILE"
        )
    listed = names_proxies(values)
    if values.get("xheaders"):
        if listed:
            raise ConfigurationError(
                "--xheaders believes every peer, --trust only those listed: give one of the two, "
                "--trust if in doubt"
            )
        _refuse_lone(values)
    elif values.get("trusted_downstream"):
        raise ConfigurationError(
            "--trusted-downstream says which proxies to skip in X-Forwarded-For, which is only "
            "read with --xheaders; add --xheaders, or use --trust"
        )
    elif not listed:
        _refuse_lone(values)


def build_policy(values: Mapping[str, Any]) -> TrustPolicy | None:
    """Return the policy that the settings describe, or None if they describe none.

    Args:
        values: What was given for each setting of the table `proxies`, by its key.

    Raises:
        ConfigurationError: A value or a file is wrong, or two settings contradict each other.
    """
    check_trust(values)
    if values.get("xheaders"):
        downstream = split_list(values.get("trusted_downstream") or ())
        with _in_flags("trusted-downstream"):
            return TrustPolicy.tornado(trusted_downstream=downstream)
    if not names_proxies(values):
        return None
    entries: list[str | TrustedProxy] = list(split_list(values.get("trust") or ()))
    for path in values.get("trust_file") or ():
        name = os.path.basename(path)
        try:
            ranges = load_ranges(path)
        except TrustConfigurationError as error:
            raise TrustConfigurationError(f"{setting('trust-file').flag} {error}") from error
        entries.extend(TrustedProxy(text, name=escape(name)) for text in ranges)
    options: dict[str, Any] = {}
    if values.get("proto_header") is not None:
        proto = values["proto_header"]
        options["proto"] = None if proto.lower() == "none" else proto
    for name in ("source", "max_hops", "unlisted", "undeclared"):
        if values.get(name) is not None:
            options[name] = values[name]
    with _in_flags("trust"):
        return TrustPolicy(entries, **options)


@contextmanager
def _in_flags(entries: str) -> Iterator[None]:
    """Put the flag in the place of each argument that a complaint of the policy names.

    Args:
        entries: The setting that the policy's entries come from.
    """
    try:
        yield
    except TrustConfigurationError as error:
        text = _ARGUMENT.sub(_spell_argument, str(error))
        # No flag believes everybody: a list of proxies is what whoever wrote this is after.
        text = _ADVICE_TO_PROGRAMS.sub("the addresses of your proxies, such as 10.0.0.5", text)
        if text.startswith("trusted prox"):
            text = f"{setting(entries).flag}: {text}"
        raise TrustConfigurationError(text) from error


def _spell_argument(match: re.Match[str]) -> str:
    """Return the flag for an argument of the policy, with its value."""
    for each in settings_of(taker="trust"):
        if each.parameter == match[1]:
            value = (match[2] or "").removeprefix("=").strip("'")
            return f"{each.flag} {value.lower()}" if value else each.flag
    return match[0]


def _refuse_empty(name: str, values: Sequence[str]) -> None:
    """Refuse a list without an entry: an unset variable must not turn a policy off.

    Raises:
        ConfigurationError: There is one.
    """
    for value in values:
        if not split_list([value]):
            raise ConfigurationError(
                f"{setting(name).flag} {escape(value)!r} names no proxy; give it an address or a "
                "range, or leave the flag out"
            )


def _refuse_lone(values: Mapping[str, Any]) -> None:
    """Refuse flags that mean something only beside `--trust`.

    Raises:
        ConfigurationError: There is one.
    """
    for name in _ONLY_WITH_TRUST:
        if values.get(setting(name).key) is not None:
            raise ConfigurationError(
                f"{setting(name).flag} says what to make of trusted proxies and others, and none "
                "is named; add --trust or --trust-file"
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


def stale_files(values: Mapping[str, Any], *, now_s: float) -> list[str]:
    """Return a warning for each file of ranges that is older than it may be.

    Args:
        values: What was given for each setting of the table `proxies`, by its key.
        now_s: Seconds since the epoch.
    """
    most = values.get("trust_file_max_age")
    if most is None:
        return []
    found = []
    for path in values.get("trust_file") or ():
        try:
            days = (now_s - written_s(path)) / 86400
        except OSError:
            continue  # who loads it says so
        if days > most:
            found.append(
                f"ranges-stale: {escape(path)} is {days:.0f} days old, and may be {most} "
                f"({setting('trust-file-max-age').flag}); fetch the provider's list again, and "
                "send SIGHUP"
            )
    return found


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
