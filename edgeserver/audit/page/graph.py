"""The graph of chains: places in columns, the edges between them, and what is folded into one.

Decides where a place stands: a column is a hop, counted from the application, so that chains of
different lengths share their inner proxies. It must not know how the graph is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal, NamedTuple

__all__ = [
    "MOST_COLUMNS",
    "Column",
    "Edge",
    "Graph",
    "Look",
    "Place",
    "PlaceKind",
    "Route",
    "arrange_columns",
    "share_words",
]

PlaceKind = Literal["stranger", "proxy", "unlisted", "client", "claim", "app", "others"]
Look = Literal["plain", "past", "bad", "unsure", "good"]

MOST_COLUMNS: Final = 6
"""How many hops of a chain are drawn; those further out are one."""

STRANGER: Final = "\0stranger"
APP: Final = "\0app"
_OTHERS: Final = "\0others"


class Place(NamedTuple):
    """Somebody in a chain.

    Args:
        title: The address or name.
        note: What is most worth saying of it, in a few words.
        more: What else is, where there is room.
        kind: What it is.
    """

    title: str
    note: str = ""
    more: str = ""
    kind: PlaceKind = "proxy"


class Route(NamedTuple):
    """One way that requests take.

    Args:
        stops: The names of the places between the ends, outermost first.
        share: How many of all requests take it, 0 to 1; None where nobody has counted.
        look: What the edge from the outer end looks like.
        label: What is said of that edge.
    """

    stops: tuple[str, ...]
    share: float | None = None
    look: Look = "plain"
    label: str = ""


@dataclass
class Edge:
    """An edge between two places, each given by its column and name.

    Args:
        source: Where it begins.
        target: Where it ends, in a column further in.
        share: The share of requests, or None.
        look: What it looks like.
        labels: What is said of it.
    """

    source: tuple[int, str]
    target: tuple[int, str]
    share: float | None = None
    look: Look = "plain"
    labels: list[str] = field(default_factory=list)


@dataclass
class Graph:
    """What is to be drawn.

    Args:
        title: What it shows, in a sentence.
        app: The inner end.
        places: The others, by name.
        routes: The ways.
        stranger: The outer end; None where the routes begin with somebody that is known.
        requests: How many requests all routes have together, for a place to say its own; 0 where
            nobody has counted.
    """

    title: str
    app: Place
    places: Mapping[str, Place]
    routes: list[Route]
    stranger: Place | None = None
    requests: float = 0.0


class Column(NamedTuple):
    """A column: its places by name, with their shares, the largest first."""

    places: dict[str, Place]
    shares: dict[str, float]


def arrange_columns(graph: Graph, most: int) -> tuple[list[Column], list[Edge]]:
    """Return the columns, outermost first, and the edges.

    Args:
        graph: The graph.
        most: How many places stand in one column; the smallest others are folded into one.
    """
    routes = [each._replace(stops=_shortened(each.stops)) for each in graph.routes]
    depth = max((len(each.stops) for each in routes), default=0)
    first = 1 if graph.stranger is not None else 0
    end = first + depth
    shares: list[dict[str, float]] = [{} for _ in range(end + 1)]
    paths = []
    for route in routes:
        stops = [(end - len(route.stops) + n, name) for n, name in enumerate(route.stops)]
        path = [*([(0, STRANGER)] if first else []), *stops, (end, APP)]
        for column, name in path:
            shares[column][name] = shares[column].get(name, 0.0) + (route.share or 0.0)
        paths.append((route, path))
    shares[end].setdefault(APP, 0.0)
    if first:
        shares[0].setdefault(STRANGER, 0.0)
    folded = [_folded(each, most) for each in shares]
    columns = [_column(graph, each, names) for each, names in zip(shares, folded, strict=True)]
    return columns, _edges(paths, folded)


def share_words(share: float | None) -> str:
    """Return a share as people read it; nothing for none."""
    if share is None:
        return ""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _shortened(stops: tuple[str, ...]) -> tuple[str, ...]:
    """Return the innermost stops of a chain that is longer than any that is drawn."""
    if len(stops) <= MOST_COLUMNS:
        return stops
    return (_OTHERS, *stops[1 - MOST_COLUMNS :])


def _folded(shares: Mapping[str, float], most: int) -> dict[str, str]:
    """Return the name under which each place of a column is drawn."""
    order = sorted(shares, key=lambda name: (name == _OTHERS, -shares[name]))
    kept = order if len(order) <= most else order[: most - 1]
    return {name: name if name in kept else _OTHERS for name in order}


def _column(graph: Graph, shares: Mapping[str, float], names: Mapping[str, str]) -> Column:
    places: dict[str, Place] = {}
    sums: dict[str, float] = {}
    folded = [name for name, shown in names.items() if shown == _OTHERS]
    for name, shown in names.items():
        sums[shown] = sums.get(shown, 0.0) + shares[name]
        if shown == _OTHERS:
            places[shown] = Place(
                f"{len(folded)} other{'' if len(folded) == 1 else 's'}", kind="others"
            )
        elif shown == STRANGER:
            assert graph.stranger is not None
            places[shown] = graph.stranger
        else:
            places[shown] = graph.app if shown == APP else graph.places.get(shown, Place(shown))
    if graph.requests:
        for shown, place in places.items():
            if not place.note:
                count = f"{sums[shown] * graph.requests:,.0f}"
                more = f"{count} request{'' if count == '1' else 's'}"
                places[shown] = place._replace(note=share_words(sums[shown]), more=more)
    return Column(places, sums)


def _edges(
    paths: Iterable[tuple[Route, list[tuple[int, str]]]], folded: list[dict[str, str]]
) -> list[Edge]:
    """Return the edges, each once for each look, with the sum of its routes' shares."""
    edges: dict[tuple[tuple[int, str], tuple[int, str], Look], Edge] = {}
    for route, path in paths:
        drawn = [(column, folded[column][name]) for column, name in path]
        for number, (source, target) in enumerate(pairwise(drawn)):
            look = route.look if number == 0 else "plain"
            edge = edges.setdefault((source, target, look), Edge(source, target, look=look))
            if route.share is not None:
                edge.share = (edge.share or 0.0) + route.share
            if number == 0 and route.label and route.label not in edge.labels:
                edge.labels.append(route.label)
    return [*edges.values()]
