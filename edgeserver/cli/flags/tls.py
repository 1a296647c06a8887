"""Flags that say which certificate https listeners have.

Decides their names, which are those of the `ssl_options` dict, and what `--dev-tls` stands for;
what the options mean is `edgeserver.tls`'.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from edgeserver.cli.flags.group import FlagGroup
from edgeserver.cli.options import file_flag, flag, list_flag, seconds_flag, switch
from edgeserver.errors import ConfigurationError, TLSConfigurationError
from edgeserver.runtime.plan import ServePlan
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file
from edgeserver.support.loggers import gen_log

if TYPE_CHECKING:
    from edgeserver.httpserver import HTTPServer
    from edgeserver.tls import TLSContexts

__all__ = ["GROUP"]

DEV_DIRECTORY = "certs"

# Flags that are options of the same meaning.
_KEYS = {
    "keyfile": "keyfile",
    "ca_certs": "ca_certs",
    "cert_reqs": "cert_reqs",
    "crl": "crl",
    "ciphers": "ciphers",
    "tls_policy": "policy",
    "handshake_timeout": "handshake_timeout",
}


_FILES = ("certfile", "keyfile", "ca_certs", "crl")
"""Options whose complaints begin with their name and the file."""


class _PasswordFile:
    """Reads a key's password from a file, again at each reload."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self) -> bytes:
        try:
            return read_file(self._path, 4096).split(b"\n", 1)[0].rstrip(b"\r")
        except OSError as error:
            raise ConfigurationError(
                f"--key-password-file {escape(self._path)}: {error.strerror}; name a file that "
                "holds the password and that this user may read"
            ) from error


def _apply(values: Mapping[str, Any], plan: ServePlan) -> None:
    """Write the TLS options of the https listeners, if there is a certificate, into `plan`."""
    if values["dev_tls"]:
        if values["certfile"] is not None:
            raise ConfigurationError("--dev-tls and --certfile contradict each other; give one")
        options: dict[str, Any] = _dev_options(plan)
    elif values["certfile"] is not None:  # an empty one, too: an unset variable is no wish for http
        options = {"certfile": values["certfile"]}
    else:
        _refuse_orphans(values)
        return
    for name, key in _KEYS.items():
        if values[name] is not None:
            options[key] = values[name]
    if values["key_password_file"] is not None:
        options["password"] = _PasswordFile(values["key_password_file"])
    if values["tls_host"]:
        options["hosts"] = _parse_hosts(values["tls_host"])
    # Built here, in the parent of all workers: a session resumes at whichever answers.
    try:
        plan.tls = _build(options, plan)
    except TLSConfigurationError as error:
        raise TLSConfigurationError(_name_flag(str(error), values)) from error
    if values["hsts"] is not None:
        strict = f"max-age={values['hsts']}"
        plan.server_options["strict_transport_security"] = strict
        plan.notes.append(f"Strict-Transport-Security: {strict}, with every answer over TLS")
    plan.on_reload.append(_reload)


def _name_flag(complaint: str, values: Mapping[str, Any]) -> str:
    """Return a complaint about a file with its flag in the place of the option, and the fix."""
    for key in _FILES:
        shown = f'{key} "{values[key]}"'
        if values[key] is None or not complaint.startswith(shown):
            continue
        flag = f"--{key.replace('_', '-')}"
        complaint = f"{flag} {escape(values[key])}{complaint.removeprefix(shown)}"
        if complaint.endswith("does not exist"):
            complaint += "; name a file that is there, from the directory you are in"
    return complaint


async def _reload(server: HTTPServer) -> None:
    """Read the files again.

    Raises:
        TLSConfigurationError: Some are wrong, and those before stay in use; whoever asked is told
            each time, while the log of a poll says the same only once.
    """
    kept = [each for result in await server.reload_tls() for each in result.kept.items()]
    if kept:
        said = (f'host "{host}": {why}' if host else why for host, why in kept)
        raise TLSConfigurationError(f"TLS not reloaded: {'; '.join(said)}")


def _refuse_orphans(values: Mapping[str, Any]) -> None:
    """Refuse TLS flags that say nothing without a certificate."""
    for name in (*_KEYS, "key_password_file", "tls_host", "hsts"):
        if values[name] not in (None, ()):
            flag = "--" + name.replace("_", "-")
            raise ConfigurationError(f"{flag} without a certificate; add --certfile FILE")


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


def _dev_options(plan: ServePlan) -> dict[str, Any]:
    """Return `ssl_options` for the development certificate, making it where it is missing."""
    from edgeserver.tls.devcerts import ensure_dev_certificates

    made = ensure_dev_certificates(DEV_DIRECTORY)
    plan.notes.append(f"development certificate: clients trust it with {made.ca}")
    return {"certfile": str(made.certfile), "keyfile": str(made.keyfile)}


def _drop(record: logging.LogRecord) -> bool:
    return False


def _build(options: dict[str, Any], plan: ServePlan) -> TLSContexts:
    """Read what `options` name, so that any TLS error stops the start, and say what is served."""
    from edgeserver.tls import build_contexts, start_lines

    gen_log.addFilter(_drop)  # the start lines hold every warning that it would log
    try:
        contexts = build_contexts(options)
    except ConfigurationError:
        raise
    except (ValueError, OSError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(f"TLS: {error}; see --certfile, --keyfile, --ca-certs") from error
    finally:
        gen_log.removeFilter(_drop)
    plan.notes += start_lines(contexts)
    return contexts


GROUP = FlagGroup(
    title="TLS",
    options=(
        file_flag("--certfile", "The certificate, followed by its chain (PEM)."),
        file_flag("--keyfile", "Its private key (PEM); not needed if --certfile holds it."),
        file_flag("--key-password-file", "The password of that key, in its first line."),
        file_flag("--ca-certs", "The CAs whose client certificates count (PEM)."),
        click.Option(
            ["--cert-reqs"],
            type=click.Choice(["none", "optional", "required"]),
            help="Whether clients show a certificate. [default: none]",
        ),
        file_flag("--crl", "Client certificates that were revoked (PEM or DER)."),
        flag("--ciphers", "LIST", "OpenSSL's cipher list, for TLS 1.2."),
        click.Option(
            ["--tls-policy"],
            type=click.Choice(["default", "modern"]),
            help="modern is TLS 1.3 only. [default: TLS 1.2 and 1.3]",
        ),
        list_flag(
            "--tls-host",
            "NAME=CERT:KEY",
            "Another certificate for clients that ask for NAME; repeatable.",
        ),
        seconds_flag("--handshake-timeout", "Seconds for a handshake [default: 10]."),
        flag(
            "--hsts",
            "SECONDS",
            "Tell clients over TLS to come back over TLS only, for so long (RFC 6797).",
            type=click.IntRange(min=0),
        ),
        switch(
            "--dev-tls", f"A development certificate for localhost, made under {DEV_DIRECTORY}/."
        ),
    ),
    apply=_apply,
)
