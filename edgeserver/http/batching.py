"""Batched writes: the answers of one turn of the event loop leave together.

Decides how long an answer waits for others. It must not know what is written, nor to whom.

A peer on the same machine, such as a proxy or a load balancer, is woken once for all of them
instead of once for each, and the kernel's half stays in the processor's caches. Where the
application takes long for each request the first would wait for the others: then, for a while,
each leaves at once.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

from edgeserver.support.loggers import gen_log

__all__ = ["FLUSH_WITHIN_S", "Flushed", "WriteBatch"]

FLUSH_WITHIN_S = 0.001
"""How long an answer may wait for others of the same turn of the event loop."""

SLOW_ANSWER_S = 0.0001
"""What an answer may take, on an average, where they are to wait for each other at all."""

DIRECT_AFTER_SLOW = 64
"""How many answers leave at once after some have taken longer than that."""


class Flushed:
    """What holds output that is to leave; an interface without state of its own."""

    __slots__ = ()

    def flush(self) -> None:
        """Give the transport all that is held."""
        raise NotImplementedError  # an interface: each version's output says how

    def abort(self) -> None:
        """Close at once, since its transport takes nothing."""
        raise NotImplementedError  # an interface: each version's output says how

    def render_peer(self) -> str:
        """Return who does not get the output, for the log."""
        raise NotImplementedError  # an interface: each version's output says how


class WriteBatch:
    """The outputs of one server that are to be flushed in this turn.

    Args:
        write_timeout_s: How long a peer may take nothing of what was written to it.

    Attributes:
        write_timeout_s: The same, for each output.
        answers: How many answers wait in these outputs besides the first of each, to be added to.
        direct: How many more answers leave at once.
    """

    __slots__ = ("_since_s", "_unflushed", "answers", "direct", "write_timeout_s")

    def __init__(self, write_timeout_s: float) -> None:
        self.write_timeout_s = write_timeout_s
        self._unflushed: list[Flushed] = []  # in the order in which they came
        self._since_s = 0.0  # when the first of them came
        self.answers = 0
        self.direct = 0

    def flush_soon(self, output: Flushed, loop: asyncio.AbstractEventLoop) -> None:
        """Have `output` flushed before `loop` waits again."""
        now = perf_counter()
        unflushed = self._unflushed
        if unflushed:
            unflushed.append(output)
            waited_s = now - self._since_s
            if waited_s > FLUSH_WITHIN_S:
                if waited_s > SLOW_ANSWER_S * (len(unflushed) + self.answers):
                    self.direct = DIRECT_AFTER_SLOW
                self.flush_all()
        elif self.direct:
            self.direct -= 1
            output.flush()
        else:
            unflushed.append(output)
            self._since_s = now
            self.answers = 0
            loop.call_soon(self.flush_all)

    def flush_all(self) -> None:
        """Flush what waits for the end of the event loop's turn."""
        unflushed, self._unflushed = self._unflushed, []
        for output in unflushed:
            try:
                output.flush()
            except Exception:  # of one transport must not keep the answers of the others
                gen_log.error("Cannot write to %s", output.render_peer(), exc_info=True)
                output.abort()
