"""What is not understood is never called right, and does not hide what is proved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chains.chaining import judge, nginx_location, outer, read

GOOD = "proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;"

HAPROXY = """
defaults
  mode http
frontend f
  bind :80
  {}
  default_backend b
backend b
  server s 192.0.2.80:8000
"""
CADDY = "http://shop.example {{\n {}\n reverse_proxy 192.0.2.80:8000 {{\n {}\n }}\n}}\n"
TRAEFIK = """
entryPoints: {{web: {{address: ":80"}}}}
http:
  routers: {{r: {{rule: "x", service: s, middlewares: [m]}}}}
  middlewares: {{m: {{{}}}}}
"""


@pytest.mark.parametrize(
    ("location", "server", "http"),
    [
        (GOOD + "access_by_lua_block { ngx.req.set_header('X-Forwarded-For', 'x') }", "", ""),
        (GOOD, "rewrite_by_lua_file x.lua;", ""),
        (GOOD, "", "some_new_directive on;"),
        ("more_set_input_headers 'X-Forwarded-For: x';", "", ""),
        ("proxy_set_header X-Forwarded-For $lua_value;", "", ""),
        ("proxy_set_header X-Forwarded-For $who;", "set_by_lua $who 'return 1';", ""),
        ("proxy_set_header X-Forwarded-For $who;", "", "perl_set $who 'sub {}';"),
        ("proxy_set_header X-Forwarded-For $who;", "auth_request_set $who $upstream_http_x;", ""),
        ("proxy_set_header X-Forwarded-For $remote_addr;", "set_real_ip_from lb.example;", ""),
        ("proxy_set_header X-Forwarded-For $a;", "", "map $remote_addr $a { a b c; }"),
        ("proxy_set_header X-Forwarded-For $a;", "", "geo $a { proxy 10.0.0.0/8; default x; }"),
        ("proxy_set_header X-Forwarded-For $a;", "", "split_clients $arg_x $a { * $http_x; }"),
        (
            "proxy_set_header X-Forwarded-For $a;",
            "",
            "map $b $a { default $b; } map $a $b { default $a; }",
        ),
        (
            "proxy_set_header X-Forwarded-For $a;",
            "",
            r"map $http_x $a { '~^(a+)+\1$' $http_x; default $remote_addr; }",
        ),
        # no dot and no beginning: 110.0.0.1 passes
        (
            "proxy_set_header X-Forwarded-For $a;",
            "",
            r"map $remote_addr $a { '~10\.' $http_x_forwarded_for; default $remote_addr; }",
        ),
        (
            r"if ($remote_addr ~ ^9\.) { set $a $http_x; } proxy_set_header X-Forwarded-For $a;",
            "set $a $remote_addr;",
            "",
        ),
        (
            "proxy_set_header X-Forwarded-For $a;",
            "",
            "map $http_x_edge_secret $a { s3cret $http_x_forwarded_for; default $remote_addr; }",
        ),
    ],
)
def test_nginx(location: str, server: str, http: str) -> None:
    """A module, a variable or a pattern that is not understood leaves the verdict open."""
    judged = judge(nginx_location(location, server=server, http=http))
    assert judged.client == "cannot-tell"
    assert any("main" in doubt for doubt in judged.doubts)


@pytest.mark.parametrize(
    "rule",
    [
        "http-request lua.find_client",
        "http-request set-header X-Forwarded-For %[lua.client]",
        "http-request set-header X-Forwarded-For %[src] unless { lua.is_proxy }",
        "http-request set-src hdr(X-Real-IP) if { sc0_get_gpc0 gt 1 }\n  option forwardfor",
        "http-request replace-header X-Forwarded-For .* \\1",
        "http-request set-header X-Forwarded-For $CLIENT",
        "filter spoe engine x",
        "mystery on",
        "option forwardfor\n  http-request del-header x-forwarded-for -m reg .*",
        "http-request set-header X-Forwarded-For %[var(txn.nobody_set)]\n  http-request lua.x",
    ],
)
def test_haproxy(rule: str) -> None:
    """Lua, tables, environment variables and filters leave the verdict open."""
    assert judge(read("haproxy", HAPROXY.format(rule))).client == "cannot-tell"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("caddy", CADDY.format("magic_plugin on", "")),
        ("caddy", CADDY.format("", "header_up X-Forwarded-For {http.vars.who}")),
        ("caddy", CADDY.format("", "header_up X-Forwarded-For {$CLIENT}")),
        ("traefik", TRAEFIK.format("plugin: {demo: {}}")),
        ("httpd", "Listen 80\nLuaHookFixups x.lua f\nProxyPass / http://192.0.2.80/\n"),
        (
            "httpd",
            "RequestHeader edit X-Forwarded-For a b\nProxyAddHeaders Off\nProxyPass / http://a/\n",
        ),
        ("varnish", "vcl 4.1;\nsub vcl_recv { std.late(); }\n"),
        ("lighttpd", 'proxy.server = ()\nextforward.forwarder = ("all" => "trust")\n'),
        ("ingress-nginx", "kind: ConfigMap\ndata: {http-snippet: 'x'}\n"),
        (
            "alb",
            '{"Attributes": [{"Key": "routing.http.xff_header_processing.mode", "Value": "x"}]}',
        ),
        ("nlb", '{"Attributes": [{"Key": "proxy_protocol_v2.enabled", "Value": "false"}]}'),
        ("istio", "kind: EnvoyFilter\napiVersion: networking.istio.io/v1\n"),
    ],
)
def test_others(kind: str, text: str) -> None:
    """Plugins, scripts and unknown settings of every product leave the verdict open."""
    assert judge(read(kind, text)).client == "cannot-tell"


def test_what_is_proved_is_said_all_the_same() -> None:
    """A request that works whatever the unknown does is an answer."""
    judged = judge(nginx_location("proxy_set_header X-Forwarded-Proto $lua_scheme;"))
    assert (judged.client, judged.scheme) == ("spoofable", "cannot-tell")


TESTED = {
    "map": ("map $lua_x $s { 443 https; default $scheme; }", ""),
    "map-of-patterns": ("map $lua_x $s { ~4 https; default $scheme; }", ""),
    "geo": ("geo $lua_x $s { 10.0.0.0/8 https; default $scheme; }", ""),
    "if": ("", "set $s $scheme; if ($lua_x = 443) { set $s https; }"),
    "variable": ("", "set $s $scheme; set $a $lua_x; if ($a = 443) { set $s https; }"),
    "port": ("map $server_port $s { 443 https; default $scheme; }", ""),
    "peers-port": ("map $remote_port $s { 443 https; default $scheme; }", ""),
    "preludes-port": ("map $proxy_protocol_server_port $s { 443 https; default $scheme; }", ""),
    "kept-in-a-variable": (
        "map $a $s { 443 https; default $scheme; }",
        "set $a $remote_port;",
    ),
    "content-type": ("map $content_type $s { a/b https; default $scheme; }", ""),
    "step": (
        "map $http_x_a $s { 443 https; default $scheme; }",
        "more_set_input_headers 'X-A: $lua_x';",
    ),
}


@pytest.mark.parametrize("name", TESTED)
def test_what_is_tested_may_be_what_is_tested_for(name: str) -> None:
    """A value that is not understood passes any test, and fails it: none is the only answer."""
    http, location = TESTED[name]
    text = f"{GOOD}{location}proxy_set_header X-Forwarded-Proto $s;"
    judged = judge(nginx_location(text, http=http))
    assert judged.scheme in ("cannot-tell", "spoofable")
    assert judged.doubts or judged.scheme == "spoofable"


@pytest.mark.parametrize(
    ("bind", "criterion", "scheme"),
    [
        ("", "dst_port 443", "right"),
        (" accept-proxy", "dst_port 443", "cannot-tell"),
        ("", "src_port 443", "cannot-tell"),
    ],
)
def test_ports_that_a_sender_chooses(bind: str, criterion: str, scheme: str) -> None:
    """A prelude names the port that it came to, and a client takes one that it likes."""
    text = (
        f"frontend f\n mode http\n bind :80{bind}\n option forwardfor\n"
        f" http-request set-header X-Forwarded-Proto https if {{ {criterion} }}\n"
        f" http-request set-header X-Forwarded-Proto http if !{{ {criterion} }}\n"
        " default_backend b\nbackend b\n server s 192.0.2.80:80\n"
    )
    assert judge(read("haproxy", text)).scheme == scheme


def test_what_may_be_refused_is_not_unreachable() -> None:
    """Where every way past a condition is uncertain, that is what is said."""
    judged = judge(nginx_location(f"{GOOD}if ($lua_x) {{ return 403; }}"))
    assert (judged.client, judged.scheme) == ("cannot-tell", "cannot-tell")


def test_what_does_not_matter_is_no_doubt() -> None:
    """What is not understood of another field leaves the client proved."""
    location = GOOD + "proxy_set_header X-Lua $lua_value;"
    judged = judge(nginx_location(location))
    assert (judged.client, judged.scheme) == ("right", "right")


@pytest.mark.parametrize(
    ("location", "first", "client"),
    [
        ("allow 192.0.2.5; deny all;", 1, "unreachable"),
        ("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;", 0, "right"),
        ("proxy_set_header X-Forwarded-For $remote_addr;", 0, "names-outer-proxy"),
        ("", 1, "spoofable"),
    ],
    ids=["kept-out", "appends", "replaces", "past-the-outer"],
)
def test_chains_of_two(location: str, first: int, client: str) -> None:
    """Two proxies together are right or wrong where neither is alone."""
    inner = replace(nginx_location(location), name="inner")
    assert judge(outer("append"), inner, first=first).client == client


def test_outer_proxy_that_does_not_append() -> None:
    """The commonest mistake: the outer passes the list, the inner appends, both are trusted."""
    front = replace(nginx_location(""), name="outer", address="192.0.2.5")
    back = replace(
        nginx_location("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"), name="inner"
    )
    judged = judge(front, back)
    assert judged.client == "spoofable"
    assert judged.trial.app_head["x-forwarded-for"] == (f"{judged.judge.forged}, 192.0.2.5",)


@pytest.mark.parametrize(("outer_http", "inner_http", "expected"), [
    ("", "", "right"),
    ("", "underscores_in_headers on;", "right"),
    ("underscores_in_headers on;", "", "right"),
    ("underscores_in_headers on;", "underscores_in_headers on;", "cannot-tell"),
    ("ignore_invalid_headers off;", "ignore_invalid_headers off;", "cannot-tell"),
])  # fmt: skip
def test_names_with_underscores(outer_http: str, inner_http: str, expected: str) -> None:
    """`$http_x_forwarded_proto` is X_Forwarded_Proto too, where nginx takes such names."""
    copies = (
        "proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;"
        "proxy_set_header X-Forwarded-For $http_x_forwarded_for;"
    )
    judged = judge(nginx_location(GOOD, http=outer_http), nginx_location(copies, http=inner_http))
    assert (judged.client, judged.scheme) == ("right", expected)


def test_a_pattern_that_tells_families_apart_is_understood() -> None:
    """The usual map for Forwarded asks for letters alone, which every address has or has not."""
    table = (
        "map $remote_addr $a { '~^[0-9.]+$' $remote_addr; '~^[0-9A-Fa-f:.]+$' $remote_addr; "
        "default $http_x_forwarded_for; }"
    )
    judged = judge(nginx_location("proxy_set_header X-Forwarded-For $a;", http=table))
    assert judged.client == "right"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("if METH_GET", "spoofable"),
        ("if { method GET }", "spoofable"),
        ("if { hdr(host) app.example }", "cannot-tell"),
        ("if { path / }", "cannot-tell"),
        ("if { path /a } or !{ path /a }", "right"),
    ],
)
def test_what_every_request_has(condition: str, expected: str) -> None:
    """A request that fails the test of a method, a host or a path is thought of, too."""
    hop = read(
        "haproxy", HAPROXY.format(f"http-request set-header X-Forwarded-For %[src] {condition}")
    )
    assert judge(hop).client == expected
