"""How a bind becomes listening sockets, and what is said when it does not.

Decides the message for each way that listening can fail. It must not know what will be served.
"""

from __future__ import annotations

import errno
import socket

from edgeserver.cli.failures import StartError
from edgeserver.config.bind import Bind, render_bind
from edgeserver.errors import ConfigurationError
from edgeserver.netutil import (
    bind_sockets,
    bind_unix_socket,
    remove_unix_socket_file,
    socket_from_fd,
)

__all__ = ["close_sockets", "open_sockets"]


def open_sockets(
    bind: Bind, *, backlog: int = 128, reuse_port: bool = False
) -> list[socket.socket]:
    """Open what `bind` names; a name may stand for several addresses.

    Args:
        bind: What the flag said.
        backlog: The length of the queue of connections not yet accepted.
        reuse_port: Let other processes listen on the same port.

    Raises:
        ConfigurationError: The descriptor is no listening socket.
        StartError: The address is taken, not ours, or not allowed.
    """
    try:
        if bind.fd is not None:
            return [socket_from_fd(bind.fd)]
        if bind.path is not None:
            # netutil replaces a stale file, and never a live server's.
            name = "\0" + bind.path[1:] if bind.path.startswith("@") else bind.path
            return [bind_unix_socket(name, mode=bind.mode, backlog=backlog)]
        assert bind.port is not None
        return bind_sockets(bind.port, bind.host or None, backlog=backlog, reuse_port=reuse_port)
    except ConfigurationError as error:
        raise ConfigurationError(f"--bind {render_bind(bind)}: {error}") from error
    except socket.gaierror as error:
        raise StartError(
            f"--bind {render_bind(bind)}: {error.strerror}; correct it, or write an address"
        ) from error
    except OSError as error:
        raise StartError(_explain(bind, error)) from error


def close_sockets(sockets: list[socket.socket]) -> None:
    """Close listening sockets, and remove the files of Unix sockets that are still ours."""
    for listening in sockets:
        remove_unix_socket_file(listening)
        listening.close()


def _explain(bind: Bind, error: OSError) -> str:
    """Return the sentence for an address that cannot be had."""
    shown = f"--bind {render_bind(bind)}"
    match error.errno:
        case errno.EADDRINUSE if bind.path is not None:
            return f"{shown}: a running server answers there; stop it, or choose another path"
        case errno.EADDRINUSE:
            return (
                f"{shown}: port {bind.port} is taken, by another process or another --bind; "
                f"stop it (ss -ltnp 'sport = :{bind.port}' names it), or choose another port"
            )
        case errno.EACCES | errno.EPERM if bind.path is None:
            return (
                f"{shown}: this user may not listen on port {bind.port}; choose one from 1024 up, "
                "or grant CAP_NET_BIND_SERVICE"
            )
        case errno.EACCES | errno.EPERM:
            return (
                f"{shown}: this user may not make or replace a socket there; change the "
                "directory's permissions, or choose another path"
            )
        case errno.EADDRNOTAVAIL:
            return (
                f"{shown}: no interface of this machine has the address {bind.host}; use one that "
                "`ip address` shows, or leave the host empty for all"
            )
        case errno.ENOENT:
            return f"{shown}: the path's directory does not exist; make it, or choose another"
        case _:
            return f"{shown}: {error.strerror or error}; choose another address"
