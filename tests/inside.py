"""What tests look at inside of a server and of a stream, where nothing public says it.

Only here, and in the `inside.py` of a room, private attributes of edgeserver are read: what is
rebuilt is followed in one place. See `test_private.py`.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "check_progress",
    "connections",
    "detach",
    "detached_streams",
    "has_ended",
    "held_bytes",
    "input_has_ended",
    "is_read_paused",
    "is_writing_paused",
    "lower_transport",
    "miss_turns",
    "patience_s",
    "reads_are_paused",
    "run_out_of_patience",
    "until_next_s",
]


# A server and its connections.


def connections(server: Any) -> list[Any]:
    """Return the HTTP connections of an `HTTPServer`."""
    return list(server._service.connections.open)


def detached_streams(server: Any) -> list[Any]:
    """Return the streams that applications have taken over."""
    return list(server._service.connections._detached)


def detach(server: Any, stream: Any) -> None:
    """Let `server` know of a stream that an application has taken over."""
    server._service.connections.add_detached(stream)


def is_read_paused(connection: Any) -> bool:
    """Whether an HTTP connection holds its peer back."""
    return bool(connection.requests.paused)


def is_writing_paused(connection: Any) -> bool:
    """Whether an HTTP connection's peer takes nothing more for now."""
    return bool(connection.output.paused)


def input_has_ended(connection: Any) -> bool:
    """Whether an HTTP connection knows that nothing more will come."""
    return bool(connection._eof)


# A stream.


def lower_transport(stream: Any) -> Any:
    """Return the transport of an `IOStream`; None when it has gone."""
    return stream._transport


def held_bytes(stream: Any) -> int:
    """How many bytes an `IOStream` holds that nobody has read."""
    return len(stream._buffer)


def reads_are_paused(stream: Any) -> bool:
    """Whether an `IOStream` holds its peer back."""
    return bool(stream._reads_paused)


def has_ended(stream: Any) -> bool:
    """Whether an `IOStream` knows that nothing more will come."""
    return bool(stream._eof)


# The end of a connection.


def patience_s(last: Any) -> float:
    """How long a peer has left to take the last bytes, in seconds."""
    return float(last._patience_s)


def run_out_of_patience(last: Any, left_s: float) -> None:
    """Leave a peer `left_s` seconds to take the last bytes."""
    last._patience_s = left_s


def check_progress(last: Any) -> None:
    """Look now whether a peer has taken some of the last bytes."""
    last._check()


# A periodic callback.


def miss_turns(periodic: Any, seconds: float) -> None:
    """Make a periodic callback plan its next turn as if it were `seconds` late."""
    periodic._next_s -= seconds
    periodic._plan(periodic._run)


def until_next_s(periodic: Any, now_s: float) -> float:
    """How many seconds after `now_s` the next turn of a periodic callback is."""
    return float(periodic._timeout.when() - now_s)
