"""The model of a proxy: its ways in, and the guarded operations that each does to a head.

Decides which operations, guards and values there are, as immutable values that can be compared. It
must not know any product, nor what follows from an operation.

A configuration that is understood becomes `Step`s; one that is not becomes `Unknown`, with file and
line, and never nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from edgeserver.proxyheaders.addresses import Address
from edgeserver.proxyheaders.networks import Network

__all__ = [
    "ALWAYS",
    "CLIENT",
    "COOKIE",
    "EVERY_ADDRESS",
    "HOST",
    "METHOD",
    "NOWHERE",
    "NO_RANGES",
    "PATH",
    "PEER",
    "PRELUDE",
    "QUERY",
    "SCHEME",
    "AddField",
    "AllOf",
    "AnyOf",
    "AppendToField",
    "Connection",
    "DropAll",
    "DropField",
    "DropUnderscored",
    "Field",
    "ForgetNominated",
    "Guard",
    "Join",
    "Lookup",
    "NotGuard",
    "Note",
    "Op",
    "Predicate",
    "PreludeRule",
    "Present",
    "ProxyHop",
    "Ranges",
    "RealIp",
    "Refuse",
    "SetClient",
    "SetField",
    "SetVariable",
    "Step",
    "Test",
    "Text",
    "Unknown",
    "UnknownGuard",
    "UnknownValue",
    "Value",
    "Variable",
    "Way",
    "Where",
    "varying",
]


class Where(NamedTuple):
    """A place in a configuration.

    Args:
        file: The path as it was given or included.
        line: The line, from 1; 0 where the file as a whole is meant.
    """

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


NOWHERE = Where("")


@dataclass(frozen=True, slots=True)
class Ranges:
    """A set of peers: networks, and whether Unix sockets belong to it."""

    networks: tuple[Network, ...] = ()
    unix: bool = False

    def hold(self, address: Address) -> bool:
        """Return whether an address is in one of the networks."""
        if address.version == 0:
            return self.unix
        for version, value, prefix, _ in self.networks:
            if version == address.version:
                shift = (32 if version == 4 else 128) - prefix
                if address.value >> shift == value >> shift:
                    return True
        return False


NO_RANGES = Ranges()
EVERY_ADDRESS = Ranges((Network(4, 0, 0), Network(6, 0, 0)), unix=True)


# -- values ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """A constant."""

    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """What a field of the request says; empty where there is none.

    Args:
        name: The lower-case name; `PATH`, `HOST`, `METHOD`, or `QUERY` or `COOKIE` and a name,
            stand for what else the sender of a request chooses.
        pick: `all` lines joined with commas, the `first` or `last` line, or the `first-element`
            or `last-element` of the list.
        received: The head as it came, in place of the head as changed so far.
    """

    name: str
    pick: Literal["all", "first", "last", "first-element", "last-element"] = "all"
    received: bool = False


@dataclass(frozen=True, slots=True)
class Connection:
    """What the connection itself says: `peer`, `client`, `scheme` or `prelude`.

    `client` is the proxy's own idea of it: the peer, until something names another.
    """

    name: Literal["peer", "client", "scheme", "prelude"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the configuration; empty where nothing has set it."""

    name: str


@dataclass(frozen=True, slots=True)
class Join:
    """Values written one after the other."""

    parts: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Lookup:
    """A value chosen by tests: the first guard that holds."""

    cases: tuple[tuple[Guard, Value], ...]
    default: Value


@dataclass(frozen=True, slots=True)
class UnknownValue:
    """A value that the reader does not understand."""

    text: str
    where: Where = field(default=NOWHERE, compare=False)


def varying(name: str) -> Text:
    """Return a text for what is neither address nor scheme, and differs from request to request.

    Such as a port or a length: nothing follows from what it is written as, and a test of it may be
    passed or not.
    """
    return Text(f"({name}?)")


Value = Text | Field | Connection | Variable | Join | Lookup | UnknownValue

PATH, HOST, METHOD, QUERY, COOKIE = ":path", ":host", ":method", "?", "cookie:"
PEER, CLIENT = Connection("peer"), Connection("client")
SCHEME, PRELUDE = Connection("scheme"), Connection("prelude")


# -- guards ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Predicate:
    """What a value is tested for.

    Args:
        kind: `equals`, `among`, `prefix`, `suffix`, `contains`, `regex` or `ranges`.
        text: What it is compared with, or the pattern.
        texts: For `among`; lower-case where `nocase`.
        nocase: Whether case does not count.
        ranges: For `ranges`.
        elements: Any element of the comma-separated list may match.
    """

    kind: Literal["equals", "among", "prefix", "suffix", "contains", "regex", "ranges"]
    text: str = ""
    texts: frozenset[str] = frozenset()
    nocase: bool = False
    ranges: Ranges = NO_RANGES
    elements: bool = False


@dataclass(frozen=True, slots=True)
class Present:
    """Holds where a field is there, be it empty."""

    name: str
    received: bool = False


@dataclass(frozen=True, slots=True)
class Test:
    """Holds where a value passes the predicate."""

    value: Value
    predicate: Predicate
    where: Where = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds where all of them do; without any, always."""

    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds where one of them does; without any, never."""

    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True)
class NotGuard:
    """Holds where the other does not."""

    guard: Guard


@dataclass(frozen=True, slots=True)
class UnknownGuard:
    """A condition that the reader does not understand: it may hold or not."""

    text: str
    where: Where = field(default=NOWHERE, compare=False)


Guard = Present | Test | AllOf | AnyOf | NotGuard | UnknownGuard

ALWAYS = AllOf()


# -- operations --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SetField:
    """Replace all lines of a field; an empty value removes them where `drop_empty`."""

    name: str
    value: Value
    drop_empty: bool = False


@dataclass(frozen=True, slots=True)
class AddField:
    """Add a line to a field."""

    name: str
    value: Value
    drop_empty: bool = False


@dataclass(frozen=True, slots=True)
class AppendToField:
    """Append an element to the list in a field, which becomes one line."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class DropField:
    """Remove the fields of a name, or, with `prefix`, of all names that begin so."""

    name: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class DropUnderscored:
    """Remove the fields with an underscore in their names."""


@dataclass(frozen=True, slots=True)
class DropAll:
    """Remove every field that came with the request."""


@dataclass(frozen=True, slots=True)
class ForgetNominated:
    """Remove the fields that the request's `Connection` names (RFC 9110 section 7.6.1)."""


@dataclass(frozen=True, slots=True)
class SetVariable:
    """Give a variable its value."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class SetClient:
    """Make a value the proxy's idea of the client, if it is an address."""

    value: Value


@dataclass(frozen=True, slots=True)
class RealIp:
    """Find the proxy's idea of the client in a field, if the peer is believed.

    Args:
        field: The lower-case name; empty for the prelude.
        ranges: Whose field is believed, and which entries the walk skips.
        walk: `recursive` from the right over the ranges, the `last` entry, or the `leftmost`.
        line: Which line of the field is read: `all` joined, or the `first`.
        consume: Whether what was used is removed from the field.
        reached: What an entry names that is in the ranges and the last one left: the `entry`
            itself, or the `peer`.
    """

    field: str
    ranges: Ranges
    walk: Literal["recursive", "last", "leftmost"]
    line: Literal["all", "first"] = "all"
    consume: bool = False
    reached: Literal["entry", "peer"] = "entry"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the request here: the app does not get it."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A construct that is not understood, which may do anything to `fields`, or to all."""

    text: str
    fields: tuple[str, ...] = ()


Op = (
    SetField
    | AddField
    | AppendToField
    | DropField
    | DropUnderscored
    | DropAll
    | ForgetNominated
    | SetVariable
    | SetClient
    | RealIp
    | Refuse
    | Unknown
)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation, when it is done, and where that is written."""

    op: Op
    where: Where = field(default=NOWHERE, compare=False)
    guard: Guard = ALWAYS


# -- proxies -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PreludeRule:
    """Whose PROXY prelude a listener reads.

    Args:
        ranges: From whom one is read.
        required: Whether those peers must send one.
        where: Where that is written.
    """

    ranges: Ranges
    required: bool = True
    where: Where = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Note:
    """Why nobody sets a field on a way, as only the product's reader can know.

    Args:
        field: The lower-case name.
        text: The reason, for the sentence "field: reason".
        where: The line that is to blame.
    """

    field: str
    text: str
    where: Where


@dataclass(frozen=True, slots=True)
class Way:
    """A way from a listener through the proxy to what stands behind.

    Args:
        label: The server's name, for people; it may hold anything.
        path: The location or rule; empty for everything.
        where: Where the way is written.
        listen: The listener, for people.
        tls: Whether the listener ends TLS.
        steps: What is done to the head, in order.
        prelude: Whose PROXY prelude is read, if any.
        sends_prelude: Whether a prelude is sent on.
        tls_out: Whether the next hop is spoken to by TLS; None where either may be.
        layer4: Whether bytes are passed on unread: the next hop sees the sender's TLS, or none.
        transparent: Whether the next hop sees the peer's own address.
        notes: What is worth saying of a field.
        paste: The line after which a fix is pasted.
    """

    label: str
    path: str
    where: Where
    listen: str = ""
    tls: bool = False
    steps: tuple[Step, ...] = ()
    prelude: PreludeRule | None = None
    sends_prelude: bool = False
    tls_out: bool | None = False
    layer4: bool = False
    transparent: bool = False
    notes: tuple[Note, ...] = ()
    paste: Where = NOWHERE


@dataclass(frozen=True, slots=True)
class ProxyHop:
    """One proxy of a chain.

    Args:
        kind: The product.
        name: Its name in the chain: `edge`, `inner`, ...
        source: The file that it was read from.
        ways: The ways in; empty where the file has none.
        address: What the next hop sees as its peer.
        skipped: What was left out of the judgement, with the reason, for people.
    """

    kind: str
    name: str
    source: str
    ways: tuple[Way, ...]
    address: str = ""
    skipped: tuple[Note, ...] = ()
