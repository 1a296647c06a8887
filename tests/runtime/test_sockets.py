"""The listening sockets of all workers' places: real sockets, made-up places."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeserver.config.bind import parse_bind
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import PlannedListener
from edgeserver.runtime.sockets import ActivatedSockets, PlaceSockets, open_sockets

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux spreads connections")


def _listener(text: str) -> PlannedListener:
    bind = parse_bind(text)
    return PlannedListener(bind=bind, is_tls=False, sockets=open_sockets(bind))


@pytest.fixture
def listener() -> Iterator[PlannedListener]:
    """Return a listener on a free port."""
    made = _listener("127.0.0.1:0")
    yield made
    for sock in made.sockets:
        sock.close()


@linux_only
def test_each_place_has_a_socket_of_its_own(listener: PlannedListener) -> None:
    """All have the same address, and the first place keeps the socket that was opened first."""
    places = PlaceSockets([listener])
    first = listener.sockets[0]
    assert not places.is_shared
    places.open(1)
    places.open(2)
    places.take(2)
    (second,) = listener.sockets
    assert second is not first
    assert second.getsockname()[0] == "127.0.0.1"
    assert first.fileno() == -1  # the worker of the second place does not keep it
    places.close()
    assert second.fileno() == -1


@linux_only
def test_a_successor_inherits_what_is_queued(listener: PlannedListener) -> None:
    """Opened again, a place has the socket that it had, with who waits there."""
    places = PlaceSockets([listener])
    address = listener.sockets[0].getsockname()
    with socket.create_connection(address):
        places.open(1)
        places.take(1)
        listener.sockets[0].setblocking(True)
        accepted, _ = listener.sockets[0].accept()
        accepted.close()
    places.close()


@linux_only
def test_a_released_place_is_taken_over(listener: PlannedListener) -> None:
    """Who is started from then on has its sockets beside its own."""
    places = PlaceSockets([listener])
    places.open(2)
    places.release(2)
    places.take(1)
    assert len(listener.sockets) == 2
    assert len({sock.fileno() for sock in listener.sockets} - {-1}) == 2
    places.close()
    assert all(sock.fileno() == -1 for sock in listener.sockets)


@linux_only
@pytest.mark.parametrize("place", [1, 2], ids=["first", "second"])
def test_a_dropped_place_is_closed_and_opened_again(listener: PlannedListener, place: int) -> None:
    """Its port stays the same, even where it was the one that was opened first."""
    places = PlaceSockets([listener])
    port = listener.sockets[0].getsockname()[1]
    places.open(2)
    places.drop(place)
    places.open(place)
    places.take(place)
    assert [sock.getsockname()[1] for sock in listener.sockets] == [port]
    places.close()


def test_the_last_place_is_not_dropped(listener: PlannedListener) -> None:
    """Somebody has to hold the port."""
    places = PlaceSockets([listener])
    places.drop(1)
    places.drop(7)
    assert listener.sockets[0].fileno() != -1
    places.close()


@pytest.mark.parametrize("kind", ["unix", "inherited"])
def test_one_queue_for_all(tmp_path: Path, kind: str) -> None:
    """A Unix socket, or one that somebody else has opened, is shared by all places."""
    if kind == "unix":
        listener = _listener(f"unix:{tmp_path}/a.sock")
    else:
        foreign = socket.create_server(("127.0.0.1", 0))
        listener = _listener(f"fd:{foreign.detach()}")
    places = PlaceSockets([listener])
    assert places.is_shared
    (before,) = listener.sockets
    places.open(2)
    places.take(2)
    assert listener.sockets == [before]
    places.close()
    assert before.fileno() == -1


@linux_only
def test_a_port_of_another_process_is_still_refused(listener: PlannedListener) -> None:
    """That places share a port lets nobody else have it."""
    places = PlaceSockets([listener])
    places.open(2)
    port = listener.sockets[0].getsockname()[1]
    with pytest.raises(Exception, match=f"port {port} is taken"):
        open_sockets(parse_bind(f"127.0.0.1:{port}"))
    places.close()


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "systemd has passed no socket; start the service through its socket unit"),
        ({"LISTEN_PID": "1", "LISTEN_FDS": "1"}, "systemd has passed no socket; start"),
        ({"LISTEN_PID": "x", "LISTEN_FDS": "1"}, "LISTEN_PID is not a number"),
    ],
    ids=["by-hand", "for-another", "malformed"],
)
def test_activated_by_nobody(environ: dict[str, str], says: str) -> None:
    """A bind that names a socket of systemd says how to get one; the variables go in any case."""
    activated = ActivatedSockets(environ)
    assert environ == {}
    with pytest.raises(ConfigurationError, match=says):
        open_sockets(parse_bind("systemd:web"), activated=activated)


def _opens(listener: PlannedListener) -> None:
    listener.sockets = open_sockets(listener.bind)


def _twin(listener: PlannedListener) -> PlannedListener:
    """Return a listener at the same address, as another configuration has it."""
    return PlannedListener(bind=listener.bind, is_tls=False)


@linux_only
def test_other_addresses(tmp_path: Path, listener: PlannedListener) -> None:
    """What stays keeps its sockets at every place; what is new has some, what goes is closed."""
    going, stays = _listener(f"unix:{tmp_path}/a.sock"), _twin(listener)
    places = PlaceSockets([going, listener])
    places.open(2)
    fresh = PlannedListener(bind=parse_bind("127.0.0.2:0"), is_tls=False)
    places.change([stays, fresh], _opens)
    assert stays.sockets == listener.sockets
    assert going.sockets[0].fileno() != -1
    places.keep()
    assert going.sockets[0].fileno() == -1
    assert not (tmp_path / "a.sock").exists()
    places.take(2)
    for each in (stays, fresh):
        assert len(each.sockets) == 1
        assert each.sockets[0].fileno() != -1
    places.close()


@linux_only
def test_a_worker_holds_nothing_that_goes(tmp_path: Path, listener: PlannedListener) -> None:
    """A new one closes the sockets of addresses that are listened on no more."""
    going = _listener("127.0.0.3:0")
    places = PlaceSockets([going, listener])
    places.open(2)
    places.change([_twin(listener)], _opens)
    places.take(2)
    assert going.sockets[0].fileno() == -1
    places.close()


@linux_only
def test_back_to_the_old_addresses(listener: PlannedListener) -> None:
    """Undone, what was there is there still, at every place, and what was new is closed."""
    places = PlaceSockets([listener])
    places.open(2)
    fresh = PlannedListener(bind=parse_bind("127.0.0.2:0"), is_tls=False)
    places.change([fresh], _opens)
    places.undo()
    assert fresh.sockets[0].fileno() == -1
    places.open(3)
    places.take(2)
    assert len(listener.sockets) == 1
    assert listener.sockets[0].fileno() != -1
    places.close()


def test_an_address_that_cannot_be_had(listener: PlannedListener) -> None:
    """Nothing changes, and what was opened before is closed again."""
    places = PlaceSockets([listener])
    port = listener.sockets[0].getsockname()[1]
    first = PlannedListener(bind=parse_bind("127.0.0.1:0"), is_tls=False)
    taken = PlannedListener(bind=parse_bind(f"127.0.0.1:{port}"), is_tls=False)
    with pytest.raises(Exception, match=f"port {port} is taken"):
        places.change([_twin(listener), first, taken], _opens)
    assert [sock.fileno() for sock in first.sockets] in ([-1], [])
    assert listener.sockets[0].fileno() != -1
    places.take(1)
    assert listener.sockets[0].fileno() != -1
    places.close()


@linux_only
def test_port_0_and_others_that_are_added(tmp_path: Path) -> None:
    """Where all queues were shared a new address has queues of its own."""
    first = _listener(f"unix:{tmp_path}/a.sock")
    places = PlaceSockets([first])
    fresh = PlannedListener(bind=parse_bind("127.0.0.1:0"), is_tls=False)
    places.change([_twin(first), fresh], _opens)
    assert not places.is_shared
    places.open(2)
    places.take(2)
    assert fresh.sockets[0].fileno() != -1
    places.close()
