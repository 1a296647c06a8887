"""Envoy: listeners, connection managers and routes to ways in; Istio's gateways are the same.

Decides what the connection manager does to a head before a route's own changes. Filters that nobody
here knows make a way unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from edgeserver.chains.model import (
    CLIENT,
    EVERY_ADDRESS,
    HOST,
    PEER,
    PRELUDE,
    SCHEME,
    AddField,
    AppendToField,
    DropField,
    Field,
    Join,
    NotGuard,
    Predicate,
    PreludeRule,
    Present,
    ProxyHop,
    SetClient,
    SetField,
    SetVariable,
    Step,
    Test,
    Text,
    Unknown,
    UnknownValue,
    Value,
    Variable,
    Way,
    Where,
    varying,
)
from edgeserver.chains.readers.base import Sources, lower_name, make_ranges, refuse, split_names
from edgeserver.chains.readers.yaml_tree import Node, parse_yaml

__all__ = ["connection_manager_steps", "read_envoy"]

_XFF, _PROTO = "x-forwarded-for", "x-forwarded-proto"
_DETECTED = "detected"
_COMMAND = re.compile(r"%([A-Z0-9_]+)(?:\(([^)]*)\))?(?::\d+)?%")
_FILTERS = split_names(
    """
    router cors rbac fault health_check buffer bandwidth_limit gzip compressor decompressor
    csrf grpc_web grpc_stats grpc_http1_bridge grpc_json_transcoder local_ratelimit ratelimit
    admission_control adaptive_concurrency cache jwt_authn stateful_session tap on_demand cdn_loop
    dynamic_forward_proxy set_metadata kill_request istio.alpn istio.stats istio_stats
    """
)
_LISTENER_FILTERS = frozenset(
    {"tls_inspector", "http_inspector", "proxy_protocol", "local_ratelimit"}
)


def read_envoy(path: str, sources: Sources, *, version: str = "") -> ProxyHop:
    """Read a bootstrap configuration, as YAML or JSON.

    Args:
        path: The file.
        sources: Where files come from.
        version: The product's version; empty for a recent one.

    Raises:
        ReadingError: The syntax is wrong, or there is no static listener.
        UnreadableFile: A file cannot be read.
    """
    text = sources.read(path)
    if path.endswith(".json"):
        try:
            text = json.dumps(json.loads(text))
        except (json.JSONDecodeError, RecursionError) as error:
            refuse(Where(path), f"this is no JSON: {error}")
    documents = parse_yaml(text, path)
    ways: list[Way] = []
    for document in documents:
        static = document.get("static_resources")
        clusters = static.get("clusters").entries or document.get("clusters").entries
        listeners = static.get("listeners").entries or document.get("listeners").entries
        for listener in listeners:
            ways.extend(_listener(listener, clusters))
    if not ways:
        refuse(Where(path), "no static listener with filters: this is no Envoy bootstrap")
    return ProxyHop("envoy", "", path, tuple(ways))


def _listener(listener: Node, clusters: Sequence[Node]) -> Iterator[Way]:
    """Yield the ways of one listener."""
    socket = listener.get("address", "socket_address")
    address = f"{socket.get('address').text or ''}:{socket.get('port_value').text or ''}"
    steps: list[Step] = [Step(SetClient(PRELUDE), listener.where)]
    prelude = None
    for each in listener.get("listener_filters").entries:
        kind = _short(each)
        if kind == "proxy_protocol":
            optional = each.get("typed_config", "allow_requests_without_proxy_protocol").is_true()
            prelude = PreludeRule(EVERY_ADDRESS, required=not optional, where=each.where)
        elif kind not in _LISTENER_FILTERS:
            steps.append(Step(Unknown(f"the listener filter {kind}"), each.where))
    chains = [*listener.get("filter_chains").entries]
    if listener.get("default_filter_chain"):
        chains.append(listener.get("default_filter_chain"))
    for chain in chains:
        tls = bool(chain.get("transport_socket")) and "raw_buffer" not in _short(
            chain.get("transport_socket")
        )
        if chain.get("use_proxy_proto").is_true():
            prelude = PreludeRule(EVERY_ADDRESS, where=chain.where)
        for each in chain.get("filters").entries:
            kind = _short(each)
            base = Way(
                label="",
                path="",
                where=each.where,
                listen=address,
                tls=tls,
                steps=tuple(steps),
                prelude=prelude,
                paste=each.where,
            )
            if kind == "http_connection_manager":
                yield from _manager(each.get("typed_config"), base, clusters)
            elif kind == "tcp_proxy":
                yield _tcp(each.get("typed_config"), base, clusters)
            elif kind not in (
                "rbac",
                "connection_limit",
                "local_ratelimit",
                "ratelimit",
                "sni_cluster",
            ):
                steps.append(Step(Unknown(f"the network filter {kind}"), each.where))


def _short(node: Node) -> str:
    """Return the last part of a filter's name, or of its type."""
    text = node.get("name").text or node.get("typed_config", "@type").text or "?"
    known = node.get("typed_config", "@type").text or ""
    if "HttpConnectionManager" in known:
        return "http_connection_manager"
    if known.endswith(".TcpProxy"):
        return "tcp_proxy"
    if known.endswith(".ProxyProtocol"):
        return "proxy_protocol"
    return text.rsplit("/", 1)[-1].rsplit(".", 1)[-1] if not text.startswith("istio") else text


def _cluster(name: str, clusters: Sequence[Node]) -> Node:
    """Return a cluster by its name."""
    return next((each for each in clusters if each.get("name").text == name), Node(Where("")))


def _outgoing(name: str, clusters: Sequence[Node]) -> tuple[bool, bool]:
    """Return whether a cluster is spoken to by TLS, and with a PROXY prelude."""
    socket = _cluster(name, clusters).get("transport_socket")
    kinds = " ".join(each.text for each in socket.walk() if each.text)
    return "UpstreamTlsContext" in kinds, "ProxyProtocolUpstreamTransport" in kinds


def _tcp(config: Node, base: Way, clusters: Sequence[Node]) -> Way:
    """Return a way whose bytes are passed on."""
    tls, prelude = _outgoing(config.get("cluster").text or "", clusters)
    return replace(base, layer4=True, tls_out=tls, sends_prelude=prelude)


def _manager(config: Node, base: Way, clusters: Sequence[Node]) -> Iterator[Way]:
    """Yield the ways of a connection manager: one for each route."""
    hops = config.get("xff_num_trusted_hops").text or "0"
    steps = [*base.steps]
    steps += connection_manager_steps(
        use_remote_address=config.get("use_remote_address").is_true(),
        hops=int(hops) if hops.isdigit() and len(hops) < 6 else 0,
        skip_append=config.get("skip_xff_append").is_true(),
        extensions=config.get("original_ip_detection_extensions").entries,
        where=(config.get("use_remote_address") or config).where,
    )
    for each in config.get("http_filters").entries:
        kind = _short(each)
        if kind == "header_mutation":
            steps += _header_mutation(each.get("typed_config"))
        elif kind not in _FILTERS:
            steps.append(Step(Unknown(f"the filter {kind}"), each.where))
    for key in ("early_header_mutation_extensions", "scoped_routes", "rds"):
        if config.get(key):
            steps.append(Step(Unknown(key), config.get(key).where))
    routes = config.get("route_config")
    hosts = routes.get("virtual_hosts").entries or [Node(config.where)]
    for host in hosts:
        label = " ".join(each for each in host.get("domains").texts() if each != "*")
        for route in host.get("routes").entries or [Node(host.where)]:
            action = route.get("route")
            if route.get("redirect") or route.get("direct_response"):
                continue
            more = [*_mutations(route), *_mutations(host), *_mutations(routes)]
            weighted = action.get("weighted_clusters", "clusters").entries
            for each in weighted:
                more = [*_mutations(each), *more]
            name = action.get("cluster").text or next(
                (each.get("name").text or "" for each in weighted), ""
            )
            tls, prelude = _outgoing(name, clusters)
            match = route.get("match")
            path = match.get("prefix").text or match.get("path").text or ""
            yield replace(
                base,
                label=label,
                path=path if path != "/" else "",
                where=route.where,
                steps=(*steps, *more),
                tls_out=tls,
                sends_prelude=prelude,
                paste=config.where,
            )


def connection_manager_steps(
    *,
    use_remote_address: bool,
    hops: int,
    skip_append: bool,
    extensions: Sequence[Node],
    where: Where,
) -> Iterator[Step]:
    """Yield what a connection manager does to X-Forwarded-For and X-Forwarded-Proto.

    Args:
        use_remote_address: Whether Envoy is an edge.
        hops: `xff_num_trusted_hops`.
        skip_append: `skip_xff_append`.
        extensions: `original_ip_detection_extensions`.
        where: The line that decides.
    """
    # a request that nominates a field in Connection is refused, and the field goes no further
    yield Step(DropField("connection"), where)
    append = Step(AppendToField(_XFF, CLIENT), where)
    if use_remote_address:
        detected: Value = CLIENT if not hops else UnknownValue("xff_num_trusted_hops", where)
        if hops == 1:
            detected = Field(_XFF, "last-element")
        yield Step(SetVariable(_DETECTED, detected), where)
        if not skip_append:
            yield append
        missing = NotGuard(Present(_PROTO))
        yield (
            Step(SetField(_PROTO, SCHEME), where, missing)
            if hops
            else Step(SetField(_PROTO, SCHEME), where)
        )
        return
    yield Step(SetVariable(_DETECTED, UnknownValue("use_remote_address: false", where)), where)
    for each in extensions:
        yield from _extension(each, append, skip_append=skip_append)
    yield Step(SetField(_PROTO, SCHEME), where, NotGuard(Present(_PROTO)))


def _extension(each: Node, append: Step, *, skip_append: bool) -> Iterator[Step]:
    """Yield what an extension that finds the client's address does to the list."""
    config = each.get("typed_config")
    if not (config.get("@type").text or "").endswith("XffConfig"):
        yield Step(Unknown("original_ip_detection_extensions"), each.where)
        return
    cidrs = config.get("xff_trusted_cidrs", "cidrs").entries
    skips = config.get("skip_xff_append").is_true(default=True)
    if skip_append or (skips and not cidrs):
        return
    if not skips:
        yield Step(append.op, each.where)
        return
    texts = [
        f"{one.get('address_prefix').text}/{one.get('prefix_len').text or 32}" for one in cidrs
    ]
    ranges, unknown = make_ranges(texts)
    if unknown:
        yield Step(Unknown("xff_trusted_cidrs", (_XFF,)), each.where)
    # a peer that is not listed is appended all the same
    known = Test(CLIENT, Predicate("ranges", ranges=ranges), each.where)
    yield Step(append.op, each.where, NotGuard(known))


def _header_mutation(config: Node) -> Iterator[Step]:
    """Yield what the filter of this name removes and adds."""
    for each in config.get("mutations", "request_mutations").entries:
        removed, added = each.get("remove").text, each.get("append")
        node = Node(each.where)
        if removed:
            node.items["request_headers_to_remove"] = Node(each.where, entries=[each.get("remove")])
        elif added:
            node.items["request_headers_to_add"] = Node(each.where, entries=[added])
        else:
            yield Step(Unknown("header_mutation"), each.where)
        yield from _mutations(node)


def _mutations(node: Node) -> Iterator[Step]:
    """Yield what a level of the routes removes and adds."""
    for each in node.get("request_headers_to_remove").entries:
        name = lower_name(each.text or "")
        if name:
            yield Step(DropField(name), each.where)
    for each in node.get("request_headers_to_add").entries:
        header = each.get("header")
        name = lower_name(header.get("key").text or "")
        if name is None:
            continue
        value = _format(header.get("value").text or "", each.where)
        action = each.get("append_action").text or ""
        if each.get("append").text is not None:
            old = each.get("append").is_true()
            action = "APPEND_IF_EXISTS_OR_ADD" if old else "OVERWRITE_IF_EXISTS_OR_ADD"
        if action in ("", "APPEND_IF_EXISTS_OR_ADD"):
            yield Step(AddField(name, value), each.where)
        elif action == "OVERWRITE_IF_EXISTS_OR_ADD":
            yield Step(SetField(name, value), each.where)
        elif action == "ADD_IF_ABSENT":
            yield Step(SetField(name, value), each.where, NotGuard(Present(name)))
        elif action == "OVERWRITE_IF_EXISTS":
            yield Step(SetField(name, value), each.where, Present(name))
        else:
            yield Step(Unknown(f"append_action {action}", (name,)), each.where)


def _format(text: str, where: Where) -> Value:
    """Return a value with Envoy's commands in it."""
    parts: list[Value] = []
    at = 0
    for found in _COMMAND.finditer(text):
        if found.start() > at:
            parts.append(Text(text[at : found.start()].replace("%%", "%")))
        parts.append(_command(found[1], found[2] or "", where))
        at = found.end()
    if at < len(text):
        parts.append(Text(text[at:].replace("%%", "%")))
    return parts[0] if len(parts) == 1 else Join(tuple(parts))


def _command(name: str, argument: str, where: Where) -> Value:
    """Return what one command stands for."""
    if name == "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT":
        return PEER
    if name == "DOWNSTREAM_DIRECT_REMOTE_ADDRESS":
        return Join((PEER, Text(":40000")))
    if name == "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":
        return Variable(_DETECTED)
    if name == "DOWNSTREAM_REMOTE_ADDRESS":
        return Join((Variable(_DETECTED), Text(":40000")))
    if name == "REQ" and "?" not in argument:
        lower = argument.lower()
        return Field(HOST if lower in (":authority", "host") else lower, "first")
    if name in ("PROTOCOL", "START_TIME", "STREAM_ID", "DOWNSTREAM_REMOTE_PORT"):
        return varying(name.lower())
    return UnknownValue(f"%{name}%", where)
