"""The flags of a trust policy, for every command that has one: `serve` and `audit`.

Decides which flags these are. What they mean together is `config/trust.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from edgeserver.cli.options import make_option
from edgeserver.cli.sources import flags_said
from edgeserver.config.effective import Effective, merge, values_of
from edgeserver.config.file import ListenerSaid, load_config_file, parse_file
from edgeserver.config.model import settings_of
from edgeserver.config.origins import Said, WrongConfiguration, spell
from edgeserver.config.trust import build_policy, describe_policy, split_list
from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape

__all__ = [
    "TRUST_OPTIONS",
    "XHEADERS_OPTIONS",
    "build_policy",
    "describe_policy",
    "split_list",
    "with_config",
]

_XHEADERS = ("xheaders", "trusted-downstream")

TRUST_OPTIONS: tuple[click.Option, ...] = (
    click.Option(
        ["--config"],
        metavar="FILE",
        help="The configuration of serve that says the rest of these.",
    ),
    click.Option(
        ["--listener"],
        metavar="ADDRESS",
        help="With --config: for which of its listeners, where one has trust of its own.",
    ),
    *map(make_option, settings_of(taker="trust")),
)
"""The flags of a trust policy, and of the file that may say it."""

XHEADERS_OPTIONS: tuple[click.Option, ...] = tuple(
    make_option(each) for each in settings_of(table="proxies") if each.name in _XHEADERS
)
"""The flags of Tornado's rules."""


def with_config(values: dict[str, Any]) -> tuple[dict[str, Any], Callable[[str], str]]:
    """Return what flags and the file of `--config` say of proxies, and what spells complaints.

    Args:
        values: The parameters of a command that has `TRUST_OPTIONS`, by their names.

    Raises:
        ConfigurationError: The file is wrong, or does not say which listener is meant.
    """
    path, address = values.get("config"), values.get("listener")
    if path is None:
        if address is not None:
            raise ConfigurationError("--listener names one of a file; add --config FILE")
        return values, str
    file = parse_file(load_config_file(path), path)
    flags = flags_said(values)
    effective = merge(flags, {}, file)
    if effective.errors:
        raise WrongConfiguration(effective.errors)
    said = {**_said_at(effective, address, escape(path)), **flags}
    merged = values_of(said)
    if "trust" in flags or "trust_file" in flags:
        for key in ("trust", "trust_file"):
            if key not in flags:
                merged[key] = ()
    return {**values, **merged}, lambda message: spell(message, said)


def _said_at(effective: Effective, address: str | None, path: str) -> dict[str, Said]:
    """Return what holds for the listener that was asked for.

    Raises:
        ConfigurationError: There is none such, or it was not said which one.
    """
    keys = {each.key for each in settings_of(taker="trust")}
    own = [each for each in effective.listeners if keys & each.said.keys()]
    if address is None and not own:
        return dict(effective.said)
    shared = effective.said["bind"].value if "bind" in effective.said else ()
    known = [*shared, *map(_address_of, effective.listeners)]
    if address is None:
        raise ConfigurationError(
            f"{path}: listeners have trust of their own; say which one with --listener"
            f" {' or '.join(escape(each) for each in known[:6])}"
        )
    for listener in effective.listeners:
        if _address_of(listener) == address:
            return effective.said_of(listener)
    if address in shared:
        return dict(effective.said)
    raise ConfigurationError(
        f"--listener {escape(address)}: {path} has no such address; write one of"
        f" {', '.join(escape(each) for each in known[:6]) or 'its binds'}"
    )


def _address_of(listener: ListenerSaid) -> str:
    text: str = listener.said["bind"].value[0]
    return text
