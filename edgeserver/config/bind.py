"""The value of `--bind`: one listening address, its scheme, and what is spoken on it.

Decides the grammar only; it opens nothing and must not know a server (see `runtime/sockets.py`).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from edgeserver.config.model import DEFAULT_BIND
from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape

__all__ = ["Bind", "parse_bind", "render_bind"]

_SCHEMES = ("http", "https")
_PROXY_VERSIONS = ("v1", "v2", "any")
_HTTP2_MODES = ("on", "off", "only")
_OPTIONS = ("proxy", "http2", "mode")
_OTHER_PREFIXES = ("unix", "fd", "systemd")
_DECIMAL = re.compile(r"[0-9]{1,9}\Z")
_MODE = re.compile(r"0?[0-7]{3}\Z")
_SOCKET_NAME = re.compile(r"[!-9;-~]{1,255}\Z")  # systemd: no control characters, no colon
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?\Z")


@dataclass(frozen=True, kw_only=True)
class Bind:
    """One listening address: exactly one of `port`, `path`, `fd` and `systemd` is given.

    Args:
        host: An address or a name; empty for every interface.
        port: A TCP port; 0 lets the system choose.
        path: A Unix socket's path; a leading `@` means Linux's abstract namespace.
        fd: The number of an inherited descriptor that is listening already.
        systemd: The name of the sockets that systemd's socket activation has opened
            (`FileDescriptorName=`).
        scheme: `"http"` or `"https"`; None for https where a certificate is given.
        proxy: The PROXY protocol version that this listener requires, or None.
        http2: `"on"`, `"off"` or `"only"`; None for what all others have.
        mode: The permissions of the Unix socket's file.
    """

    host: str = ""
    port: int | None = None
    path: str | None = None
    fd: int | None = None
    systemd: str | None = None
    scheme: str | None = None
    proxy: str | None = None
    http2: str | None = None
    mode: int = 0o600


def parse_bind(text: str) -> Bind:
    """Parse one value of `--bind`.

    Args:
        text: `[http://|https://]` then `HOST:PORT`, `unix:PATH`, `fd:N` or `systemd:NAME`, then
            `,proxy=VERSION`, `,http2=on|off|only` and, for a Unix socket, `,mode=OCTAL`.

    Raises:
        ConfigurationError: The value is none of these; the message names the part and the fix.
    """
    if not text.strip():
        raise _refusal(text, "the address is empty", f"write {DEFAULT_BIND}, or leave it out")
    scheme, rest = _split_scheme(text)
    address, *pairs = rest.split(",")
    options = _parse_options(text, pairs)
    if address.startswith("unix:"):
        fields: dict[str, object] = {"path": _parse_path(text, address[len("unix:") :])}
    elif address.startswith("fd:"):
        fields = {"fd": _parse_number(text, address[len("fd:") :], "the descriptor", 0x7FFFFFFF)}
    elif address.startswith("systemd:"):
        fields = {"systemd": _parse_socket_name(text, address[len("systemd:") :])}
    else:
        host, port = _parse_host_port(text, address)
        fields = {"host": host, "port": port}
    if "mode" in options and "path" not in fields:
        raise _refusal(text, "mode= is for unix:PATH only", "leave it out")
    return Bind(scheme=scheme, **fields, **options)  # type: ignore[arg-type]  # built above, by key


def render_bind(bind: Bind) -> str:
    """Return the text that `parse_bind` reads back as `bind`."""
    if bind.path is not None:
        address = f"unix:{bind.path}"
    elif bind.fd is not None:
        address = f"fd:{bind.fd}"
    elif bind.systemd is not None:
        address = f"systemd:{bind.systemd}"
    else:
        host = f"[{bind.host}]" if ":" in bind.host else bind.host
        address = f"{host}:{bind.port}"
    text = f"{bind.scheme}://{address}" if bind.scheme else address
    if bind.proxy:
        text += f",proxy={bind.proxy}"
    if bind.http2:
        text += f",http2={bind.http2}"
    if bind.mode != 0o600:
        text += f",mode={bind.mode:03o}"
    return text


def _split_scheme(text: str) -> tuple[str | None, str]:
    """Return the scheme before `://`, if any, and what follows."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, separator, rest = text.partition(":")
        if separator and scheme in _SCHEMES and ":" in rest:
            raise _refusal(text, "the slashes are missing", f"write {scheme}://{escape(rest)}")
        return None, text
    if scheme in _OTHER_PREFIXES:
        raise _refusal(text, f"{scheme}: has no slashes after it", f"write {scheme}:{escape(rest)}")
    if scheme not in _SCHEMES:
        raise _refusal(
            text, f"unknown scheme {escape(scheme)}", f"write http://{escape(rest)}, or https://"
        )
    return scheme, rest


def _parse_options(text: str, pairs: list[str]) -> dict[str, object]:
    """Return the `name=value` options after the address."""
    options: dict[str, object] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or name not in _OPTIONS:
            raise _refusal(
                text,
                f"unknown option {escape(pair)}",
                "write proxy=v1, proxy=v2 or proxy=any, http2=on, off or only, or for a Unix socket"
                " mode=660",
            )
        if name in options:
            raise _refusal(text, f"{name}= is given twice", "give it once")
        if name == "mode":
            if not _MODE.match(value):
                raise _refusal(text, f"mode={escape(value)} is not octal", "write mode=660")
            options[name] = int(value, 8)
        elif name == "http2":
            if value not in _HTTP2_MODES:
                raise _refusal(text, f"http2={escape(value)} is unknown", "write on, off or only")
            options[name] = value
        elif value not in _PROXY_VERSIONS:
            raise _refusal(
                text, f"unknown PROXY version {escape(value)}", "write proxy=v1, v2 or any"
            )
        else:
            options[name] = value
    return options


def _parse_path(text: str, path: str) -> str:
    """Return the path of a Unix socket; 107 bytes is what the address structure holds."""
    if not path or path == "@":
        raise _refusal(text, "the path is missing", "write unix:/run/app.sock")
    if "\0" in path:
        raise _refusal(text, "the path holds a NUL", "write unix:@name for an abstract socket")
    length = len(path.encode("utf-8", "surrogateescape"))
    if length > 107:
        raise _refusal(
            text, f"the path has {length} bytes, at most 107 fit", "choose a shorter one"
        )
    return path


def _parse_socket_name(text: str, name: str) -> str:
    """Return the name of inherited sockets. Source: sd_listen_fds_with_names(3)."""
    if not _SOCKET_NAME.match(name):
        raise _refusal(
            text,
            "the name is missing" if not name else f"{escape(name)} is not a name of a socket",
            "write the FileDescriptorName= of the socket unit, or its name: systemd:web.socket",
        )
    return name


def _parse_number(text: str, digits: str, what: str, most: int) -> int:
    """Return a decimal number between 0 and `most`."""
    if not _DECIMAL.match(digits) or int(digits) > most:
        shown = escape(digits) or "nothing"
        raise _refusal(text, f"{what} is {shown}", f"write a number from 0 to {most}")
    return int(digits)


def _parse_host_port(text: str, address: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, `[IPV6]:PORT` or `:PORT`."""
    if _DECIMAL.match(address):
        raise _refusal(
            text,
            "the host is missing",
            f"write 127.0.0.1:{address}, or :{address} for every interface",
        )
    if "/" in address:
        without = text.replace(address, address.partition("/")[0])
        raise _refusal(text, "an address has no path", f"write {escape(without)}")
    host, separator, digits = address.rpartition(":")
    if not separator and address.startswith("$"):
        with_colon = text.replace(address, f":{address}")
        raise _refusal(text, "the host is missing", f"write {escape(with_colon)}")
    if not separator or (address.startswith("[") and address.endswith("]")):
        with_port = text.replace(address, f"{address}:8000")
        raise _refusal(text, "the port is missing", f"write {escape(with_port)}, say")
    if host.startswith("[") and host.endswith("]"):
        return _parse_ipv6(text, host[1:-1]), _parse_number(text, digits, "the port", 65535)
    if ":" in host:
        raise _refusal(text, *_mend_ipv6(address))
    if host in ("", "*"):
        return "", _parse_number(text, digits, "the port", 65535)
    if not _HOST_NAME.match(host):
        raise _refusal(text, f"{escape(host)} is not a host", "write an address or a name")
    return host, _parse_number(text, digits, "the port", 65535)


def _mend_ipv6(address: str) -> tuple[str, str]:
    """Return what is wrong with an address of several colons and no brackets, and the fix."""
    host, _, digits = address.rpartition(":")
    if _is_ipv6(host):  # before the whole, since ::1:8000 may be an address as well
        port = digits if _DECIMAL.match(digits) else "8000"
        return "an IPv6 address needs brackets", f"write [{host}]:{port}"
    if _is_ipv6(address):
        return (
            "an IPv6 address needs brackets, and the port is missing",
            f"write [{address}]:8000, say",
        )
    return f"{escape(address)} is not an address", "write for example 127.0.0.1:8000 or [::1]:8000"


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _parse_ipv6(text: str, address: str) -> str:
    """Return the IPv6 address between brackets, with its zone if it has one."""
    try:
        return str(ipaddress.IPv6Address(address))
    except ValueError:
        raise _refusal(
            text, f"{escape(address)} is not an IPv6 address", "write for example [::1]:8000"
        ) from None


def _refusal(text: str, why: str, fix: str) -> ConfigurationError:
    """Return the error for the value `text`."""
    return ConfigurationError(f"--bind {escape(text)}: {why}; {fix}")
