"""Who is the client? Trust policies, the PROXY protocol, and the proof of every decision.

This room is pure: data in, data out. It must not know asyncio, sockets, TLS, files, time or logs.
"""

from edgeserver.proxyheaders.connection import ConnectionPolicy as Bound
from edgeserver.proxyheaders.declared import Declared
from edgeserver.proxyheaders.explanation.codes import CODES
from edgeserver.proxyheaders.explanation.render import Hop, Provenance
from edgeserver.proxyheaders.policy import TrustPolicy
from edgeserver.proxyheaders.results import REASONS, Finding, Resolved
from edgeserver.proxyheaders.settings import TrustedProxy

__all__ = [
    "CODES",
    "REASONS",
    "Bound",
    "Declared",
    "Finding",
    "Hop",
    "Provenance",
    "Resolved",
    "TrustPolicy",
    "TrustedProxy",
]
