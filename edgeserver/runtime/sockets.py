"""Listening sockets: those that a bind becomes, and those of each worker's place.

Decides who has a queue of its own, and the message for each way that listening can fail. It must
not know what will be served.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Mapping, MutableMapping

from edgeserver.config.bind import Bind, render_bind
from edgeserver.errors import ConfigurationError
from edgeserver.netutil import (
    bind_beside,
    bind_sockets,
    bind_unix_socket,
    remove_unix_socket_file,
    socket_from_fd,
    systemd_sockets,
)
from edgeserver.runtime.exits import StartError
from edgeserver.runtime.plan import PlannedListener
from edgeserver.support.escape import escape

__all__ = ["ActivatedSockets", "PlaceSockets", "close_sockets", "open_sockets"]


class ActivatedSockets:
    """The sockets that systemd's socket activation has opened for this process, by their names.

    The variables are removed from the environment in any case, so that no application takes them
    for its own; the descriptors are touched only where somebody asks for a name.

    Args:
        environ: The environment, `os.environ` usually.

    Source: sd_listen_fds_with_names(3).
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._variables = {name: environ.pop(name) for name in _LISTEN_VARIABLES if name in environ}
        self._by_name: dict[str, list[socket.socket]] | None = None

    def take(self, name: str) -> list[socket.socket]:
        """Return the sockets of one name.

        Raises:
            ConfigurationError: There are none, or the variables are malformed.
        """
        if self._by_name is None:
            self._by_name = self._open()
        sockets = self._by_name.pop(name, None)
        if sockets is not None:
            return sockets
        if not self._variables:
            raise ConfigurationError(
                "systemd has passed no socket; start the service through its socket unit"
                " (Requires= and After= the .socket in the .service)"
            )
        others = ", ".join(escape(each) for each in self._by_name) or "none that is left"
        raise ConfigurationError(
            f"systemd has passed no socket of that name, but: {others}; correct it, or"
            " FileDescriptorName= in the socket unit"
        )

    @property
    def left(self) -> list[str]:
        """The names of which nobody has taken the sockets, where somebody has taken some."""
        return list(self._by_name or ())

    def _open(self) -> dict[str, list[socket.socket]]:
        sockets = systemd_sockets(environ=self._variables, unset_environment=False)
        if not sockets:
            self._variables.clear()  # they were meant for another process
            return {}
        given = self._variables.get("LISTEN_FDNAMES")
        names = given.split(":") if given else ["unknown"] * len(sockets)
        if len(names) != len(sockets):
            raise ConfigurationError(
                f"LISTEN_FDNAMES has {len(names)} names for {len(sockets)} sockets; systemd sets"
                " it, nobody else should"
            )
        by_name: dict[str, list[socket.socket]] = {}
        for name, sock in zip(names, sockets, strict=True):
            by_name.setdefault(name, []).append(sock)
        return by_name


_LISTEN_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

_Key = tuple[Bind, int]
"""An address, and which of those with the same text it is."""


def open_sockets(
    bind: Bind,
    *,
    backlog: int = 128,
    reuse_port: bool = False,
    activated: ActivatedSockets | None = None,
) -> list[socket.socket]:
    """Open what `bind` names; a name may stand for several addresses.

    Args:
        bind: What the flag said.
        backlog: The length of the queue of connections not yet accepted.
        reuse_port: Let other processes listen on the same port.
        activated: What systemd has opened, for binds that name it.

    Raises:
        ConfigurationError: The descriptor is not a listening socket, or systemd has passed none of
            that name.
        StartError: The address is taken, not ours, or not allowed.
    """
    try:
        if bind.fd is not None:
            return [socket_from_fd(bind.fd)]
        if bind.systemd is not None:
            return (activated or ActivatedSockets({})).take(bind.systemd)
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


class PlaceSockets:
    """The listening sockets of all workers' places, which the parent holds.

    On Linux each place has a socket of its own for each TCP address, so that the system spreads
    connections over the workers; whoever fills a place inherits its sockets and what is queued
    there, and nothing is lost. Inherited descriptors, Unix sockets and other systems have one queue
    for all.

    Args:
        listeners: What is listened on; their sockets are open, and are those of the first place.
    """

    def __init__(self, listeners: Iterable[PlannedListener]) -> None:
        self._listeners = _keyed(listeners)
        # Those before the last change, until that is kept or undone.
        self._before: dict[_Key, PlannedListener] | None = None
        self._own = {key for key, each in self._listeners.items() if _has_own_queues(each)}
        # For each place: the sockets of each listener that has queues of its own.
        self._places: dict[int, dict[_Key, list[socket.socket]]] = {
            1: self._share(lambda listener: listener.sockets)
        }
        self._released: list[dict[_Key, list[socket.socket]]] = []

    @property
    def is_shared(self) -> bool:
        """Whether all places have the same sockets."""
        return not self._own

    def open(self, place: int) -> None:
        """Make sure that a place has sockets; where no more can be had it shares another's."""
        if place in self._places or self.is_shared:
            return
        self._places[place] = self._share(lambda listener: _bind_beside_all(listener.sockets))

    def release(self, place: int) -> None:
        """Give the sockets of a place to all who are started from now on."""
        sockets = self._places.pop(place, None)
        if sockets is not None:
            self._released.append(sockets)

    def drop(self, place: int) -> None:
        """Close the sockets of a place that nobody fills for a while, if there are others."""
        others = [each for number, each in self._places.items() if number != place]
        if place not in self._places or not others:
            return
        for key, sockets in self._places.pop(place).items():
            shared = {id(sock) for other in others for sock in other[key]}
            for sock in sockets:
                if id(sock) not in shared:
                    sock.close()
            # The next place is bound beside one that is open.
            self._all()[key].sockets = others[0][key]

    def take(self, place: int) -> None:
        """Give the listeners the sockets of a place, and close those of others: in the worker."""
        mine = [self._places.pop(place, {}), *self._released]
        for key, listener in self._all().items():
            wanted = {
                id(sock): sock
                for sockets in mine
                for sock in sockets.get(key, ())
                if key in self._listeners
            }
            others = [sock for each in self._places.values() for sock in each.get(key, ())]
            if key not in self._listeners:
                others += [
                    *listener.sockets,
                    *(sock for each in mine for sock in each.get(key, ())),
                ]
            for sock in others:
                if id(sock) not in wanted:
                    sock.close()
            if key in self._own and key in self._listeners:
                listener.sockets = list(wanted.values())

    def change(
        self, listeners: Iterable[PlannedListener], open_listener: Callable[[PlannedListener], None]
    ) -> None:
        """Listen at other addresses; those that stay keep their sockets, with who waits there.

        What is listened on no more stays open until `keep`, so that `undo` loses nothing.

        Args:
            listeners: What is listened on from now on.
            open_listener: Opens the sockets of one; where it raises nothing has changed.
        """
        after = _keyed(listeners)
        opened: list[PlannedListener] = []
        try:
            for key, listener in after.items():
                if key not in self._listeners:
                    open_listener(listener)
                    opened.append(listener)
        except BaseException:
            for listener in opened:
                close_sockets(listener.sockets)
            raise
        self._before, self._listeners = self._listeners, after
        for key, listener in after.items():
            if key in self._before:
                listener.sockets = self._before[key].sockets
            elif _has_own_queues(listener):
                self._own.add(key)
                for number, place in enumerate(self._places.values()):
                    fresh = _bind_beside_all(listener.sockets) if number else listener.sockets
                    place[key] = fresh

    def keep(self) -> None:
        """Close what is listened on no more since the last change."""
        before, self._before = self._before, None
        self._close_missing(before or {}, self._listeners)

    def undo(self) -> None:
        """Listen where that was done before the last change."""
        if self._before is None:
            return
        after, self._listeners, self._before = self._listeners, self._before, None
        self._close_missing(after, self._listeners)

    def close(self) -> None:
        """Close all, and remove the files of Unix sockets that are still ours."""
        for listener in self._all().values():
            close_sockets(listener.sockets)
        for each in (*self._places.values(), *self._released):
            for sockets in each.values():
                close_sockets(sockets)

    def _all(self) -> dict[_Key, PlannedListener]:
        """Return the listeners, those before the last change, too."""
        return {**(self._before or {}), **self._listeners}

    def _close_missing(
        self, some: Mapping[_Key, PlannedListener], others: Mapping[_Key, PlannedListener]
    ) -> None:
        """Close the sockets of those of `some` that are not among `others`."""
        for key in some.keys() - others.keys():
            close_sockets(some[key].sockets)
            self._own.discard(key)
            for each in (*self._places.values(), *self._released):
                close_sockets(each.pop(key, []))

    def _share(
        self, sockets_of: Callable[[PlannedListener], list[socket.socket]]
    ) -> dict[_Key, list[socket.socket]]:
        return {
            key: sockets_of(listener) for key, listener in self._all().items() if key in self._own
        }


def _keyed(listeners: Iterable[PlannedListener]) -> dict[_Key, PlannedListener]:
    """Return listeners by their address; of the same twice, such as port 0, by which it is."""
    keyed: dict[_Key, PlannedListener] = {}
    for listener in listeners:
        number = 0
        while (listener.bind, number) in keyed:
            number += 1
        keyed[listener.bind, number] = listener
    return keyed


def _has_own_queues(listener: PlannedListener) -> bool:
    """Return whether each place can have sockets of its own for what was opened here."""
    if listener.bind.port is None:  # a Unix socket, or inherited
        return False
    probe = _bind_beside_all(listener.sockets)
    for sock in probe:
        if sock not in listener.sockets:
            sock.close()
    return bool(probe) and probe[0] not in listener.sockets


def _bind_beside_all(sockets: list[socket.socket]) -> list[socket.socket]:
    """Return a further socket for each of these; the same one where no further can be had."""
    return [bind_beside(sock) or sock for sock in sockets]


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
