"""Listening sockets: made, taken over from another process, and recognised.

Decides how a socket is bound, and whose socket file may be replaced. It must not know event
loops, servers or TLS.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import stat
import sys
import weakref
from collections.abc import MutableMapping
from typing import Any

from edgeserver.errors import ConfigurationError
from edgeserver.support.addresses import render_address
from edgeserver.support.escape import escape

__all__ = [
    "bind_beside",
    "bind_sockets",
    "bind_unix_socket",
    "is_valid_ip",
    "listen_backlog",
    "remove_unix_socket_file",
    "served_families",
    "socket_from_fd",
    "systemd_sockets",
]

DEFAULT_BACKLOG = 128
SYSTEMD_FIRST_FD = 3
PORT_ATTEMPTS = 16

_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)

_backlogs: weakref.WeakKeyDictionary[socket.socket, int] = weakref.WeakKeyDictionary()

_FileStamp = tuple[int, int, int]
_files: weakref.WeakKeyDictionary[socket.socket, tuple[str, _FileStamp]] = (
    weakref.WeakKeyDictionary()
)


def bind_sockets(
    port: int,
    address: str | None = None,
    family: int = socket.AF_UNSPEC,
    backlog: int = DEFAULT_BACKLOG,
    flags: int | None = None,
    reuse_port: bool = False,
) -> list[socket.socket]:
    """Make listening sockets for `port` on every address that `address` stands for.

    They do not block and are not inherited by other programs; one of IPv6 takes no IPv4.

    Args:
        port: The TCP port; 0 lets the system choose one, the same for all sockets.
        address: An IP address or a host name; None or `""` is every interface.
        family: `AF_INET` or `AF_INET6` to have only that.
        backlog: How many connections the system keeps until they are accepted.
        flags: The AI_* flags of `getaddrinfo`; `AI_PASSIVE` by default.
        reuse_port: Set `SO_REUSEPORT`, so that several processes may bind the port.

    Raises:
        ConfigurationError: The port is no port.
        OSError: The address cannot be resolved or bound; nothing stays open.
        ValueError: The system has no `SO_REUSEPORT`.

    Source: `tornado.netutil.bind_sockets`.
    """
    if reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("this system has no SO_REUSEPORT; leave reuse_port out")
    _require_port(port)
    targets = _resolve(port, address or None, family, socket.AI_PASSIVE if flags is None else flags)
    attempts = PORT_ATTEMPTS if port == 0 else 1
    while True:
        attempts -= 1
        try:
            return _listen_on_all(targets, backlog, reuse_port)
        except OSError as error:
            # The port that the system chose for the first socket can be taken for the second.
            if error.errno != errno.EADDRINUSE or attempts == 0:
                raise


def bind_beside(sock: socket.socket) -> socket.socket | None:
    """Bind one more socket to the address of `sock`, with a queue of its own; it listens later.

    The system spreads new connections over all that listen. `sock` is bound alone first, so that a
    port which another program has is still refused.

    Returns:
        The socket; None where the system does not spread connections so, or this address cannot
        be shared.

    Source: socket(7) of Linux, `SO_REUSEPORT`; elsewhere only the last one bound is asked.
    """
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        beside = _bind(sock.family, sock.getsockname(), True)
    except OSError:
        return None
    _backlogs[beside] = listen_backlog(sock)
    return beside


def bind_unix_socket(file: str, mode: int = 0o600, backlog: int = DEFAULT_BACKLOG) -> socket.socket:
    r"""Make a listening Unix socket.

    A socket file that nobody listens on any more is replaced; everything else is kept.

    Args:
        file: The path; one that begins with `"\0"` is a name in Linux's abstract namespace.
        mode: The permissions of the file: who may connect.
        backlog: How many connections the system keeps until they are accepted.

    Raises:
        ConfigurationError: There is a file of another kind, or a link that leads nowhere.
        OSError: A live process listens there, or the path cannot be used.

    Source: `tornado.netutil.bind_unix_socket`; replacing only stale files is tornado issue 2823.
    """
    abstract = file.startswith("\0")
    if not abstract:
        _remove_stale_socket(file)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(file)
        if not abstract:
            # Nobody can connect before listen(), so there is no moment with other permissions.
            os.chmod(file, mode)
            _files[sock] = os.path.abspath(file), _file_stamp(file)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise _listen_error(error, render_address(file)) from error
    _backlogs[sock] = backlog
    return sock


def remove_unix_socket_file(sock: socket.socket) -> None:
    """Delete the file that `bind_unix_socket` made for `sock`, closed or not.

    A file that another process has put in its place since then is kept: a server that starts while
    this one still finishes its requests replaces the file, as nobody listens on it any more. What
    cannot be deleted stays. Later calls do nothing.
    """
    path, stamp = _files.pop(sock, (None, None))
    if path is None:
        return
    with contextlib.suppress(OSError):
        if _file_stamp(path) == stamp:
            os.unlink(path)


def socket_from_fd(fd: int) -> socket.socket:
    """Take over a listening socket that another program has opened and left to this one.

    Raises:
        ConfigurationError: The descriptor is not open, or not a bound stream socket.
    """
    try:
        sock = socket.socket(fileno=fd)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"file descriptor {fd} is not a socket ({reason}); "
            "have the parent process pass a listening one under this number"
        ) from error
    problem = ""
    if sock.type != socket.SOCK_STREAM:
        problem = "is not a stream socket"
    elif sock.family in (socket.AF_INET, socket.AF_INET6) and sock.getsockname()[1] == 0:
        problem = "is not bound to a port"
    elif _is_connected(sock):
        problem = "is a connection, not a listening socket"
    if problem:
        sock.detach()  # it stays open: it is not ours after all
        raise ConfigurationError(
            f"the socket of file descriptor {fd} {problem}; pass one that listens"
        )
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def systemd_sockets(
    *, unset_environment: bool = True, environ: MutableMapping[str, str] | None = None
) -> list[socket.socket]:
    """Take over the sockets that systemd's socket activation has opened for this process.

    Returns an empty list where there are none for this process.

    Args:
        unset_environment: Remove the variables, so that child processes do not see them.
        environ: The environment; that of the process unless given.

    Raises:
        ConfigurationError: The variables are malformed, or a descriptor is no listening socket.

    Source: sd_listen_fds(3): `LISTEN_PID`, `LISTEN_FDS`, descriptors from 3 on.
    """
    environ = os.environ if environ is None else environ
    numbers = {}
    for name in ("LISTEN_PID", "LISTEN_FDS"):
        text = environ.get(name, "")
        if not text:
            return []
        if not (text.isascii() and text.isdigit() and len(text) <= 10):
            raise ConfigurationError(
                f"the environment variable {name} is not a number: '{escape(text)}'; "
                "systemd sets it, nobody else should"
            )
        numbers[name] = int(text)
    if numbers["LISTEN_PID"] != os.getpid():
        return []  # they were meant for a parent of this process
    if unset_environment:
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            environ.pop(name, None)
    first = SYSTEMD_FIRST_FD
    return [socket_from_fd(fd) for fd in range(first, first + numbers["LISTEN_FDS"])]


def listen_backlog(sock: socket.socket) -> int:
    """Return the backlog that `sock` was made with; the system's most for a foreign socket.

    An event loop calls `listen` once more, and must not shrink what the owner has chosen.
    """
    return _backlogs.get(sock, socket.SOMAXCONN)


def served_families(sock: socket.socket) -> str:
    """Return which addresses a listening socket takes: `"IPv4"`, `"IPv6"`, both, or none of them.

    A socket of IPv6 takes IPv4 too where nobody has set `IPV6_V6ONLY`, and only on all interfaces.
    """
    if sock.family == socket.AF_INET:
        return "IPv4"
    if sock.family != socket.AF_INET6:
        return ""
    is_any = sock.getsockname()[0] == "::"
    if is_any and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        return "IPv4 and IPv6"
    return "IPv6"


def is_valid_ip(ip: str) -> bool:
    """Return whether `ip` is an IPv4 or IPv6 address, and nothing else such as a name or port.

    Source: `tornado.netutil.is_valid_ip`.
    """
    try:
        ipaddress.ip_address(ip)
    except ValueError:
        return False
    return True


def _require_port(port: object) -> None:
    """Refuse a number that is no port: the resolver would take 70000 for 4464."""
    number = int(port) if isinstance(port, str) and port.isdecimal() else port
    if isinstance(number, str):
        return  # the name of a service
    if not isinstance(number, int) or not 0 <= number <= 65535:
        raise ConfigurationError(f"port={port!r} is no port: give a number from 0 to 65535")


def _file_stamp(path: str) -> _FileStamp:
    """Return what tells the file at `path` from a later one of the same name.

    The number alone does not: a file system gives it to the next file. Neither a change of owner
    nor of permissions changes this stamp.
    """
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _resolve(port: int, address: str | None, family: int, flags: int) -> list[tuple[int, Any]]:
    """Return the distinct `(family, address)` pairs to bind, IPv4 first."""
    if not socket.has_ipv6 and family == socket.AF_UNSPEC:
        family = socket.AF_INET
    try:
        found = socket.getaddrinfo(address, port, family, socket.SOCK_STREAM, 0, flags)
    except (socket.gaierror, UnicodeError) as error:
        # Names are encoded before they are looked up, and some cannot be: a..b, or a long label.
        code, reason = (
            (error.errno, error.strerror)
            if isinstance(error, socket.gaierror)
            else (socket.EAI_NONAME, "a part of the name is empty or too long")
        )
        raise socket.gaierror(
            code, f"cannot resolve the address '{escape(address or '')}' to listen on: {reason}"
        ) from error
    return sorted({(one_family, target) for one_family, _, _, _, target in found})


def _listen_on_all(
    targets: list[tuple[int, Any]], backlog: int, reuse_port: bool
) -> list[socket.socket]:
    """Bind and listen on every target, or leave nothing open."""
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, target in targets:
            if target[1] == 0 and sockets:
                target = (target[0], sockets[0].getsockname()[1], *target[2:])
            try:
                sock = _bind(family, target, reuse_port)
            except OSError as error:
                # IPv6 can be there for the resolver and yet be switched off in the system.
                if error.errno not in _NO_SUCH_FAMILY or len(targets) == 1:
                    raise
                missing = error
                continue
            sockets.append(sock)
            _backlogs[sock] = backlog
            try:
                sock.listen(backlog)
            except OSError as error:
                raise _listen_error(error, render_address(target)) from error
        if missing is not None and not sockets:
            raise missing
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind(family: int, target: Any, reuse_port: bool) -> socket.socket:
    """Return a socket bound to `target` that does not block."""
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _listen_error(error, render_address(target)) from error
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # Else Linux lets it take the port for IPv4 too, which another socket needs.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
    except OSError as error:
        sock.close()
        raise _listen_error(error, render_address(target)) from error
    return sock


def _remove_stale_socket(file: str) -> None:
    """Delete the socket file at `file` unless somebody still listens on it."""
    try:
        found = os.stat(file)
    except FileNotFoundError:
        if os.path.islink(file):
            raise ConfigurationError(
                f"'{escape(file)}' is a symbolic link that leads nowhere, so it is not replaced; "
                "remove it or choose another path"
            ) from None
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigurationError(
            f"'{escape(file)}' exists and is not a socket, so it is not replaced; "
            "choose another path or remove it"
        )
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.setblocking(False)
        probe.connect(file)
    except ConnectionRefusedError:
        os.unlink(file)  # the process that made it is gone
        return
    except FileNotFoundError:
        return  # somebody has removed it meanwhile
    except BlockingIOError:
        pass  # its queue is full, so it is alive
    except OSError as error:
        raise _listen_error(error, render_address(file)) from error
    finally:
        probe.close()
    raise OSError(
        errno.EADDRINUSE,
        f"cannot listen on {render_address(file)}: a live process listens there; "
        "stop it first or choose another path",
    )


def _is_connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _listen_error(error: OSError, where: str) -> OSError:
    """Return `error` with the address in its text; its errno, and so its class, stay."""
    reason = error.strerror or str(error)
    if error.errno is None:
        return OSError(f"cannot listen on {where}: {reason}")
    return OSError(error.errno, f"cannot listen on {where}: {reason}")
