"""The command `edgeserver ctl`: what a running server is told, and how it stands.

Decides how a server is asked over its admin listener, and what is printed of its answer. What the
commands do is the server's.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from edgeserver.cli.failures import CommandFailure, reported
from edgeserver.config.admin import parse_admin, read_token
from edgeserver.config.bind import Bind, render_bind
from edgeserver.runtime.exits import EXIT_START
from edgeserver.support.escape import escape

__all__ = ["AdminClient", "ctl"]

PATIENCE_S = 10.0
"""How long the server may take to answer."""

POLL_S = 0.2
"""How soon it is asked again how far it is."""

MOST_BYTES = 4 * 1024 * 1024
"""The longest answer that is read."""

EXIT_FAILED = 1


class AdminClient:
    """A server's admin listener.

    Args:
        bind: Where it is.
        token: What is shown there, if it is not a Unix socket.
    """

    def __init__(self, bind: Bind, token: bytes | None) -> None:
        self._bind = bind
        self._token = token

    def ask(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON of one answer.

        Raises:
            CommandFailure: Nobody answers, or not as an edgeserver does.
        """
        shown = f"--admin {escape(render_bind(self._bind))}"
        fields = {"Accept": "application/json"}
        if self._token is not None:
            fields["Authorization"] = f"Bearer {self._token.decode('ascii')}"
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.request(method, path, headers=fields)
                answer = connection.getresponse()
                value = json.loads(answer.read(MOST_BYTES))
        except OSError as error:
            raise CommandFailure(
                f"{shown}: {error.strerror or error}; is the server running, with the same --admin,"
                " and as this user?",
                exit_code=EXIT_START,
            ) from error
        except (http.client.HTTPException, ValueError) as error:
            raise CommandFailure(
                f"{shown}: what answers there is not edgeserver's admin listener",
                exit_code=EXIT_START,
            ) from error
        if not isinstance(value, dict):
            value = {}
        if answer.status >= 400 and "error" in value:
            raise CommandFailure(
                f"{shown}: {escape(str(value['error']), 500)}", exit_code=EXIT_FAILED
            )
        return answer.status, value

    def is_gone(self) -> bool:
        """Return whether nobody listens there any more."""
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.connect()
        except (FileNotFoundError, ConnectionRefusedError):
            return True
        except OSError:
            pass  # too busy to say
        return False

    def _connect(self) -> http.client.HTTPConnection:
        bind = self._bind
        if bind.path is None:
            return http.client.HTTPConnection(bind.host or "127.0.0.1", bind.port, PATIENCE_S)
        return _UnixConnection(bind.path)


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE_S)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            raise
        self.sock = sock


_WAIT = click.option(
    "--wait/--no-wait", default=True, help="Whether to wait until it is done; by default yes."
)
_TIMEOUT = click.option(
    "--timeout",
    type=click.FloatRange(min=0, max=86400),
    default=300.0,
    metavar="SECONDS",
    help="How long to wait at most; 300.",
)


_ADMIN = click.option(
    "--admin",
    metavar="ADDRESS",
    help="Where the server answers operators, as it was given to serve; or EDGESERVER_ADMIN.",
)
_TOKEN = click.option(
    "--admin-token-file",
    metavar="FILE",
    help="The token that is shown where that is not a Unix socket.",
)


def _asks(command: Callable[..., None]) -> Callable[..., None]:
    """Have a command take the place of the server, too, and call it with who asks there."""

    @_ADMIN
    @_TOKEN
    @click.pass_context
    @functools.wraps(command)
    def ask(
        ctx: click.Context, /, admin: str | None, admin_token_file: str | None, **values: Any
    ) -> None:
        before_admin, before_token = ctx.obj
        admin = admin or before_admin or os.environ.get("EDGESERVER_ADMIN")
        token_file = admin_token_file or before_token
        if not admin:
            ctx.fail(
                "where is the server? Give the --admin that it was given, such as --admin"
                " unix:/run/edgeserver/admin.sock, or set EDGESERVER_ADMIN"
            )
        with reported():
            # Whoever asks need not be on the same machine, so any address will do.
            bind = parse_admin(admin, has_token=True)
            token = None if token_file is None else read_token(token_file)
        command(AdminClient(bind, token), **values)

    return ask


@click.group("ctl", context_settings={"help_option_names": ["-h", "--help"]})
@_ADMIN
@_TOKEN
@click.pass_context
def ctl(ctx: click.Context, admin: str | None, admin_token_file: str | None) -> None:
    """Tell a running server what to do, or ask how it stands.

    Commands need its Unix socket: edgeserver serve --admin unix:PATH.
    """
    ctx.obj = (admin, admin_token_file)


@ctl.command()
@click.option("--json", "as_json", is_flag=True, help="Print all of it, as JSON.")
@_asks
def status(server: AdminClient, as_json: bool) -> None:
    """Say how the server stands; the exit code is 1 where it is not ready."""
    _, found = server.ask("GET", "/status")
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        for line in _render_status(found):
            click.echo(line)
    if not found.get("ready"):
        raise click.exceptions.Exit(EXIT_FAILED)


@ctl.command()
@_asks
def reload(server: AdminClient) -> None:
    """Have certificates, keys and lists read again, as SIGHUP does."""
    server.ask("POST", "/reload")
    click.echo("reloading; the server's log says what was read again, and what failed")


@ctl.command()
@_WAIT
@_TIMEOUT
@_asks
def roll(server: AdminClient, wait: bool, timeout: float) -> None:
    """Replace the workers one after the other, without losing a request, as SIGUSR2 does."""
    _, accepted = server.ask("POST", "/roll")
    if not wait:
        click.echo("replacing the workers")
        return
    for _ in _polls(timeout):
        found = server.ask("GET", "/status")[1].get("roll", {})
        if found.get("state") in ("done", "failed") or found.get("number") != accepted.get("roll"):
            break
    said = escape(str(found.get("said", "")), 500)
    if found.get("state") != "done":
        raise CommandFailure(f"roll: {said}", exit_code=EXIT_FAILED)
    click.echo(said)


@ctl.command()
@_WAIT
@_TIMEOUT
@_asks
def drain(server: AdminClient, wait: bool, timeout: float) -> None:
    """Have the server finish what is in flight and end, as SIGTERM does."""
    server.ask("POST", "/drain")
    if not wait:
        click.echo("draining")
        return
    for _ in _polls(timeout):
        if server.is_gone():
            click.echo("the server has ended")
            return
    raise CommandFailure(
        f"drain: the server is still there after {timeout:g} s; edgeserver ctl status says what it"
        " waits for",
        exit_code=EXIT_FAILED,
    )


def _polls(timeout_s: float) -> Iterator[None]:
    """Yield at once, and then now and then until the time is over."""
    until_s = time.monotonic() + timeout_s
    yield
    while time.monotonic() < until_s:
        time.sleep(POLL_S)
        yield


def _render_status(found: Mapping[str, Any]) -> list[str]:
    """Return the status as lines for a person; whatever a stranger wrote is escaped."""
    lines = ["ready" if found.get("ready") else "not ready"]
    lines += [f"  {_shown(why)}" for why in found.get("why", ())]
    lines.append(
        f"{_shown(found.get('application'))}, edgeserver {_shown(found.get('version'))}, up"
        f" {found.get('uptime_s', 0):.0f} s"
    )
    lines += [f"listening on {_shown(each)}" for each in found.get("listeners", ())]
    for each in found.get("workers", ()):
        waits = f", waits for {_shown(each['waits_for'])}" if each.get("waits_for") else ""
        memory = each.get("memory_bytes")
        size = f", {memory / 2**20:.0f} MiB" if memory else ""
        lines.append(
            f"worker {each.get('worker')} (pid {each.get('pid')}): {_shown(each.get('state'))} for"
            f" {each.get('since_s', 0):.0f} s{waits}, {each.get('connections')} connections,"
            f" {each.get('requests_in_flight')} requests in flight{size}"
        )
    counts = found.get("requests_total", {})
    codes = ", ".join(f"{_shown(code)} {count}" for code, count in counts.items())
    lines.append(f"requests: {sum(counts.values())}" + (f" ({codes})" if codes else ""))
    for title in ("refused", "shed", "findings"):
        numbers = found.get(f"{title}_total", {})
        lines += [f"{title}: {_shown(name)}: {count}" for name, count in numbers.items()]
    for each in found.get("certificates", ()):
        days = each.get("days_left")
        left = "" if days is None else f", {int(days)} days left"
        names = ", ".join(_shown(name) for name in each.get("names", ())[:4])
        lines.append(f"certificate {_shown(each.get('host')) or '(default)'}: {names}{left}")
    lines += [_shown(each) for each in found.get("policy", ())]
    lines += [f"waiting for {_shown(each)}" for each in found.get("waiting_for", ())]
    return lines


def _shown(value: object) -> str:
    return escape(str(value), 300)
