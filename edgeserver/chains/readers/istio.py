"""Istio: the topology of a gateway to the connection manager that it makes.

Decides what `gatewayTopology` means: a gateway is an Envoy at the edge. What an `EnvoyFilter`
beside it changes is not looked at, and makes the way unknown.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgeserver.chains.model import (
    EVERY_ADDRESS,
    PRELUDE,
    PreludeRule,
    ProxyHop,
    SetClient,
    Step,
    Unknown,
    Way,
    Where,
)
from edgeserver.chains.readers.base import Sources, refuse
from edgeserver.chains.readers.envoy import connection_manager_steps
from edgeserver.chains.readers.yaml_tree import Node, parse_yaml

__all__ = ["read_istio"]

_ANNOTATION = "proxy.istio.io/config"


def read_istio(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read an IstioOperator, a mesh configuration, or a pod's annotation.

    Raises:
        ReadingError: It is no YAML, or nothing of Istio's is in it.
        UnreadableFile: The file cannot be read.
    """
    documents = parse_yaml(sources.read(path), path)
    found = [*_topologies(documents, path)]
    filters = [each for each in documents if each.get("kind").text == "EnvoyFilter"]
    text = " ".join(each.get("apiVersion").text or "" for each in documents)
    if not found and "istio.io" not in text:
        refuse(Where(path), "no gatewayTopology, and nothing of Istio's")
    topology = found[0] if found else Node(Where(path, 1))
    steps = [Step(SetClient(PRELUDE), topology.where)]
    steps += [Step(Unknown("an EnvoyFilter"), each.where) for each in filters]
    steps += [
        Step(Unknown("another gatewayTopology"), each.where)
        for each in found[1:]
        if each.get("numTrustedProxies").text != topology.get("numTrustedProxies").text
    ]
    count = topology.get("numTrustedProxies").text or "0"
    hops = int(count) if count.isdigit() and len(count) < 6 else 0
    steps += connection_manager_steps(
        use_remote_address=True, hops=hops, skip_append=False, extensions=(), where=topology.where
    )
    prelude = None
    if "proxyProtocol" in topology.items:
        prelude = PreludeRule(EVERY_ADDRESS, where=topology.get("proxyProtocol").where)
    ways = tuple(
        Way(
            "gateway",
            "",
            topology.where,
            listen,
            tls=tls,
            steps=tuple(steps),
            prelude=prelude,
            tls_out=None,
            paste=topology.where,
        )
        for listen, tls in ((":80", False), (":443", True))
    )
    return ProxyHop("istio", "", path, ways)


def _topologies(documents: list[Node], path: str) -> Iterator[Node]:
    """Yield every `gatewayTopology`, those in annotations too."""
    for document in documents:
        for node in document.walk():
            topology = node.get("gatewayTopology")
            if topology:
                yield topology
            written = node.get(_ANNOTATION).text
            mesh = node.get("mesh").text
            for text in (written, mesh):
                if text and "gatewayTopology" in text:
                    yield from _topologies(parse_yaml(text, path), path)
