"""Terminate TLS: the settings, the certificates, the contexts and what chooses among them.

The names here are the stable ones; the modules behind them each decide one thing.
"""

from edgeserver.tls.contexts import ssl_options_to_context
from edgeserver.tls.options import TLSOptions, parse_ssl_options

__all__ = ["TLSOptions", "parse_ssl_options", "ssl_options_to_context"]
