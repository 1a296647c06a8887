"""The command `edgeserver certs`: certificates for development.

Decides what is printed. `edgeserver.tls.devcerts` makes the files.
"""

from __future__ import annotations

import click

from edgeserver.cli.failures import reported
from edgeserver.errors import ConfigurationError

__all__ = ["certs"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def certs() -> None:
    """Make certificates for development."""


@certs.command()
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="A host name or address beside localhost; repeatable, `*.dev.test` too.",
)
@click.option("--out", default="certs", show_default=True, metavar="DIR", help="Where they go.")
@click.option("--force", is_flag=True, help="Overwrite files that were not made by this command.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def dev(hosts: tuple[str, ...], out: str, force: bool, debug: bool) -> None:
    """Make an authority, a server's certificate and a client's, or keep those still good.

    They are for this machine: never use them on a server that others reach.
    """
    from edgeserver.tls.devcerts import ensure_dev_certificates

    with reported(debug=debug):
        if not out:  # an unset variable: keys would go to where somebody happens to be
            raise ConfigurationError('--out is empty; name a directory, such as "certs"')
        files = ensure_dev_certificates(out, hosts, force=force)
    click.echo(f"for {', '.join(files.names)}")
    rows = (
        (files.certfile, "the server: --certfile"),
        (files.keyfile, "the server: --keyfile (secret)"),
        (files.ca, "clients: trust this (curl --cacert; a browser's authorities)"),
        (files.client_certfile, "a client that shows a certificate: curl --cert"),
        (files.client_keyfile, "the same: curl --key (secret)"),
        (files.ca_key, "nobody: only this command signs with it (secret)"),
    )
    width = max(len(str(path)) for path, _ in rows)
    for path, purpose in rows:
        state = "made" if path in files.made else "kept"
        click.echo(f"{state}  {path!s:{width}}  {purpose}")
