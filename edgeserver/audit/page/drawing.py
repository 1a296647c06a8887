"""The drawing of a graph as SVG: once from left to right, and once from above for narrow windows.

Decides geometry alone; colours are the style sheet's. An edge that passes over hops has a lane of
its own beside the places that it passes.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from edgeserver.audit.page.graph import (
    Column,
    Edge,
    Graph,
    Look,
    Place,
    arrange_columns,
    share_words,
)
from edgeserver.audit.page.markup import Markup, element, joined

__all__ = ["draw_graph"]

_Key = tuple[int, str]
_Point = tuple[float, float]


class _Sizes(NamedTuple):
    """How large things are, along the chain and across it.

    Args:
        along: A place.
        across: The same.
        between: The gap between two columns at least.
        beside: The gap between two places of a column.
        lane: A lane.
        most: How many places stand in a column.
        total: How long the whole is at least, and how wide a column at most; 0 for what it takes.
        is_wide: Whether the chain goes from left to right.
    """

    along: float
    across: float
    between: float
    beside: float
    lane: float
    most: int
    total: float
    is_wide: bool


_WIDE: Final = _Sizes(172, 46, 72, 14, 30, 9, 1120, True)
_NARROW: Final = _Sizes(44, 108, 46, 9, 44, 3, 342, False)
_ARROW: Final = 8.0
_LABEL_ROOM: Final = 130.0
"""How long an edge is at least that has something written beside it."""

_CHARACTER: Final = 0.61
"""How wide a character of a monospaced font is, in ems."""


class _Box(NamedTuple):
    """Where a place or a lane is: along and across, from here to there."""

    along: float
    across: float
    length: float
    breadth: float


def draw_graph(graph: Graph) -> Markup:
    """Return the pictures of a graph, of which the style sheet shows one."""
    return joined(
        element("div", _draw(graph, _WIDE), class_="chart wide"),
        element("div", _draw(graph, _NARROW), class_="chart narrow"),
    )


def _draw(graph: Graph, sizes: _Sizes) -> Markup:
    columns, edges = arrange_columns(graph, sizes.most)
    bundles = _bundles(edges)
    boxes, length, breadth = _place(columns, edges, bundles, sizes)
    leaving, reaching = _ends(edges, bundles, boxes)
    shapes: list[Markup] = []
    for key, bundle in bundles.items():
        shapes += _bundle(bundle, leaving[key], reaching, boxes, sizes)
    for number, column in enumerate(columns):
        for name, place in column.places.items():
            shapes.append(_node(place, boxes[number, name], sizes))
    width, height = (length, breadth) if sizes.is_wide else (breadth, length)
    return element(
        "svg",
        element("title", graph.title),
        *shapes,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="img",
        aria_label=graph.title,
    )


def _bundles(edges: list[Edge]) -> dict[str, list[Edge]]:
    """Return the edges, those together that pass the same hops and look the same."""
    bundles: dict[str, list[Edge]] = {}
    for edge in edges:
        is_short = edge.target[0] - edge.source[0] == 1
        target = f"{edge.target[1]}" if is_short else ""
        key = f"\0lane {edge.source} {edge.target[0]} {edge.look} {target}"
        bundles.setdefault(key, []).append(edge)
    return bundles


# -- where things are ------------------------------------------------------------------------------


def _slots(
    columns: list[Column], bundles: dict[str, list[Edge]], sizes: _Sizes
) -> list[dict[str, float]]:
    """Return what each column holds, places and lanes, with how much room each takes across."""
    slots = [
        {name: _breadth(len(column.places), sizes) for name in column.places} for column in columns
    ]
    for key, bundle in sorted(bundles.items(), key=lambda each: each[1][0].target[0]):
        for number in range(bundle[0].source[0] + 1, bundle[0].target[0]):
            slots[number][key] = sizes.lane
    return slots


def _breadth(count: int, sizes: _Sizes) -> float:
    """Return how broad a place is: in a narrow window those of a column share it."""
    if sizes.is_wide:
        return sizes.across
    return min(172.0, max(sizes.across, (sizes.total - sizes.beside * (count - 1)) / count - 60))


def _place(
    columns: list[Column], edges: list[Edge], bundles: dict[str, list[Edge]], sizes: _Sizes
) -> tuple[dict[_Key, _Box], float, float]:
    """Return the box of each place and lane, and the size of the whole."""
    slots = _slots(columns, bundles, sizes)
    extents = [sum(each.values()) + sizes.beside * (len(each) - 1) for each in slots]
    breadth = max(extents)
    if not sizes.is_wide:
        breadth = max(breadth, sizes.total)
    between = sizes.between
    if sizes.is_wide and len(columns) > 1:
        room = (sizes.total - len(columns) * sizes.along) / (len(columns) - 1)
        between = max(between, min(room, 240.0))
    boxes: dict[_Key, _Box] = {}
    for number, each in enumerate(slots):
        along = 1 + number * (sizes.along + between)
        if len(each) == 1 and sizes.is_wide:  # an end, beside which nothing stands
            most = max(sizes.across, min(breadth, 64.0 + 12 * len(edges)))
            ((name, _),) = each.items()
            boxes[number, name] = _Box(along, 1 + (breadth - most) / 2, sizes.along, most)
            continue
        across = 1 + (breadth - extents[number]) / 2
        for name, size in each.items():
            boxes[number, name] = _Box(along, across, sizes.along, size)
            across += size + sizes.beside
    return boxes, 2 + len(columns) * sizes.along + (len(columns) - 1) * between, breadth + 2


def _ends(
    edges: list[Edge], bundles: dict[str, list[Edge]], boxes: dict[_Key, _Box]
) -> tuple[dict[str, float], dict[tuple[_Key, str], float]]:
    """Return where bundles leave their places, across, and where they reach others.

    Those of one place are spread over its side, in the order of what is at their other end.
    """
    leaving: dict[_Key, list[tuple[float, str]]] = {}
    reaching: dict[_Key, list[tuple[float, str]]] = {}
    for key, bundle in bundles.items():
        source, column = bundle[0].source, bundle[0].target[0]
        has_lane = column - source[0] > 1
        first = boxes[(source[0] + 1, key) if has_lane else bundle[0].target]
        leaving.setdefault(source, []).append((first.across + first.breadth / 2, key))
        last = boxes[(column - 1, key) if has_lane else source]
        for edge in bundle:
            reaching.setdefault(edge.target, []).append((last.across + last.breadth / 2, key))
    return (
        {key: at for place, found in leaving.items() for key, at in _spread(boxes[place], found)},
        {
            (place, key): at
            for place, found in reaching.items()
            for key, at in _spread(boxes[place], found)
        },
    )


def _spread(box: _Box, found: list[tuple[float, str]]) -> list[tuple[str, float]]:
    """Return where on the side of a box each of some ends is."""
    return [
        (key, box.across + box.breadth * number / (len(found) + 1))
        for number, (_, key) in enumerate(sorted(found), start=1)
    ]


# -- shapes ----------------------------------------------------------------------------------------


def _width(share: float | None) -> float:
    """Return how wide an edge is: as the logarithm of its share."""
    if share is None:
        return 2.5
    return 1.5 + 3.0 * math.log10(1 + 1000 * min(max(share, 0.0), 1.0))


def _bundle(
    bundle: list[Edge],
    start: float,
    reaching: dict[tuple[_Key, str], float],
    boxes: dict[_Key, _Box],
    sizes: _Sizes,
) -> list[Markup]:
    """Return edges that pass the same hops: one band up to their last lane, then one for each.

    Args:
        bundle: The edges.
        start: Where they leave their place, across.
        reaching: Where each reaches its own.
        boxes: The boxes of places and lanes.
        sizes: How large things are.
    """
    first = bundle[0]
    (key,) = _bundles([first])
    source, column = boxes[first.source], first.target[0]
    here = (source.along + source.length, start)
    lanes = [boxes[number, key] for number in range(first.source[0] + 1, column)]
    shares = [each.share for each in bundle if each.share is not None]
    total = sum(shares) if shares else None
    labels = [*dict.fromkeys(label for each in bundle for label in each.labels)]
    said = ", ".join(filter(None, (share_words(total), *labels)))
    shapes = []
    if lanes:
        path = f"M{_xy(here, sizes)}"
        for lane in lanes:
            across = lane.across + lane.breadth / 2
            path += _curve(here, (lane.along, across), sizes)
            here = (lane.along + lane.length, across)
            path += f"L{_xy(here, sizes)}"
        shapes.append(_band(path, _width(total), first.look, said))
    for edge in bundle:
        end = reaching[edge.target, key]
        shapes.append(_last(edge, here, (boxes[edge.target].along, end), sizes))
    if lanes and said:
        shapes.append(_lane_label(said, total, lanes[0], first.look, sizes))
    elif labels and boxes[first.target].along - here[0] > _LABEL_ROOM:
        end = reaching[first.target, key]
        middle = (
            (here[0] + boxes[first.target].along) / 2,
            (start + end) / 2 - _width(total) / 2 - 5,
        )
        shapes.append(_label(", ".join(labels), middle, "middle", f"lane {first.look}", sizes))
    return shapes


def _last(edge: Edge, here: _Point, end: _Point, sizes: _Sizes) -> Markup:
    """Return the last piece of an edge, with its arrow."""
    width = _width(edge.share)
    arrow = _ARROW + width * 0.6
    neck = end[0] - arrow
    path = f"M{_xy(here, sizes)}{_curve(here, (neck, end[1]), sizes)}"
    tip = ((end[0] - 1, end[1]), (neck, end[1] - arrow / 2), (neck, end[1] + arrow / 2))
    said = ", ".join(filter(None, (share_words(edge.share), *edge.labels)))
    points = " ".join(_xy(each, sizes) for each in tip)
    return _band(path, width, edge.look, said, element("polygon", points=points))


def _band(path: str, width: float, look: Look, said: str, *more: Markup) -> Markup:
    return element(
        "g",
        element("title", said) if said else "",
        element("path", d=path, stroke_width=f"{width:.1f}"),
        *more,
        class_=f"edge {look}",
    )


def _curve(here: _Point, there: _Point, sizes: _Sizes) -> str:
    """Return a curve that leaves one point and reaches another along the chain."""
    middle = (here[0] + there[0]) / 2
    return f"C{_xy((middle, here[1]), sizes)} {_xy((middle, there[1]), sizes)} {_xy(there, sizes)}"


def _lane_label(said: str, share: float | None, lane: _Box, look: Look, sizes: _Sizes) -> Markup:
    """Return what is said of edges that pass over hops, beside their lane."""
    across, width = lane.across + lane.breadth / 2, _width(share)
    if sizes.is_wide:
        point = (lane.along + lane.length / 2, across - width / 2 - 4)
        return _label(said, point, "middle", f"lane {look}", sizes)
    point = (lane.along + lane.length / 2, across)
    return _label(share_words(share), point, "middle", f"lane {look}", sizes)


def _node(place: Place, box: _Box, sizes: _Sizes) -> Markup:
    """Return a place: a box with its title and a note."""
    x, y = (box.along, box.across) if sizes.is_wide else (box.across, box.along)
    width, height = (box.length, box.breadth) if sizes.is_wide else (box.breadth, box.length)
    size = 12.5 if sizes.is_wide else 10.8
    room = int((width - 12) / (size * _CHARACTER))
    note = place.note
    if sizes.is_wide and place.more:
        note = " \u00b7 ".join(filter(None, (place.note, place.more)))
    middle, centre = x + width / 2, y + height / 2
    said = " \u00b7 ".join(filter(None, (place.title, place.note, place.more)))
    return element(
        "g",
        element("title", said),
        element("rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{width:.1f}", height=f"{height:.1f}",
                rx="6"),
        element("text", _fitting(place.title, room), x=f"{middle:.1f}",
                y=f"{centre - (3 if note else -4):.1f}", class_="title", font_size=size),
        element("text", _fitting(note, int(room * 1.3)), x=f"{middle:.1f}", y=f"{centre + 13:.1f}",
                class_="note", font_size=size - 1.5) if note else "",
        class_=f"place {place.kind}",
    )  # fmt: skip


def _label(text: str, point: _Point, anchor: str, look: str, sizes: _Sizes) -> Markup:
    along, across = point
    x, y = (along, across) if sizes.is_wide else (across, along)
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor,
                   class_=look, font_size="11.5")  # fmt: skip


def _fitting(text: str, most: int) -> str:
    """Return a text that fits: its middle goes, since both ends of an address tell it."""
    if len(text) <= most:
        return text
    kept = max(2, most - 1)
    return f"{text[: kept - kept // 2]}\u2026{text[len(text) - kept // 2 :]}"


def _xy(point: _Point, sizes: _Sizes) -> str:
    """Return a point as SVG has it."""
    along, across = point
    x, y = (along, across) if sizes.is_wide else (across, along)
    return f"{x:.1f},{y:.1f}"
