"""The exception tree: every error that this package raises on purpose.

Two mistakes are kept apart. A `ConfigurationError` (or another subclass of `EdgeServerError`
that is not a `ProtocolError`) says "you did wrong": the person who configures or the application.
A `ProtocolError` says "the peer did wrong", carries the status to answer with and the rule broken::

    EdgeServerError
    +-- ConfigurationError (ValueError)     a setting is wrong: what, where, and the fix
    |   +-- TLSConfigurationError           a certificate, key or TLS option is wrong
    |   +-- TrustConfigurationError         a trust policy is wrong
    +-- ProtocolError                       the peer broke a rule; has status and rfc
    |   +-- HTTPInputError                  a request that is refused
    |   +-- ProxyProtocolError              a PROXY prelude that is refused
    +-- HTTPOutputError                     the application broke the framing of its answer
    +-- StreamClosedError (OSError)         reading from or writing to a closed connection
"""

__all__ = [
    "ConfigurationError",
    "EdgeServerError",
    "HTTPInputError",
    "HTTPOutputError",
    "ProtocolError",
    "ProxyProtocolError",
    "StreamClosedError",
    "TLSConfigurationError",
    "TrustConfigurationError",
]


class EdgeServerError(Exception):
    """Root of all errors of this package."""


class ConfigurationError(EdgeServerError, ValueError):
    """A setting is wrong; the message says which, why, and the fix."""


class TLSConfigurationError(ConfigurationError):
    """A certificate, a key or a TLS option is wrong; the message names the file or key."""


class TrustConfigurationError(ConfigurationError):
    """A trust policy is wrong; the message names the entry and the fix."""


class ProtocolError(EdgeServerError):
    """The peer broke a rule.

    Args:
        message: The rule in words, safe to log once escaped.
        status: The HTTP status to answer with.
        rfc: Where the rule stands, such as `"RFC 9112 section 6.3"`; empty if nowhere.
    """

    def __init__(self, message: str = "", *, status: int = 400, rfc: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.rfc = rfc


class HTTPInputError(ProtocolError):
    """A request, header or body that is refused.

    Source: `tornado.httputil.HTTPInputError`, whose name and meaning this keeps.
    """


class ProxyProtocolError(ProtocolError):
    """A PROXY protocol prelude that is refused."""


class HTTPOutputError(EdgeServerError):
    """The application wrote more or less than it declared.

    Source: `tornado.httputil.HTTPOutputError`.
    """


class StreamClosedError(EdgeServerError, OSError):
    """The connection is closed; what was asked of it cannot happen.

    Args:
        real_error: What closed it, where that is known.
    """

    def __init__(self, real_error: BaseException | None = None) -> None:
        super().__init__("Stream is closed")
        self.real_error = real_error
