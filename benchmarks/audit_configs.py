"""`edgeserver audit config` on generated nginx files: how long one file takes.

    python -m benchmarks.audit_configs                 # 20 files
    python -m benchmarks.audit_configs --files 1000

Each file has 50 servers as operators write them: maps and upstreams, realip in some, TLS beside
plain listeners, headers set on all three levels, ifs, rules of access, and some mistakes. No two
files are alike. One process reads and judges them all, as the command does with one: the start of
the command is not in the figures.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from edgeserver.chains.report import make_report
from edgeserver.chains.text import render_text_report
from edgeserver.cli.audit_config import rarely_collecting, reachable_hops, read_chain

_HEADERS = (
    "proxy_set_header Host $host;",
    "proxy_set_header X-Real-IP $remote_addr;",
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
    "proxy_set_header X-Forwarded-Proto $scheme;",
)
_UPGRADE = (
    "proxy_http_version 1.1;",
    "proxy_set_header Upgrade $http_upgrade;",
    "proxy_set_header Connection $connection_upgrade;",
)
_PLAIN = (
    "proxy_read_timeout 60s;",
    "proxy_buffering off;",
    "client_max_body_size 20m;",
    "add_header X-Frame-Options DENY always;",
    "gzip on;",
    "expires 1h;",
    "limit_req zone=each burst=20 nodelay;",
)


def write_file(path: Path, chance: random.Random, *, servers: int) -> None:
    """Write one configuration."""
    lines = ["user www-data;", "events { worker_connections 1024; }", "http {"]
    lines += [f"  {line}" for line in _http_level(chance, servers)]
    for number in range(servers):
        lines += [f"  {line}" for line in _server(chance, number)]
    path.write_text("\n".join([*lines, "}", ""]))


def _http_level(chance: random.Random, servers: int) -> Iterator[str]:
    """Yield what stands before the servers."""
    yield "sendfile on;"
    yield "log_format main '$remote_addr - $remote_user [$time_local] \"$request\" $status';"
    yield "limit_req_zone $binary_remote_addr zone=each:10m rate=10r/s;"
    yield "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"
    yield "map $http_x_forwarded_proto $sent_proto { default $scheme; https https; http http; }"
    yield "geo $office { default 0; 10.0.0.0/8 1; 192.168.0.0/16 1; }"
    if chance.random() < 0.4:
        for network in chance.sample(range(1, 250), chance.randint(1, 12)):
            yield f"set_real_ip_from 198.51.{network}.0/24;"
        yield "real_ip_header X-Forwarded-For;"
        if chance.random() < 0.5:
            yield "real_ip_recursive on;"
    if chance.random() < 0.5:
        yield from _HEADERS
    for number in range(servers):
        yield f"upstream app{number} {{ server 10.1.0.{number + 1}:8080; keepalive 16; }}"


def _server(chance: random.Random, number: int) -> Iterator[str]:
    """Yield one server."""
    yield "server {"
    yield f"  server_name site{number}.example www.site{number}.example;"
    yield "  listen 80;"
    if chance.random() < 0.7:
        yield "  listen 443 ssl;"
        yield "  ssl_certificate /etc/ssl/site.pem;"
        yield "  ssl_certificate_key /etc/ssl/site.key;"
    if chance.random() < 0.5:
        yield from (f"  {line}" for line in _some_headers(chance))
    if chance.random() < 0.2:
        yield "  if ($scheme = http) { return 301 https://$host$request_uri; }"
    if chance.random() < 0.1:
        yield "  if ($http_user_agent ~* (bot|crawler)) { return 403; }"
    for place in range(chance.randint(1, 6)):
        yield from (f"  {line}" for line in _location(chance, number, place))
    yield "}"


def _some_headers(chance: random.Random) -> list[str]:
    """Return headers that are set: mostly the usual ones, now and then too few or the wrong way."""
    headers = list(_HEADERS)
    if chance.random() < 0.15:
        headers.pop(chance.randrange(len(headers)))
    if chance.random() < 0.1:
        headers[-1] = "proxy_set_header X-Forwarded-Proto $sent_proto;"
    return headers


def _location(chance: random.Random, server: int, place: int) -> Iterator[str]:
    """Yield one location."""
    yield f"location {'/' if place == 0 else f'/part{place}/'} {{"
    if chance.random() < 0.15:
        yield f"  root /srv/site{server};"
        yield "}"
        return
    if chance.random() < 0.4:
        yield from (f"  {line}" for line in _some_headers(chance))
    if chance.random() < 0.2:
        yield from (f"  {line}" for line in _UPGRADE)
    if chance.random() < 0.1:
        yield "  allow 10.0.0.0/8;"
        yield "  deny all;"
    yield from (f"  {line}" for line in chance.sample(_PLAIN, chance.randint(0, 3)))
    yield f"  proxy_pass http://app{server};"
    yield "}"


def audit(path: Path) -> None:
    """Do what `audit config nginx:PATH` does."""
    values = {"trust": ("192.0.2.10",)}
    with rarely_collecting():
        hops, policy = read_chain((f"nginx:{path}",), values, version="")
        report = make_report(hops, policy, reachable=reachable_hops(None, hops), lan=[])
    render_text_report(report, width=80)


def main() -> None:
    """Generate the files, audit each, and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20)
    parser.add_argument("--servers", type=int, default=50)
    options = parser.parse_args()
    chance = random.Random(16)
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / f"{number}.conf" for number in range(options.files)]
        for path in paths:
            write_file(path, chance, servers=options.servers)
        lines = sum(path.read_text().count("\n") for path in paths)
        print(f"{len(paths)} files of {options.servers} servers, {lines / len(paths):.0f} lines")
        walls, processors = [], []
        for path in paths:
            began, used = time.perf_counter(), time.process_time()
            audit(path)
            walls.append((time.perf_counter() - began) * 1000)
            processors.append((time.process_time() - used) * 1000)
        print("| | mean | median | worst |\n|---|---:|---:|---:|")
        for name, found in (("wall, ms", walls), ("processor, ms", processors)):
            print(
                f"| {name} | {statistics.mean(found):.1f} | {statistics.median(found):.1f} | "
                f"{max(found):.1f} |"
            )


if __name__ == "__main__":
    main()
