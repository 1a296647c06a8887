"""Flags that say which certificate https listeners have.

Decides which of them contradict each other, and that they are options of the `ssl_options` dict;
what the options mean is `edgeserver.tls`'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.config.model import setting, settings_of
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import ServePlan, TLSRequest
from edgeserver.support.escape import escape

__all__ = ["GROUP", "request_of"]

_PARSED = ("key-password-file", "tls-host")
"""Flags whose values are not what their option takes."""


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write the TLS options of the https listeners, if there is a certificate, into `plan`."""
    for name in ("certfile", "keyfile", "key-password-file") if values["dev_tls"] else ():
        if values[setting(name).key] is not None:
            raise ConfigurationError(
                f"--dev-tls makes a certificate of its own and {setting(name).flag} is about "
                "another: they contradict each other; leave --dev-tls out to serve yours"
            )
    plan.tls_request = request_of(values)
    own = any(each.values["certfile"] is not None for each in values.get("listeners", ()))
    if plan.tls_request is None and not own:
        _refuse_orphans(values)
    elif values["hsts"] is not None:
        strict = f"max-age={values['hsts']}"
        plan.server_options[setting("hsts").parameter] = strict


def request_of(values: Mapping[str, Any]) -> TLSRequest | None:
    """Return the TLS that is asked for; None without a certificate.

    Args:
        values: What was given for each setting of the table `tls`, by its key.

    Raises:
        ConfigurationError: A host is written wrongly.
    """
    # An empty --certfile counts, too: an unset variable is no wish for http.
    if not values["dev_tls"] and values["certfile"] is None:
        return None
    options = {
        each.parameter: values[each.key]
        for each in settings_of(taker="tls")
        if each.name not in _PARSED and values[each.key] is not None
    }
    if values["tls_host"]:
        options["hosts"] = _parse_hosts(values["tls_host"])
    return TLSRequest(
        options=options,
        password_file=values["key_password_file"],
        development=bool(values["dev_tls"]),
    )


def _refuse_orphans(values: Mapping[str, Any]) -> None:
    """Refuse TLS flags that say nothing without a certificate."""
    for each in settings_of(table="tls"):
        if each.kind != "switch" and values[each.key] not in (None, ()):
            raise ConfigurationError(f"{each.flag} without a certificate; add --certfile FILE")


def _parse_hosts(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the `hosts` option for values `NAME=CERT:KEY`."""
    hosts: dict[str, dict[str, str]] = {}
    for text in texts:
        name, _, files = text.partition("=")
        certfile, _, keyfile = files.rpartition(":")
        if not (name and certfile and keyfile):
            raise ConfigurationError(
                f"--tls-host {escape(text)}: write NAME=CERT:KEY, such as "
                "www.example.com=www.pem:www.key"
            )
        if name in hosts:
            raise ConfigurationError(f"--tls-host {escape(name)} is given twice; give it once")
        hosts[name] = {"certfile": certfile, "keyfile": keyfile}
    return hosts


GROUP = FlagGroup(table="tls", apply=_apply)
