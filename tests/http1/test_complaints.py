"""Lines about peers that break rules: a handful for an address, and a count of the others."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from edgeserver.http1 import HTTP1Connection
from edgeserver.support.ratelimit import IN_ALL, PER_ADDRESS
from tests.http1.conversation import FakeTransport, Talk

MALFORMED = b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"


def offend(talk: Talk, address: Any, prelude: Any = None) -> bytes:
    """Connect to the conversation's server as `address`, break a rule, and return the answer."""
    transport = FakeTransport((address, 1) if address else address)
    transport.protocol = HTTP1Connection(talk.http1, prelude)
    transport.protocol.connection_made(transport)
    transport.protocol.data_received(MALFORMED)
    talk.service.batch.flush_all()
    transport.protocol.connection_lost(None)
    return bytes(transport.sent)


async def test_a_flood_of_malformed_requests(caplog: pytest.LogCaptureFixture) -> None:
    """2,000 from one address are all answered, and leave a handful of lines and their number."""
    caplog.set_level(logging.INFO)
    talk = Talk()
    assert all(offend(talk, "192.0.2.9").startswith(b"HTTP/1.1 400 ") for _ in range(2000))
    assert len(caplog.messages) == PER_ADDRESS
    assert all(
        line.startswith("Malformed HTTP message from 192.0.2.9: ") for line in caplog.messages
    )
    caplog.clear()
    offend(talk, "192.0.2.10")
    assert len(caplog.messages) == 1
    await talk.later(61)
    assert caplog.messages[1:] == [
        "Malformed HTTP messages and timeouts: 1995 more in the minute before were not logged one"
        " by one"
    ]
    offend(talk, "192.0.2.9")
    assert caplog.messages[2].startswith("Malformed HTTP message from 192.0.2.9: ")


async def test_a_flood_from_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    """However many addresses there are, there are not more lines than a minute has in all."""
    caplog.set_level(logging.INFO)
    talk = Talk()
    for number in range(IN_ALL * 3):
        offend(talk, f"2001:db8:0:{number:x}::1")
    assert len(caplog.messages) == IN_ALL


async def test_one_network_of_ipv6_is_one_address(caplog: pytest.LogCaptureFixture) -> None:
    """Who has a /64 has no more lines than who has one address."""
    caplog.set_level(logging.INFO)
    talk = Talk()
    for number in range(20):
        offend(talk, f"2001:db8::{number:x}")
    assert len(caplog.messages) == PER_ADDRESS


async def test_clients_behind_one_proxy_do_not_share(caplog: pytest.LogCaptureFixture) -> None:
    """Whom a PROXY prelude names has lines of its own; the proxy's are for who is not named."""
    caplog.set_level(logging.INFO)
    talk = Talk()
    for source in ("203.0.113.1", "203.0.113.2", None):
        for _ in range(10):
            offend(talk, "192.0.2.1", SimpleNamespace(source=source))
    assert len(caplog.messages) == 3 * PER_ADDRESS
