"""What `HTTPServer` refuses of its arguments, and what stands for those that are None.

Decides which values and combinations cannot work, and says the fix. It must not know what the
server does with them.
"""

from __future__ import annotations

import resource
from typing import Any

from edgeserver.audit.log import AuditLog
from edgeserver.config.rate import parse_rate
from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.support.validate import require_count, require_seconds

__all__ = [
    "check_logs",
    "check_timeout",
    "client_limit",
    "connection_limit",
    "known_http2",
    "known_protocol",
    "limits_given",
    "require_policy",
    "shedding_options",
    "slow_limit",
    "trust_of",
]

FILE_LIMIT_SHARE = 0.8


def limits_given(**limits: float | None) -> dict[str, Any]:
    """Return the limits that are not None: Tornado's None is the default."""
    return {name: value for name, value in limits.items() if value is not None}


def slow_limit(slow_request: Any) -> float | None:
    """Return from when on a request is slow; None for never."""
    if slow_request is not None:
        require_seconds("slow_request", slow_request)
    limit_s: float | None = slow_request
    return limit_s


def shedding_options(
    max_in_flight: Any, client_rate: Any, client_connections: Any
) -> dict[str, Any]:
    """Return the arguments of a `Shedding` that bounds these; empty where none is bounded."""
    if max_in_flight is None and client_rate is None and client_connections is None:
        return {}
    if max_in_flight is not None:
        require_count("max_in_flight", max_in_flight, "requests")
    if client_connections is not None:
        require_count("client_connections", client_connections, "connections")
    return {
        "max_in_flight": max_in_flight,
        "rate": None if client_rate is None else parse_rate("client_rate", client_rate),
        "max_connections": client_connections,
    }


def check_timeout(timeout: Any) -> None:
    """Check what `drain` is given for a time: one that is over is none left, None is no limit."""
    require_seconds("timeout", timeout, past=True, none=True)


def check_logs(access_log: Any, audit_log: Any) -> None:
    """Check that a server's logs are what it can write to."""
    if access_log is not None and not callable(access_log):
        raise ConfigurationError(
            f"access_log={access_log!r} cannot be called: give a function of one exchange, such as"
            " an edgeserver.logs.access.AccessLog"
        )
    if audit_log is not None and not isinstance(audit_log, AuditLog):
        raise ConfigurationError(
            f"audit_log={audit_log!r} is not an AuditLog: write audit_log=AuditLog('audit.jsonl')"
        )


def known_http2(http2: Any) -> Any:
    """Return `http2`, which is a bool or `"only"`."""
    if http2 is not True and http2 is not False and http2 != "only":
        raise ConfigurationError(f"http2={http2!r} is unknown: give True, False or 'only'")
    return http2


def known_protocol(protocol: str | None) -> str | None:
    """Return `protocol`, which is a scheme or None."""
    if protocol not in (None, "http", "https"):
        raise ConfigurationError(
            f"protocol={protocol!r} is not a scheme: give 'http', 'https' or None"
        )
    return protocol


def require_policy(trust: Any) -> None:
    """Check that what says whom to believe is a policy, and not its entries alone."""
    if not isinstance(trust, TrustPolicy):
        raise TypeError(
            f"trust={trust!r} is not a TrustPolicy: write trust=TrustPolicy(['10.0.0.5']), with"
            " TrustPolicy from edgeserver.proxyheaders"
        )


def trust_of(
    trust: TrustPolicy | None, *, xheaders: bool, trusted_downstream: list[str] | None
) -> TrustPolicy:
    """Return the policy that the three arguments describe together."""
    if trust is not None and xheaders:
        raise ConfigurationError(
            "trust= and xheaders=True exclude each other: a trust policy says whom to believe,"
            " xheaders believes everybody; drop xheaders"
        )
    if trust is not None and trusted_downstream:
        raise ConfigurationError(
            "trust= and trusted_downstream= exclude each other: trusted_downstream is read with"
            " xheaders alone; put its addresses into the trust policy"
        )
    if trust is not None:
        require_policy(trust)
    if xheaders:
        return TrustPolicy.tornado(trusted_downstream=trusted_downstream)
    return TrustPolicy.off() if trust is None else trust


def connection_limit(given: int | None) -> int:
    """Return how many connections may be open; None is a share of the limit of open files."""
    if given is None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return 1_000_000
        return max(int(soft * FILE_LIMIT_SHARE), 1)
    require_count("max_connections", given)
    return given


def client_limit(given: int | None) -> int | None:
    """Return how many connections one client may have; None is no limit."""
    require_count("max_connections_per_client", given, none=True)
    return given
