"""What a probe sends: one honest request, and forgeries of every field that may name a client.

Decides which claims are made, and that there are never more than so many. It must not know how they
are sent, nor what they showed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from edgeserver.chains.names import display_name

__all__ = ["FURTHER_FIELDS", "HONEST", "MAX_REQUESTS", "Forgery", "plan_forgeries"]

MAX_REQUESTS = 40
"""How many requests a probe makes, the honest ones counted."""

Kind = Literal[
    "honest",
    "forged",
    "two-lines",
    "chain",
    "empty",
    "unknown",
    "quoted",
    "port",
    "nominated",
    "nominated-forged",
    "underscores",
    "together",
    "prelude",
]

Lines = tuple[tuple[str, str], ...]

_ADDRESS_FIELDS = (
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "fastly-client-ip",
    "x-original-forwarded-for",
    "x-envoy-external-address",
    "x-appengine-user-ip",
    "client-ip",
)
_OTHER_FIELDS = (
    ("x-forwarded-host", "forged.example"),
    ("x-forwarded-port", "4711"),
    ("x-forwarded-server", "forged.example"),
    ("x-forwarded-prefix", "/forged"),
    ("x-forwarded-ssl", "on"),
    ("front-end-https", "on"),
    ("x-url-scheme", "{scheme}"),
    ("x-scheme", "{scheme}"),
    ("x-forwarded-scheme", "{scheme}"),
    ("x-forwarded-protocol", "{scheme}"),
    ("cloudfront-forwarded-proto", "{scheme}"),
)

FURTHER_FIELDS = frozenset(
    name.encode() for name in (*_ADDRESS_FIELDS, *(name for name, _ in _OTHER_FIELDS))
)
"""Lower-case names, beside those of the rule, whose arrival an echo tells."""


class Forgery(NamedTuple):
    """One request of a probe.

    Args:
        field: The lower-case name that is forged; empty where there is not one alone.
        kind: What is tried with it.
        lines: The field lines that are sent.
        addresses: Whom they pretend to be.
        nominated: What `Connection` asks to be removed.
        prelude: What is sent before everything else.
    """

    field: str
    kind: Kind
    lines: Lines = ()
    addresses: tuple[str, ...] = ()
    nominated: str = ""
    prelude: bytes = b""

    @property
    def title(self) -> str:
        """What is tried, for people."""
        if self.kind == "honest":
            return "nothing forged"
        if self.kind == "prelude":
            return "a PROXY prelude"
        shown = [f"{name}: {value or '(empty)'}" for name, value in self.lines]
        if self.nominated:
            shown.insert(0, f"Connection: {display_name(self.nominated)}")
        more = f" and {len(shown) - 3} more fields" if len(shown) > 4 else ""
        return "; ".join(shown[:3] if more else shown) + more

    def value(self, field: str) -> str:
        """Return what is claimed in a field, its lines joined."""
        return ", ".join(value for name, value in self.lines if name.lower() == field)


HONEST = Forgery("", "honest")


def plan_forgeries(
    *, source: str, proto: str | None, scheme: str, proxy: str, forged: tuple[str, str]
) -> list[Forgery]:
    """Return the forgeries to send after the first honest request; an honest one is the last.

    Args:
        source: The lower-case field that the application reads clients from.
        proto: The one that it reads schemes from; None for none.
        scheme: The scheme of the probe's connection; the other one is claimed.
        proxy: The application's peer, which pretended chains hold.
        forged: Two addresses that nobody has.
    """
    other = "http" if scheme == "https" else "https"
    plan: list[Forgery] = [*_of_source(source, proxy, forged, other)]
    if source != "forwarded":
        if proto is not None:
            plan += _of_scheme(proto, scheme, other)
        for name, value in (("x-forwarded-for", forged[0]), ("x-forwarded-proto", other)):
            if name not in (source, proto):
                plan.append(_forged(name, value, forged[0]))
        plan += [
            _forged("forwarded", f"for={forged[0]};proto={other}", forged[0]),
            Forgery("forwarded", "nominated", nominated="forwarded"),
        ]
    else:
        plan += [
            _forged("x-forwarded-for", forged[0], forged[0]),
            _forged("x-forwarded-proto", other, forged[0]),
        ]
    plan += _together(source, proto, other, forged[0])
    prelude = f"PROXY TCP4 {forged[0]} {forged[1]} 4711 443\r\n".encode()
    plan.append(Forgery("", "prelude", addresses=forged[:1], prelude=prelude))
    return [*plan[: MAX_REQUESTS - 2], HONEST]


def _forged(name: str, value: str, address: str) -> Forgery:
    return Forgery(name, "forged", ((display_name(name), value),), (address,))


def _of_source(source: str, proxy: str, forged: tuple[str, str], other: str) -> Iterator[Forgery]:
    """Yield what is tried in the field that names the client."""
    name, (one, two) = display_name(source), forged
    wrap = _as_element if source == "forwarded" else str
    tail = f";proto={other}" if source == "forwarded" else ""
    address = f"{wrap(one)}{tail}"
    tries: list[tuple[Kind, tuple[str, ...]]] = [
        ("forged", (address,)),
        ("two-lines", (address, wrap(proxy))),
        ("chain", (f"{address}, {wrap(proxy)}",)),
        ("chain", (f"{address}, {wrap(two)}, {wrap(proxy)}",)),
        ("empty", ("",)),
        ("unknown", (wrap("unknown"),)),
        ("quoted", (f'for="{one}"' if source == "forwarded" else f'"{one}"',)),
        ("port", (f'for="{one}:4711"' if source == "forwarded" else f"{one}:4711",)),
    ]
    for kind, values in tries:
        lines = tuple((name, value) for value in values)
        yield Forgery(source, kind, lines, () if kind in ("empty", "unknown") else forged)
    yield Forgery(source, "nominated", nominated=source)
    yield Forgery(source, "nominated-forged", ((name, address),), forged, source)
    if "-" in source:
        yield Forgery(source, "underscores", ((name.replace("-", "_"), address),), forged)


def _as_element(address: str) -> str:
    """Return an element of `Forwarded` that names an address."""
    return f'for="[{address}]"' if ":" in address else f"for={address}"


def _of_scheme(proto: str, scheme: str, other: str) -> Iterator[Forgery]:
    """Yield what is tried in the field that names the scheme."""
    name = display_name(proto)
    tries: tuple[tuple[Kind, tuple[str, ...]], ...] = (
        ("forged", (other,)),
        ("two-lines", (other, scheme)),
        ("two-lines", (scheme, other)),
        ("chain", (f"{other}, {scheme}",)),
        ("chain", (f"{scheme}, {other}",)),
        ("empty", ("",)),
        ("unknown", ("unknown",)),
        ("quoted", (f'"{other}"',)),
    )
    for kind, values in tries:
        yield Forgery(proto, kind, tuple((name, value) for value in values))
    yield Forgery(proto, "nominated", nominated=proto)
    yield Forgery(proto, "nominated-forged", ((name, other),), nominated=proto)
    if "-" in proto:
        yield Forgery(proto, "underscores", ((name.replace("-", "_"), other),))


def _together(source: str, proto: str | None, other: str, forged: str) -> Iterator[Forgery]:
    """Yield what is tried with several fields at once: all others, and everything."""
    kept = (source, proto)
    addresses = [(name, forged) for name in _ADDRESS_FIELDS if name not in kept]
    others = [
        (name, value.format(scheme=other)) for name, value in _OTHER_FIELDS if name not in kept
    ]
    for fields in (addresses, others):
        yield Forgery("", "together", _lines(fields), (forged,))
    usual = [("x-forwarded-for", forged), ("x-forwarded-proto", other),
             ("forwarded", f"for={forged};proto={other}")]  # fmt: skip
    if source not in ("x-forwarded-for", "forwarded"):
        usual.append((source, forged))
    yield Forgery("", "together", _lines([*usual, *addresses, *others]), (forged,))
    under = [(name.replace("-", "_"), value) for name, value in [*usual, *addresses]]
    lines = tuple((name.title(), value) for name, value in under if "_" in name)
    yield Forgery("", "underscores", lines, (forged,))


def _lines(fields: Iterable[tuple[str, str]]) -> Lines:
    return tuple((display_name(name), value) for name, value in fields)
