"""nginx: one worker that returns a fixed answer, with the realip module where asked."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import common

CONFIGURATION = """\
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  default_type text/plain;
  keepalive_timeout {keep_alive}s;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_buffer_size 2m;
  http2_max_concurrent_streams 128;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  {realip}
  server {{
    listen {host}:{port} backlog={backlog}{ssl}{http2};
    {pair}
    location / {{ {answer} }}
    {large}
    location = {client} {{ return 200 $remote_addr; }}
  }}
  {reader}
}}
"""
LARGE = "location = /large {{ root {directory}; try_files /answer =404; }}"
# `return` alone reads no body: only what hands it on does.
READ = "proxy_pass http://unix:{directory}/answers; proxy_http_version 1.1;"
READER = "server {{ listen unix:{directory}/answers; location / {{ {answer} }} }}"
FIXED = 'return 200 "Hello, world!";'
PAIR = "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {}; ssl_certificate_key {};"
REALIP = "real_ip_header X-Forwarded-For; real_ip_recursive on; " + "".join(
    f"set_real_ip_from {address}; " for address in (common.HOST, *common.PROXIES)
)

options = common.parser().parse_args()
# A directive holds no megabytes: larger answers are a file, which the kernel keeps in memory.
FILE = "root {directory}; try_files /answer =404;"

reads = options.request_bytes > 0
beside = options.app == "beside"
directory = Path(tempfile.mkdtemp(prefix="bench-nginx-"))
configuration = directory / "nginx.conf"
answer = common.answer(options.answer_bytes)
(directory / "answer").write_bytes(answer)
configuration.write_text(
    CONFIGURATION.format(
        # Without this a master that is root runs its worker as somebody who may not enter here.
        user="user root;" if os.geteuid() == 0 else "",
        directory=directory,
        keep_alive=common.KEEP_ALIVE_SECONDS,
        realip=REALIP if options.proxied else "",
        host=common.HOST,
        port=options.port,
        backlog=common.BACKLOG,
        client=common.CLIENT_TARGET,
        ssl=" ssl" if options.tls else "",
        http2=" http2" if options.http2 else "",
        pair=PAIR.format(*common.pair()) if options.tls else "",
        answer=(
            READ.format(directory=directory)
            if reads
            else FILE.format(directory=directory)
            if len(answer) > 1000 and not beside
            else FIXED
        ),
        large=LARGE.format(directory=directory) if beside else "",
        reader=READER.format(directory=directory, answer=FIXED) if reads else "",
    )
)
os.execlp("nginx", "nginx", "-p", str(directory), "-c", str(configuration), "-e", "stderr")
