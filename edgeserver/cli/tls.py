"""The command `edgeserver tls`: the doctor for certificates, keys and TLS endpoints.

Decides what an argument is, what is printed, and the exit code. What is wrong with a file or an
endpoint is found in `edgeserver.tls`.
"""

from __future__ import annotations

import json
import sys

import click

from edgeserver.cli.failures import reported
from edgeserver.cli.options import SECONDS
from edgeserver.cli.terminal import is_coloured
from edgeserver.runtime.exits import EXIT_FINDINGS, EXIT_OK

__all__ = ["tls"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def tls() -> None:
    """Check certificates, keys and TLS endpoints."""


@tls.command()
@click.argument("targets", nargs=-1, required=True, metavar="FILE...|HOST:PORT")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A name that clients use; repeatable. For HOST:PORT the first is asked for.",
)
@click.option("--ca-certs", metavar="FILE", help="Roots to trust besides the system's (PEM).")
@click.option("--key-password-file", metavar="FILE", help="What decrypts the private keys.")
@click.option(
    "--timeout",
    type=SECONDS,
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds for each connection.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def check(
    targets: tuple[str, ...],
    hosts: tuple[str, ...],
    ca_certs: str | None,
    key_password_file: str | None,
    timeout: float,
    as_json: bool,
    debug: bool,
) -> None:
    """Say what is wrong with certificates, keys and CRLs, or with a server, and the fix.

    Files may be given in any order: keys are matched to their certificates. Exit code 1 if
    anything is to be put right; a further name alone is not.
    """
    from edgeserver.tls.certificates.pem import load_file
    from edgeserver.tls.doctor.check import check_targets

    with reported(debug=debug):
        password = None
        if key_password_file is not None:
            data = load_file(key_password_file, "--key-password-file")
            password = data.split(b"\n", 1)[0].rstrip(b"\r")
        report = check_targets(
            targets, names=hosts, ca_certs=ca_certs, password=password, timeout_s=timeout
        )
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        coloured = is_coloured(sys.stdout)
        for line in report.render():
            click.echo(_coloured(line) if coloured else line, color=coloured)
    sys.exit(EXIT_FINDINGS if report.asks_for_action else EXIT_OK)


def _coloured(line: str) -> str:
    """Return a line of the report with its grade coloured."""
    colours = {"[F]": "red", "[C]": "yellow", "[B]": "yellow"}
    colour = colours.get(line[:3])
    if colour:
        return click.style(line[:3], fg=colour, bold=True) + line[3:]
    if line.startswith("grade "):
        good = line.startswith("grade A")
        return click.style(line, fg="green" if good else "red", bold=True)
    return line
