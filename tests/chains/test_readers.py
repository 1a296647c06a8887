"""Each product's own ways to be right and wrong, beyond the corpus."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeserver.chains.evaluate import Oracle, Request, Scope, run_way
from edgeserver.chains.kinds import reader_of
from tests.chains.chaining import PROXY, judge, outer, read
from tests.chains.sources import Texts

CADDY = """{{
  auto_https off
  servers {{
    {}
  }}
}}
http://shop.example {{
  reverse_proxy 192.0.2.80:8000 {{
    {}
  }}
}}
"""
TRAEFIK = """
entryPoints:
  web:
    address: ":80"
    {}
http:
  routers:
    r: {{rule: "x", service: s, middlewares: [m]}}
  middlewares:
    m:
      headers:
        customRequestHeaders: {}
"""
ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 0.0.0.0, port_value: 80}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          {}
          route_config:
            virtual_hosts:
            - domains: ["*"]
              {}
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: app}}
"""
HTTPD = "Listen 80\n<VirtualHost *:80>\n{}\nProxyPass / http://192.0.2.80:8000/\n</VirtualHost>\n"
VCL = 'vcl 4.1;\nacl us {{ "192.0.2.0"/24; }}\nsub vcl_recv {{\n{}\n}}\n'
LIGHTTPD = 'server.port = 80\nproxy.server = ( "" => ( ( "host" => "192.0.2.80" ) ) )\n{}\n'
INGRESS = "apiVersion: v1\nkind: ConfigMap\ndata:\n{}\n"
ALB = '{{"Attributes": [{{"Key": "routing.http.xff_header_processing.mode", "Value": "{}"}}]}}'
NLB = '{{"TargetGroup": {{"Protocol": "TCP", "TargetType": "{}"}}, "Attributes": [{}]}}'
PRESERVE = '{"Key": "preserve_client_ip.enabled", "Value": "true"}'

# kind, text, client alone, client behind one that appends, scheme alone
CASES = {
    "caddy-default": ("caddy", CADDY.format("", ""), "right", "names-outer-proxy", "right"),
    "caddy-private": (
        "caddy",
        CADDY.format("trusted_proxies static private_ranges", ""),
        "right",
        "names-outer-proxy",
        "right",
    ),
    "caddy-removed": (
        "caddy",
        CADDY.format("", "header_up -X-Forwarded-For"),
        "lost",
        "lost",
        "right",
    ),
    "caddy-added": (
        "caddy",
        CADDY.format("", "header_up +X-Forwarded-For {remote_host}"),
        "right",
        "names-outer-proxy",
        "right",
    ),
    "caddy-client-ip": (
        "caddy",
        CADDY.format("trusted_proxies static 0.0.0.0/0", "header_up X-Forwarded-For {client_ip}"),
        "spoofable",
        "spoofable",
        "spoofable",
    ),
    "caddy-client-ip-strict": (
        "caddy",
        CADDY.format(
            "trusted_proxies static 192.0.2.0/24\ntrusted_proxies_strict",
            "header_up X-Forwarded-For {client_ip}",
        ),
        "right",
        "right",
        "right",
    ),
    "caddy-client-ip-leftmost": (
        "caddy",
        CADDY.format("trusted_proxies static 192.0.2.5", "header_up X-Forwarded-For {client_ip}"),
        "right",
        "spoofable",
        "right",
    ),
    "traefik-trusted": (
        "traefik",
        TRAEFIK.format("forwardedHeaders: {trustedIPs: [192.0.2.5]}", "{}"),
        "right",
        "right",
        "right",
    ),
    "traefik-constant-scheme": (
        "traefik",
        TRAEFIK.format("", "{X-Forwarded-Proto: https}"),
        "right",
        "names-outer-proxy",
        "wrong-always",
    ),
    "traefik-constant-client": (
        "traefik",
        TRAEFIK.format("", '{X-Forwarded-For: "192.0.2.10"}'),
        "right",
        "lost",
        "right",
    ),
    "envoy-not-an-edge": (
        "envoy",
        ENVOY.format("use_remote_address: false", ""),
        "spoofable",
        "right",
        "spoofable",
    ),
    "envoy-skips": (
        "envoy",
        ENVOY.format("{use_remote_address: true, skip_xff_append: true}", "").replace(
            "{use_remote_address: true, skip_xff_append: true}",
            "use_remote_address: true\n          skip_xff_append: true",
        ),
        "spoofable",
        "right",
        "right",
    ),
    "envoy-absent": (
        "envoy",
        ENVOY.format(
            "use_remote_address: false",
            "request_headers_to_add: [{header: {key: X-Forwarded-For, value: "
            '"%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}, append_action: ADD_IF_ABSENT}]',
        ),
        "spoofable",
        "right",
        "spoofable",
    ),
    "httpd-default": ("httpd", HTTPD.format(""), "right", "right", "spoofable"),
    "httpd-remoteip": (
        "httpd",
        HTTPD.format("RemoteIPHeader X-Forwarded-For\nRemoteIPTrustedProxy 192.0.2.5"),
        "right",
        "right",
        "spoofable",
    ),
    "httpd-unset": (
        "httpd",
        HTTPD.format("RequestHeader unset X-Forwarded-Proto\nRequestHeader unset X-Forwarded-For"),
        "right",
        "names-outer-proxy",
        "right",
    ),
    "httpd-set-if-tls": (
        "httpd",
        HTTPD.format(
            'SetEnvIf X-Forwarded-Proto "^https$" TLS\n'
            "RequestHeader set X-Forwarded-Proto https env=TLS\n"
            "RequestHeader set X-Forwarded-Proto http env=!TLS"
        ),
        "right",
        "right",
        "spoofable",
    ),
    "varnish-replaced": (
        "varnish",
        VCL.format("set req.http.X-Forwarded-For = client.ip;"),
        "right",
        "names-outer-proxy",
        "spoofable",
    ),
    "varnish-by-hand": (
        "varnish",
        VCL.format(
            "if (req.http.X-Forwarded-Proto && client.ip !~ us) "
            '{ unset req.http.X-Forwarded-Proto; set req.http.X-Forwarded-Proto = "http"; }'
        ),
        "right",
        "right",
        "right",
    ),
    "lighttpd-extforward": (
        "lighttpd",
        LIGHTTPD.format('extforward.forwarder = ( "192.0.2.5" => "trust" )'),
        "right",
        "right",
        "right",
    ),
    "ingress-leftmost": (
        "ingress-nginx",
        INGRESS.format('  use-forwarded-headers: "true"'),
        "spoofable",
        "spoofable",
        "spoofable",
    ),
    "ingress-listed": (
        "ingress-nginx",
        INGRESS.format('  use-forwarded-headers: "true"\n  proxy-real-ip-cidr: 192.0.2.5/32'),
        "right",
        "right",
        "spoofable",
    ),
    "ingress-prelude": (
        "ingress-nginx",
        INGRESS.format('  use-proxy-protocol: "true"\n  proxy-real-ip-cidr: 192.0.2.5/32'),
        "right",
        "unreachable",
        "cannot-tell",
    ),
    "alb-preserve": ("alb", ALB.format("preserve"), "spoofable", "right", "right"),
    "nlb-instance": ("nlb", NLB.format("instance", ""), "right", "right", "right"),
    "nlb-preserved": ("nlb", NLB.format("ip", PRESERVE), "right", "right", "right"),
}


@pytest.mark.parametrize("case", CASES)
def test_reader(case: str) -> None:
    """A setting has the effect that the product's documentation says."""
    kind, text, alone, behind, scheme = CASES[case]
    hop = read(kind, text)
    judged = judge(hop)
    schemes = [each.case.scheme for each in judged.entries if not each.tls]
    assert judged.client == alone
    assert bool(judged.doubts) is (scheme == "cannot-tell")
    assert set(schemes) == {scheme}
    if case not in ("nlb-instance", "nlb-preserved"):
        assert judge(outer("append"), replace(hop, name="inner")).client == behind


@pytest.mark.parametrize(
    ("settings", "version", "client", "field"),
    [
        ("", "", "right", None),
        ('  use-forwarded-headers: "true"', "1.12.4", "right", None),
        (
            '  use-forwarded-headers: "true"',
            "1.13.0",
            "spoofable",
            "x-forwarded-for-proxy-protocol",
        ),
        ('  use-forwarded-headers: "true"', "", "spoofable", "x-forwarded-for-proxy-protocol"),
        (
            '  use-forwarded-headers: "true"\n  forwarded-for-proxy-protocol-header: X-Own',
            "",
            "spoofable",
            "x-own",
        ),
    ],
    ids=["prelude-alone", "older", "both-1.13", "both", "both-renamed"],
)
def test_ingress_behind_preludes(
    settings: str, version: str, client: str, field: str | None
) -> None:
    """Its realip reads the controller's own field as the client sent it, before it is written."""
    text = f'  use-proxy-protocol: "true"\n  proxy-real-ip-cidr: 192.0.2.0/24\n{settings}'
    reader = reader_of("ingress-nginx")
    assert reader is not None
    hop = reader("main", Texts(main=INGRESS.format(text)), version=version)
    judged = judge(outer("prelude"), replace(hop, name="inner", address=PROXY))
    assert (judged.client, judged.scheme) == (client, "cannot-tell")
    if field is not None:
        assert field in judged.trial.head
    assert any("$proxy_protocol_server_port" in doubt for doubt in judged.doubts)


@pytest.mark.parametrize(
    ("kind", "text", "version", "client"),
    [
        ("caddy", CADDY.format("", ""), "2.4.6", "right"),
        ("nginx", "X-Real-IP", "1.22.1", "lost"),
        ("nginx", "X-Real-IP", "", "lost"),
    ],
)
def test_versions(kind: str, text: str, version: str, client: str) -> None:
    """What an older version does is judged where the version is given."""
    reader = reader_of(kind)
    assert reader is not None
    if kind == "nginx":
        lines = f"proxy_set_header X-Forwarded-For 192.0.2.10; proxy_set_header {text} $http_x_a;"
        text = f"server {{ location / {{ proxy_pass http://a; {lines} }} }}\n"
    hop = replace(reader("main", Texts(main=text), version=version), name="e", address=PROXY)
    assert judge(hop).client == client
    head = {":path": ("/",), "x-a": ("1", "2"), "x-forwarded-for": ("9.9.9.9",)}
    oracle = Oracle([], Scope("203.0.113.250", (), exact=True))
    passed = run_way(hop.ways[0], Request("203.0.113.66", hop.ways[0].tls, head), oracle)
    assert passed is not None
    if kind == "nginx":
        assert passed.head["x-real-ip"] == (("1",) if version else ("1, 2",))
    else:
        assert passed.head["x-forwarded-for"] == ("9.9.9.9, 203.0.113.66",)


def test_httpd_forgets_what_connection_names() -> None:
    """A client of httpd on TLS removes the scheme with Connection, and so chooses it."""
    text = HTTPD.format('SSLEngine on\nRequestHeader set X-Forwarded-Proto "https"')
    judged = judge(read("httpd", text))
    assert judged.scheme_of(tls=True) == "spoofable"
    (entry,) = judged.entries
    assert entry.case.scheme_trial is not None
    assert entry.case.scheme_trial.head["connection"] == ("x-forwarded-proto",)
