"""Slow requests: what a request waits for, said while it still does.

Decides which requests are slow, and how often that is said of each. It must not know an
application: whoever runs it says where it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from edgeserver.http.exchange import Exchange
from edgeserver.support.addresses import client_name
from edgeserver.support.escape import escape
from edgeserver.support.loggers import gen_log
from edgeserver.support.ratelimit import LimitedLog
from edgeserver.support.spelling import spelled

__all__ = ["SlowRequests"]

SHOWN_METHOD = 20
SHOWN_TARGET = 200
SHOWN_WHERE = 900


class SlowRequests:
    """Looks at the requests in flight now and then, and says which are slow.

    Each is said when it becomes slow, and again whenever it has run twice as long. An answer that
    has begun and does not say its length, such as server-sent events, is meant to go on.

    Args:
        limit_s: From when on a request is slow; None for never.
        requests: Returns the requests in flight.
        where: Returns where the application is with a request, in words; empty if nobody knows.
        clock: The seconds that `Exchange.started_s` is in.

    Attributes:
        limit_s: The same, for the next look.
    """

    def __init__(
        self,
        limit_s: float | None,
        requests: Callable[[], Iterable[Exchange]],
        where: Callable[[Any], str],
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.limit_s = limit_s
        self._requests = requests
        self._where = where
        self._clock = clock
        self._log = LimitedLog(gen_log, logging.WARNING, "Slow requests")
        # How old each in flight has to be before it is told of again.
        self._next_s: dict[Exchange, float] = {}

    def look(self, now_s: float) -> None:
        """Called every now and then.

        Args:
            now_s: The loop's time, which is not asked for here.
        """
        now_s, limit_s = self._clock(), self.limit_s
        told, self._next_s = self._next_s, {}  # so that those that have ended are forgotten
        if limit_s is None:
            return
        for exchange in list(self._requests()):
            age_s = now_s - exchange.started_s
            if age_s < limit_s or exchange.is_open_ended:
                continue
            next_s = told.get(exchange, 0.0)
            if age_s >= next_s:
                next_s = 2 * age_s
                self._tell(exchange, age_s)
            self._next_s[exchange] = next_s

    def _tell(self, exchange: Exchange, age_s: float) -> None:
        waits = exchange.waits_for_client or self._find(exchange) or "the application"
        client = client_name(exchange.remote_ip)
        named = f" ({exchange.request_id})" if exchange.request_id else ""
        self._log.write(
            client,
            "slow request%s: %s %s from %s has run for %.1f s (%s), and waits for %s",
            named,
            escape(exchange.method, SHOWN_METHOD),
            escape(exchange.target, SHOWN_TARGET),
            client,
            age_s,
            spelled("slow_request"),
            escape(waits, SHOWN_WHERE),
        )

    def _find(self, exchange: Exchange) -> str:
        """Return where the application is; a defect in finding out costs only that."""
        try:
            return self._where(exchange)
        except Exception as error:
            return f"the application (where it is cannot be said: {type(error).__name__})"
