"""Terminate TLS: the settings, the certificates, the contexts and what chooses among them.

The names here are the stable ones; the modules behind them each decide one thing.
"""

from edgeserver.tls.connection.client_certificate import (
    ClientCertificateInfo,
    client_certificate_info,
)
from edgeserver.tls.contexts.build import ssl_options_to_context
from edgeserver.tls.contexts.reload import ReloadTimer
from edgeserver.tls.contexts.selector import ReloadResult, Selection, TLSContexts, build_contexts
from edgeserver.tls.contexts.status import HostStatus, start_lines
from edgeserver.tls.settings.options import (
    ClientPolicy,
    HandshakeLimits,
    TLSOptions,
    parse_ssl_options,
)

__all__ = [
    "ClientCertificateInfo",
    "ClientPolicy",
    "HandshakeLimits",
    "HostStatus",
    "ReloadResult",
    "ReloadTimer",
    "Selection",
    "TLSContexts",
    "TLSOptions",
    "build_contexts",
    "client_certificate_info",
    "parse_ssl_options",
    "ssl_options_to_context",
    "start_lines",
]
