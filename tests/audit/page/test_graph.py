"""The graph of chains: columns, folding, what comes past the outer proxy, and widths."""

from __future__ import annotations

import re

import pytest

from edgeserver.audit.page.graph import Graph, Place, Route, arrange_columns
from edgeserver.audit.page.logged import LogPolicy, chain_graph
from tests.audit.page.samples import render

APP = Place("app", kind="app")


def _graph(*routes: Route) -> Graph:
    return Graph(title="t", app=APP, places={}, routes=[*routes], stranger=Place("s"), requests=10)


def test_columns_are_hops_from_the_application() -> None:
    """Chains of different lengths share the columns of their inner proxies."""
    columns, edges = arrange_columns(
        _graph(Route(("a", "b"), 0.5), Route(("b",), 0.3), Route((), 0.2)), 9
    )
    assert [[place.title for place in each.places.values()] for each in columns] == [
        ["s"],
        ["a"],
        ["b"],
        ["app"],
    ]
    assert {(edge.source[0], edge.target[0]): edge.share for edge in edges} == {
        (0, 1): 0.5,
        (1, 2): 0.5,
        (2, 3): pytest.approx(0.8),
        (0, 2): 0.3,
        (0, 3): 0.2,
    }


def test_many_proxies_are_folded() -> None:
    """Of 50 places in a column the largest are drawn, and the others are one."""
    routes = [Route((f"10.0.0.{number}",), number / 1225) for number in range(50)]
    columns, edges = arrange_columns(_graph(*routes), 9)
    titles = [place.title for place in columns[1].places.values()]
    assert titles[0] == "10.0.0.49"
    assert titles[-1] == "42 others"
    assert len(titles) == 9
    assert sum(edge.share or 0 for edge in edges if edge.target[0] == 1) == pytest.approx(1.0)


def test_long_chains_are_cut() -> None:
    """Of a chain of a hundred hops the innermost are drawn, and the others are one."""
    columns, _ = arrange_columns(_graph(Route(tuple(map(str, range(100))), 1.0)), 9)
    assert len(columns) == 8
    assert [place.title for place in columns[1].places.values()] == ["1 other"]


@pytest.mark.parametrize(
    ("chains", "past"),
    [
        ({(): 5, ("10.0.0.1",): 5}, [()]),
        ({(): 5}, []),
        ({("10.0.0.1",): 5, ("10.0.0.2",): 5}, []),
        ({("10.0.0.2", "10.0.0.1"): 9, ("10.0.0.1",): 1}, [("10.0.0.1",)]),
        ({("10.0.0.2", "10.0.0.1"): 1, ("10.0.0.1",): 9}, []),
        ({("203.0.113.4",): 5, ("10.0.0.1",): 5}, [()]),
        ({("other",): 5, ("10.0.0.1",): 5}, []),
    ],
    ids=[
        "direct",
        "nobody lists",
        "two edges",
        "inner",
        "mostly outermost",
        "a stranger",
        "others",
    ],
)
def test_past_the_outer_proxy(
    chains: dict[tuple[str, ...], int], past: list[tuple[str, ...]]
) -> None:
    """Requests come past it where most reach the same place over another proxy."""
    graph = chain_graph([*chains.items()], LogPolicy(["10.0.0.0/8"]), set(), APP, "t")
    assert [route.stops for route in graph.routes if route.look == "past"] == past


def _widths(shares: dict[str, float]) -> list[float]:
    report = {
        "log": {"requests": 1},
        "policy": {"proxies": ["10.0.0.0/8"]},
        "chains": [{"hops": [hop], "requests": share} for hop, share in shares.items()],
    }
    wide = render(report).split('class="chart narrow"')[0]
    return sorted({float(each) for each in re.findall(r'stroke-width="([0-9.]+)"', wide)})


def test_edges_are_as_wide_as_the_logarithm_of_their_share() -> None:
    """A share that is ten times another adds the same to the width, wherever it stands."""
    widths = _widths({"10.0.0.1": 0.001, "10.0.0.2": 0.01, "10.0.0.3": 0.1, "10.0.0.4": 0.889})
    assert len(widths) == 4
    assert widths[2] - widths[1] == pytest.approx(widths[1] - widths[0], abs=0.8)
    assert 1 < widths[0] < widths[-1] < 12


def test_both_directions_are_drawn() -> None:
    """The same chain is there for wide windows and for narrow ones, with names to hover over."""
    proxies = ["2001:db8:1:2:3:4:5:6"]
    chains = [{"hops": proxies, "requests": 1}]
    page = render({"log": {"requests": 1}, "policy": {"proxies": proxies}, "chains": chains})
    assert page.count("<svg ") == 2
    assert page.count('role="img"') == 2
    assert page.count("<title>2001:db8:1:2:3:4:5:6 ") == 2
