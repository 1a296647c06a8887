"""Helpers for tests of programs that run on edgeserver, and of the proxies in front of them.

The public names of the room, and nothing else: a real server on a free port, requests as a chain
of proxies would send them, and an assertion about who their client is.
"""

from edgeserver.testing.chain import Chain
from edgeserver.testing.clients import assert_client
from edgeserver.testing.serving import LoggedRequest, Served, serve

__all__ = ["Chain", "LoggedRequest", "Served", "assert_client", "serve"]
