"""Flags that say which certificate https listeners have.

Decides their names, which are those of the `ssl_options` dict, and what `--dev-tls` stands for;
what the options mean is `edgeserver.tls`'.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.plan import ServePlan
from edgeserver.errors import ConfigurationError

__all__ = ["GROUP"]

DEV_DIRECTORY = "certs"

_CERT_REQS = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write the TLS options of the https listeners, if there is a certificate, into `plan`."""
    if values["dev_tls"]:
        if values["certfile"]:
            raise ConfigurationError("--dev-tls and --certfile contradict each other; give one")
        options: dict[str, Any] = _dev_options(plan)
    elif values["certfile"]:
        options = {"certfile": values["certfile"]}
        if values["keyfile"]:
            options["keyfile"] = values["keyfile"]
    else:
        _refuse_orphans(values)
        return
    if values["ca_certs"]:
        options["ca_certs"] = values["ca_certs"]
    if values["cert_reqs"]:
        options["cert_reqs"] = _CERT_REQS[values["cert_reqs"]]
    if values["ciphers"]:
        options["ciphers"] = values["ciphers"]
    if options.get("cert_reqs") and not values["ca_certs"]:
        raise ConfigurationError(
            f"--cert-reqs {values['cert_reqs']} needs --ca-certs FILE: whose certificates count?"
        )
    _check(options, plan)
    plan.tls = options


def _refuse_orphans(values: Mapping[str, Any]) -> None:
    """Refuse TLS flags that say nothing without a certificate."""
    for name in ("keyfile", "ca_certs", "cert_reqs", "ciphers"):
        if values[name]:
            flag = "--" + name.replace("_", "-")
            raise ConfigurationError(f"{flag} without a certificate; add --certfile FILE")


def _dev_options(plan: ServePlan) -> dict[str, Any]:
    """Return `ssl_options` for the development certificate, making it where it is missing."""
    from edgeserver.tls.devcerts import ensure_dev_certificates

    made = ensure_dev_certificates(DEV_DIRECTORY)
    plan.notes.append(f"development certificate: clients trust it with {made.ca}")
    return {"certfile": str(made.certfile), "keyfile": str(made.keyfile)}


def _check(options: dict[str, Any], plan: ServePlan) -> None:
    """Read what `options` name, so that any TLS error stops the start, and say what is served."""
    from edgeserver.tls import build_contexts, start_lines

    try:
        contexts = build_contexts(options)
    except ConfigurationError:
        raise
    except (ValueError, OSError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(f"TLS: {error}; see --certfile, --keyfile, --ca-certs") from error
    plan.notes += start_lines(contexts.status())


def _file(flag: str, help_text: str) -> click.Option:
    """Return a flag that names a file."""
    return click.Option([flag], metavar="FILE", help=help_text)


GROUP = FlagGroup(
    title="TLS",
    options=(
        _file("--certfile", "The certificate, followed by its chain (PEM)."),
        _file("--keyfile", "Its private key (PEM); not needed if --certfile holds it."),
        _file("--ca-certs", "The CAs whose client certificates count (PEM)."),
        click.Option(
            ["--cert-reqs"],
            type=click.Choice(list(_CERT_REQS)),
            help="Whether clients show a certificate. [default: none]",
        ),
        click.Option(["--ciphers"], metavar="LIST", help="OpenSSL's cipher list, for TLS 1.2."),
        click.Option(
            ["--dev-tls"],
            is_flag=True,
            help=f"A development certificate for localhost, made under {DEV_DIRECTORY}/.",
        ),
    ),
    apply=_apply,
)
