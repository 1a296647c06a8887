"""The command `edgeserver audit config`: who can lie to the app, from the proxies' configurations.

Decides how a chain is written on the command line, where files come from, and which exit code a
report means. What follows from a configuration, `edgeserver.chains` says.
"""

from __future__ import annotations

import gc
import glob
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import click

from edgeserver.chains.claims import first_address
from edgeserver.chains.kinds import KINDS, guess_kind, reader_of
from edgeserver.chains.machine import (
    render_github,
    render_json_report,
    render_junit,
    render_sarif,
    report_as_dict,
)
from edgeserver.chains.model import ProxyHop
from edgeserver.chains.observed import (
    MAX_OBSERVED_BYTES,
    ObservedError,
    compare_chain,
    parse_observed,
)
from edgeserver.chains.readers.base import MAX_FILE_BYTES, ReadingError, UnreadableFile
from edgeserver.chains.report import ChainReport, make_report
from edgeserver.chains.text import render_text_report
from edgeserver.cli.audit_report import render_one_page
from edgeserver.cli.failures import reported
from edgeserver.cli.terminal import is_terminal
from edgeserver.cli.trust import TRUST_OPTIONS, build_policy, split_list, with_config
from edgeserver.errors import ConfigurationError, TrustConfigurationError
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.proxyheaders.networks import Network, expand_preset, parse_network
from edgeserver.runtime.exits import EXIT_FINDINGS, EXIT_OK
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file

__all__ = [
    "EXIT_CANNOT_TELL",
    "audit_config",
    "check_extra",
    "compare_with",
    "lan_range",
    "only_server",
    "rarely_collecting",
    "reachable_hops",
    "read_chain",
    "report_width",
]

EXIT_CANNOT_TELL = 4
MAX_HOPS = 4
_COLLECTED_AFTER = 200_000  # objects; Python's own 700 cost a fifth of the whole time
MAX_TOTAL_BYTES = 256 * 1024 * 1024
_USUAL_ADDRESS = "192.0.2.10"
_NEEDED = ("crossplane", "yaml")
_FORMATS = {
    "json": render_json_report,
    "sarif": render_sarif,
    "junit": render_junit,
    "github": render_github,
}


@click.command("config")
@click.argument("proxies", nargs=-1, required=True, metavar="[OUTER] ... INNER")
@click.option("--server", metavar="NAME", help="Look at the server of this name alone.")
@click.option(
    "--reachable",
    metavar="NAME[,...]",
    help="What strangers can connect to: edge, inner, app, or front for the outermost alone; "
    "default all.",
)
@click.option(
    "--lan", multiple=True, metavar="CIDR", help="A range whose machines are strangers, too."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", *_FORMATS, "html"]),
    default="text",
    help="How the report is written (default text).",
)
@click.option(
    "--fail-on",
    type=click.Choice(["warning", "error", "never"]),
    default="warning",
    help="What exits with 1: warnings and errors (default), errors, or nothing.",
)
@click.option(
    "--chain", metavar="FILE", help="What `audit probe --save` has seen, to compare with."
)
@click.option("--product-version", default="", metavar="V", help="The version of the product.")
def audit_config(
    proxies: tuple[str, ...],
    *,
    server: str | None,
    reachable: str | None,
    lan: tuple[str, ...],
    form: str,
    fail_on: str,
    product_version: str,
    chain: str | None,
    **values: Any,
) -> None:
    """Prove from configurations whether a stranger can choose the client or the scheme.

    Each proxy is KIND:PATH[@ADDRESS], outermost first; ADDRESS is what the next one sees as its
    peer. `auto:` guesses the kind. A proxy without a file is described in words, such as
    outer:append@198.51.100.7.

    Exit codes: 0 proved, 1 errors or warnings, 2 usage, 3 a file cannot be read, 4 cannot tell.
    """
    with reported():
        values, spelled = with_config(values)
        if values.get("xheaders"):
            raise ConfigurationError(
                "--xheaders believes every peer: a stranger chooses the client; use --trust"
            )
    with reported(spell=spelled):
        check_extra()
        with rarely_collecting():
            hops, policy = read_chain(proxies, values, version=product_version)
            if server is not None:
                hops = [only_server(hop, server, named=not at) for at, hop in enumerate(hops)]
            report = make_report(
                hops,
                policy,
                reachable=reachable_hops(reachable, hops),
                lan=[lan_range(each) for each in lan],
            )
        if chain is not None:
            compare_with(report, chain)
    if not (values.get("trust") or values.get("trust_file")):
        taken = ",".join(escape(each, 60) for each in policy.proxies)
        click.echo(
            f"edgeserver: without --trust the app is taken to list the proxies ({taken}); say"
            " what it lists with --trust or --config",
            err=True,
        )
    code = _exit_code(report, fail_on)
    if form == "text":
        click.echo(render_text_report(report, width=report_width()), nl=False)
    elif form == "html":
        shown = " ".join(hop.source for hop in hops)
        click.echo(render_one_page(report_as_dict(report, exit_code=code), shown), nl=False)
    else:
        click.echo(_FORMATS[form](report, exit_code=code), nl=False)
    sys.exit(code)


audit_config.params.extend(TRUST_OPTIONS)


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Have Python look for cycles less often: what is read and judged is much, and has none."""
    usual = gc.get_threshold()
    gc.set_threshold(_COLLECTED_AFTER, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def check_extra() -> None:
    """Refuse to go on without the parsers of the extra.

    Raises:
        ConfigurationError: One is not installed.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"reading configurations needs {' and '.join(missing)}, not installed here; "
            "run: pip install 'edgeserver[audit]'"
        )


def compare_with(report: ChainReport, path: str) -> None:
    """Add to a report where the chain that a probe saw is another one.

    Raises:
        ConfigurationError: The file is none of a probe.
        UnreadableFile: It cannot be read.
    """
    shown = escape(path, 400)
    try:
        observed = parse_observed(read_file(path, MAX_OBSERVED_BYTES))
    except OSError as error:
        raise UnreadableFile(
            f"{shown}: what a probe saw cannot be read: {error.strerror or error}; check the path"
        ) from error
    except ObservedError as error:
        raise ConfigurationError(
            f"{shown}: {error}; write it with edgeserver audit probe --save"
        ) from error
    report.findings[:0] = compare_chain(report, observed, source=path)


def report_width() -> int:
    """Return the columns to fold at: 80, or a narrower terminal's."""
    return min(80, shutil.get_terminal_size().columns) if is_terminal(sys.stdout) else 80


def _exit_code(report: ChainReport, fail_on: str) -> int:
    """Return the exit code that a report means."""
    failing = {"warning": ("error", "warning"), "error": ("error",), "never": ()}[fail_on]
    if any(finding.severity in failing for finding in report.findings):
        return EXIT_FINDINGS
    return EXIT_OK if report.is_told else EXIT_CANNOT_TELL


# -- the chain -----------------------------------------------------------------------------------


class _Spec(NamedTuple):
    """One proxy as it was typed."""

    typed: str
    kind: str
    path: str
    address: str


def _parse_spec(typed: str) -> _Spec:
    """Parse KIND:PATH[@ADDRESS].

    Raises:
        ConfigurationError: The kind is none.
    """
    kind, colon, path = typed.partition(":")
    if not colon or "/" in kind or "." in kind:
        kind, path = "auto", typed
    if kind != "auto" and reader_of(kind) is None:
        raise ConfigurationError(
            f"{escape(typed)}: {escape(kind, 40)!r} is not a product that can be read; write one"
            f" of auto, {', '.join(KINDS)} before the ':'"
        )
    head, at, tail = path.rpartition("@")
    address = ""
    if at:
        try:
            address = tail if tail == "unix:" else first_address(parse_network(tail))
            path = head
        except TrustConfigurationError:
            if kind == "outer":
                raise ConfigurationError(
                    f"{escape(typed)}: {escape(tail, 60)!r} after '@' is not an address"
                ) from None
    if not path and kind != "outer":
        raise ConfigurationError(f"{escape(typed)}: the path is missing after '{escape(kind)}:'")
    return _Spec(typed, kind, path, address)


def read_chain(
    typed: tuple[str, ...], values: dict[str, Any], *, version: str, base: str = ""
) -> tuple[list[ProxyHop], TrustPolicy]:
    """Read the proxies of a chain, and return them with what the app believes.

    Args:
        typed: The proxies, outermost first.
        values: Trust settings.
        version: The version of the product.
        base: The directory that paths are relative to.

    Raises:
        ConfigurationError: The chain, a flag or a configuration is wrong.
        UnreadableFile: A file cannot be read.
    """
    if len(typed) > MAX_HOPS:
        raise ConfigurationError(f"{len(typed)} proxies; a chain has at most {MAX_HOPS}")
    specs = [
        each if each.kind == "outer" else each._replace(path=os.path.join(base, each.path))
        for each in map(_parse_spec, typed)
    ]
    listed = values.get("trust") or values.get("trust_file")
    policy = build_policy(values) if listed else None
    specs = _addressed(specs, policy)
    if policy is None:
        policy = build_policy({**values, "trust": tuple(each.address for each in specs)})
        assert policy is not None
    sources = FileSources()
    hops = []
    for number, spec in enumerate(specs):
        hop = _read(spec, sources, version=version)
        hops.append(replace(hop, name=_name(number, len(specs)), address=spec.address))
    return hops, policy


def _name(number: int, count: int) -> str:
    """Return the name of a hop in its chain."""
    if number == 0:
        return "edge"
    return "inner" if number == count - 1 else f"middle{number}" if count > 3 else "middle"


def _addressed(specs: list[_Spec], policy: TrustPolicy | None) -> list[_Spec]:
    """Return the proxies with an address each; only the innermost may go without.

    Raises:
        ConfigurationError: Another one has none, or two have the same.
    """
    for spec in specs[:-1]:
        if not spec.address:
            raise ConfigurationError(
                f"{escape(spec.typed)}: say which address the next proxy sees, as "
                f"{escape(spec.typed)}@192.0.2.5"
            )
    last = specs[-1]
    if not last.address:
        taken = {spec.address for spec in specs}
        listed = [each for each in map(_first_of, policy.proxies if policy else ()) if each]
        free = next((each for each in listed if each not in taken), _USUAL_ADDRESS)
        specs = [*specs[:-1], last._replace(address=free)]
    addresses = [spec.address for spec in specs]
    if len(set(addresses)) < len(addresses):
        raise ConfigurationError("two proxies have the same address; give each its own after '@'")
    return specs


def _first_of(entry: str) -> str:
    """Return an address in an entry of a policy, or nothing for what is no range."""
    if entry == "unix:":
        return entry
    try:
        return first_address(parse_network(expand_preset(entry)[0]))
    except TrustConfigurationError:
        return ""


def _read(spec: _Spec, sources: FileSources, *, version: str) -> ProxyHop:
    """Read one proxy."""
    kind, path = spec.kind, spec.path
    if kind != "outer" and os.path.isdir(path):
        usual = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "caddy": "Caddyfile"}.get(kind)
        if usual is not None:
            path = os.path.join(path, usual)
    if kind == "auto":
        guessed = guess_kind(path, sources.read(path))
        if guessed is None:
            raise ConfigurationError(
                f"{escape(path)}: cannot guess what this is; write one of {', '.join(KINDS)} and"
                " ':' before it"
            )
        kind = guessed
    reader = reader_of(kind)
    assert reader is not None
    return reader(path, sources, version=version)


def only_server(hop: ProxyHop, server: str, *, named: bool) -> ProxyHop:
    """Return a hop with the ways of one server.

    Raises:
        ConfigurationError: The outermost has none of that name.
    """
    ways = tuple(way for way in hop.ways if server in way.label.split())
    if not ways:
        if named:
            raise ConfigurationError(f"--server {escape(server)}: {hop.source} has no such server")
        return hop
    return replace(hop, ways=ways)


def reachable_hops(text: str | None, hops: list[ProxyHop]) -> list[int]:
    """Return the hops that strangers can connect to; their number is the app.

    Raises:
        ConfigurationError: A name is none.
    """
    names = {**{hop.name: number for number, hop in enumerate(hops)}, "app": len(hops), "front": 0}
    if text is None:
        return [*range(len(hops) + 1)]
    found = set()
    for name in split_list([text]):
        if name == "inner" and len(hops) == 1:
            name = "edge"
        if name not in names:
            raise ConfigurationError(
                f"--reachable {escape(name, 60)}: this chain has {', '.join(names)}"
            )
        found.add(names[name])
    if not found:
        raise ConfigurationError("--reachable names nothing; leave it out for everything")
    return sorted(found)


def lan_range(text: str) -> Network:
    """Return a range of `--lan`.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return parse_network(text)
    except TrustConfigurationError as error:
        raise ConfigurationError(f"--lan: {error}") from error


class FileSources:
    """Files on this machine, read whole and within bounds."""

    def __init__(self) -> None:
        self._left = MAX_TOTAL_BYTES
        self._known: dict[str, str] = {}

    def read(self, path: str) -> str:
        """Return the text of a file.

        Raises:
            ReadingError: It is longer than any configuration, or binary.
            UnreadableFile: It cannot be read.
        """
        known = self._known.get(path)
        if known is not None:
            return known
        shown = escape(path, 400)
        try:
            content = read_file(path, MAX_FILE_BYTES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UnreadableFile(
                f"{shown}: the configuration cannot be read: {reason}; check the path and its "
                "permissions"
            ) from error
        if len(content) > MAX_FILE_BYTES:
            raise ReadingError(f"{shown}: more than {MAX_FILE_BYTES} bytes: no configuration")
        self._left -= len(content)
        if self._left < 0:
            raise ReadingError(f"{shown}: more than {MAX_TOTAL_BYTES} bytes in all its includes")
        if b"\0" in content:
            line = content.count(b"\n", 0, content.index(b"\0")) + 1
            raise ReadingError(f"{shown}:{line}: a NUL byte: this is no configuration")
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        text = text.replace("\r\n", "\n")
        self._known[path] = text
        return text

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that a pattern matches, sorted."""
        return sorted(path for path in glob.iglob(pattern) if not os.path.isdir(path))

    def resolve(self, path: str, base: str) -> str:
        """Return a path as seen from the directory of another file."""
        return os.path.join(os.path.dirname(base), path)
