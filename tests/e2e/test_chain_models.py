"""The models of nginx and HAProxy beside the programs: the same heads in, the same fields out."""

from __future__ import annotations

import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeserver.chains.evaluate import Oracle, Request, Scope, run_way
from edgeserver.chains.kinds import reader_of
from edgeserver.chains.model import HOST, METHOD, PATH, Way
from tests.chains.sources import Texts
from tests.e2e.proxies import haproxy_binary, nginx_binary

STRANGER, OUTER, FORGED = "127.0.0.66", "127.0.0.5", "203.0.113.250"
FIELDS = ("x-forwarded-for", "x-forwarded-proto", "x-real-ip", "forwarded", "x-client")

Head = list[tuple[str, str]]

HEADS: dict[str, Head] = {
    "nothing": [],
    "list": [("X-Forwarded-For", FORGED)],
    "list-with-proxy": [("X-Forwarded-For", f"{FORGED}, {OUTER}")],
    "list-with-two": [("X-Forwarded-For", f"{FORGED},{OUTER} , 127.0.0.7")],
    "two-lines": [("X-Forwarded-For", FORGED), ("x-forwarded-for", OUTER)],
    "empty": [("X-Forwarded-For", "")],
    "unknown": [("X-Forwarded-For", "unknown")],
    "proto": [("X-Forwarded-Proto", "https")],
    "real": [("X-Real-IP", FORGED)],
    "real-two": [("X-Real-IP", FORGED), ("X-Real-IP", OUTER)],
    "cdn": [("CF-Connecting-IP", FORGED)],
    "forwarded": [("Forwarded", f"for={FORGED};proto=https")],
    "all": [
        ("X-Forwarded-For", FORGED),
        ("X-Real-IP", FORGED),
        ("CF-Connecting-IP", FORGED),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", f"for={FORGED}"),
    ],
}

# each: lines of http, of the server, of the location
NGINX: dict[str, tuple[str, str, str]] = {
    "appended": ("", "", "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"),
    "inherited": ("", "proxy_set_header X-Forwarded-For $remote_addr;", ""),
    "not-inherited": (
        "",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
    ),
    "removed": ("", "", 'proxy_set_header X-Forwarded-For ""; proxy_set_header Forwarded "";'),
    "twice": (
        "",
        "",
        "proxy_set_header X-Forwarded-For $http_x_forwarded_for;"
        "proxy_set_header X-Forwarded-For $remote_addr;",
    ),
    "realip-recursive": (
        "",
        "set_real_ip_from 127.0.0.5; real_ip_header X-Forwarded-For; real_ip_recursive on;",
        "proxy_set_header X-Forwarded-For $remote_addr;"
        "proxy_set_header X-Real-IP $realip_remote_addr;",
    ),
    "realip-last": (
        "",
        "set_real_ip_from 127.0.0.5; real_ip_header X-Forwarded-For;",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
    ),
    "realip-default-header": (
        "",
        "set_real_ip_from 127.0.0.0/24;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
    ),
    "realip-custom": (
        "",
        "set_real_ip_from 127.0.0.0/24; real_ip_header CF-Connecting-IP;",
        "proxy_set_header X-Client $remote_addr;",
    ),
    "realip-in-location": (
        "",
        "",
        "set_real_ip_from 127.0.0.5; real_ip_header X-Forwarded-For;"
        "proxy_set_header X-Client $remote_addr;",
    ),
    "map-regex": (
        "map $http_x_forwarded_for $first { '~^([^,]+)' $1; default $remote_addr; }",
        "",
        "proxy_set_header X-Forwarded-For $first;",
    ),
    "map-named": (
        "map $http_x_forwarded_for $named { '~(?<last>[^, ]+)$' $last; default none; }",
        "",
        "proxy_set_header X-Client $named;",
    ),
    "map-case": (
        "map $http_x_forwarded_proto $secure { HTTPS on; default off; '' none; }",
        "",
        "proxy_set_header X-Client $secure;",
    ),
    "geo": (
        "geo $from_us { default 0; 127.0.0.0/24 1; 127.0.0.66 2; }"
        "map $from_us $kept { 1 $http_x_forwarded_for; 2 $remote_addr; }",
        "",
        "proxy_set_header X-Forwarded-For $kept;",
    ),
    "geo-of-field": (
        "geo $http_x_real_ip $named_by { default other; 203.0.113.0/24 forged; }",
        "",
        "proxy_set_header X-Client $named_by;",
    ),
    "set": (
        "",
        "set $who $remote_addr; if ($http_x_real_ip) { set $who $http_x_real_ip; }",
        "proxy_set_header X-Forwarded-For $who;",
    ),
    "set-in-location": (
        "",
        "set $who a;",
        'set $who "$who-b"; if ($http_x_forwarded_proto = https) { set $who "$who-c"; break; }'
        'set $who "$who-d"; proxy_set_header X-Client $who;',
    ),
    "if-not": (
        "",
        "",
        "set $x yes; if ($http_x_forwarded_for !~ ^203) { set $x no; }"
        "proxy_set_header X-Client $x;",
    ),
    "no-request-headers": (
        "",
        "",
        "proxy_pass_request_headers off; proxy_set_header X-Forwarded-For $http_x_forwarded_for;",
    ),
    "denied": ("", "allow 127.0.0.5; deny all;", ""),
    "returned": ("", "", "if ($http_x_real_ip) { return 403; }"),
    "braces": ("", "", 'proxy_set_header X-Forwarded-For "${remote_addr}, 192.0.2.1";'),
}

# each: lines of the frontend, of the backend
HAPROXY: dict[str, tuple[str, str]] = {
    "nothing": ("", ""),
    "forwardfor": ("option forwardfor", ""),
    "if-none": ("option forwardfor if-none", ""),
    "if-none-and-always": ("option forwardfor if-none", "option forwardfor"),
    "except": ("option forwardfor except 127.0.0.5", ""),
    "except-either": ("option forwardfor", "option forwardfor except 127.0.0.66/32"),
    "header": ("option forwardfor header X-Client", ""),
    "header-of-frontend": ("option forwardfor header X-Client", "option forwardfor"),
    "set": ("http-request set-header X-Forwarded-For %[src]", ""),
    "add": ("http-request add-header X-Forwarded-For %[src]", ""),
    "order": (
        "http-request set-header X-Client %[req.hdr(X-Forwarded-For)]",
        "http-request set-header X-Forwarded-For %[req.hdr(X-Client)]",
    ),
    "delete-unless": (
        "acl us src 127.0.0.5\nhttp-request del-header X-Forwarded-For unless us\n"
        "option forwardfor",
        "",
    ),
    "elements": (
        "http-request set-header X-Client yes if { req.hdr(X-Forwarded-For) 203.0.113.250 }",
        "",
    ),
    "element-ip": (
        "http-request set-header X-Client yes if { req.hdr_ip(X-Forwarded-For) 127.0.0.0/8 }",
        "",
    ),
    "first": ("http-request set-header X-Client %[req.hdr(X-Forwarded-For,1)]", ""),
    "full": ("http-request set-header X-Client %[req.fhdr(X-Forwarded-For)]", ""),
    "set-src": (
        "http-request set-src hdr(X-Real-IP) if { src 127.0.0.66 }\noption forwardfor",
        "",
    ),
    "variable": (
        "http-request set-var(txn.who) src\n"
        "http-request set-header X-Client %[var(txn.who)] if { hdr(X-Forwarded-Proto) https }",
        "",
    ),
    "or": (
        "acl one req.hdr(X-Real-IP) -m found\nacl two req.hdr(CF-Connecting-IP) -m found\n"
        "http-request set-header X-Client yes if one or two",
        "",
    ),
    "and-not": (
        "acl one req.hdr(X-Real-IP) -m found\nacl two hdr_cnt(CF-Connecting-IP) gt 0\n"
        "http-request set-header X-Client yes if one !two",
        "",
    ),
    "same-name": (
        "acl any hdr_beg(X-Real-IP) 203.\nacl any hdr_sub(X-Forwarded-For) 127.0\n"
        "http-request set-header X-Client yes if any",
        "",
    ),
    "denied": ("http-request deny if { req.hdr(X-Real-IP) -m found } !{ src 127.0.0.5 }", ""),
    "allowed": (
        "http-request allow if { req.hdr(X-Real-IP) -m found }\n"
        "http-request del-header X-Forwarded-For",
        "option forwardfor",
    ),
    "delete-beginning": ("http-request del-header x-forwarded- -m beg", "option forwardfor"),
    "iif": ("http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]", ""),
}


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        head = b""
        for line in self.rfile:
            if line in (b"\r\n", b"\n"):
                break
            head += line
        answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(head)
        self.wfile.write(answer + head)


class _EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """Run a server that answers with the head that it got, and yield its port."""
    with _EchoServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on just now."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


@contextmanager
def running(command: list[str], home: Path, port: int) -> Iterator[None]:
    """Run a proxy until the block ends, from when it listens on a port."""
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=home, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.01)
        assert process.poll() is None, (home / "log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(10)


def ask(port: int, host: str, peer: str, head: Head) -> dict[str, str] | None:
    """Return the fields that the backend got, or None where the proxy answered itself."""
    lines = ["GET / HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in head]
    with socket.create_connection(("127.0.0.1", port), 10, (peer, 0)) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        received = b"".join(iter(lambda: sock.recv(65536), b""))
    top, _, body = received.partition(b"\r\n\r\n")
    if not top.startswith(b"HTTP/1.1 200"):
        return None
    fields: dict[str, list[str]] = {}
    for line in body.decode().split("\r\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.lower(), []).append(value.strip())
    return {name: ", ".join(fields[name]) for name in FIELDS if name in fields}


def expect(way: Way, peer: str, head: Head) -> dict[str, str] | None:
    """Return the fields that the model says."""
    lines: dict[str, tuple[str, ...]] = {}
    for name, value in head:
        lines[name.lower()] = (*lines.get(name.lower(), ()), value)
    full = {PATH: ("/",), HOST: ("x",), METHOD: ("GET",), **lines}
    oracle = Oracle([], Scope(FORGED, FIELDS, exact=True))
    passed = run_way(way, Request(peer, False, full), oracle)
    assert not oracle.doubts
    if passed is None:
        return None
    return {name: ", ".join(passed.head[name]) for name in FIELDS if name in passed.head}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, echo: int) -> Iterator[tuple[int, str]]:
    """Run nginx with a server for each case; yield its port and its configuration."""
    binary = nginx_binary()
    home = tmp_path_factory.mktemp("nginx")
    (port,) = free_ports(1)
    servers = [
        f"{http}\nserver {{ listen 127.0.0.1:{port}; server_name {name}.example; {server}\n"
        f"location / {{ proxy_pass http://127.0.0.1:{echo}; {location} }} }}"
        for name, (http, server, location) in NGINX.items()
    ]
    paths = "\n".join(
        f"{each}_temp_path {home}/{each};"
        for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = (
        f"daemon off; master_process off; pid {home}/pid; error_log {home}/error.log;\n"
        f"events {{ }}\nhttp {{ access_log off;\n{paths}\n" + "\n".join(servers) + "\n}\n"
    )
    (home / "conf").write_text(text)
    command = [binary, "-e", f"{home}/error.log", "-p", f"{home}/", "-c", f"{home}/conf"]
    with running(command, home, port):
        yield port, text


@pytest.fixture(scope="module")
def haproxy(
    tmp_path_factory: pytest.TempPathFactory, echo: int
) -> Iterator[tuple[dict[str, int], str]]:
    """Run HAProxy with a frontend for each case; yield their ports and the configuration."""
    binary = haproxy_binary()
    home = tmp_path_factory.mktemp("haproxy")
    ports = dict(zip(HAPROXY, free_ports(len(HAPROXY)), strict=True))
    text = "defaults\n mode http\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n"
    for name, (front, back) in HAPROXY.items():
        text += f"frontend f-{name}\n bind 127.0.0.1:{ports[name]}\n{front}\n"
        text += f" default_backend b-{name}\nbackend b-{name}\n{back}\n"
        text += f" server app 127.0.0.1:{echo}\n"
    (home / "conf").write_text(text)
    with running([binary, "-f", str(home / "conf"), "-db"], home, ports["nothing"]):
        yield ports, text


@pytest.mark.parametrize("case", NGINX)
def test_nginx(case: str, nginx: tuple[int, str]) -> None:
    """What nginx passes on is what its model says, for strangers and for the outer proxy."""
    port, text = nginx
    reader = reader_of("nginx")
    assert reader is not None
    (way,) = (
        way for way in reader("main", Texts(main=text)).ways if way.label == f"{case}.example"
    )
    for peer in (STRANGER, OUTER):
        for name, head in HEADS.items():
            if name == "real-two" and "http_x_real_ip" in "".join(NGINX[case]):
                continue  # which of two lines a variable holds changed in 1.23
            got = ask(port, f"{case}.example", peer, head)
            assert (peer, name, got) == (peer, name, expect(way, peer, head))


@pytest.mark.parametrize("case", HAPROXY)
def test_haproxy(case: str, haproxy: tuple[dict[str, int], str]) -> None:
    """What HAProxy passes on is what its model says, for strangers and for the outer proxy."""
    ports, text = haproxy
    reader = reader_of("haproxy")
    assert reader is not None
    (way,) = (way for way in reader("main", Texts(main=text)).ways if way.label == f"f-{case}")
    for peer in (STRANGER, OUTER):
        for name, head in HEADS.items():
            got = ask(ports[case], "x", peer, head)
            assert (peer, name, got) == (peer, name, expect(way, peer, head))
