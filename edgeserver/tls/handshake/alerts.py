"""The alerts of TLS: their names, and the record that carries one.

Decides how an alert is named and written. It must know nothing of when one is sent: OpenSSL sends
its own; only a hello that never reaches OpenSSL is answered with a record made here.

Source: RFC 8446 section 6; RFC 6066 section 3 (112); RFC 7301 section 3.2 (120).
"""

from __future__ import annotations

__all__ = ["ALERT_NAMES", "ILLEGAL_PARAMETER", "INTERNAL_ERROR", "alert_name", "alert_record"]

ILLEGAL_PARAMETER = 47
INTERNAL_ERROR = 80

ALERT_NAMES = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}


def alert_name(number: int) -> str:
    """Return the registered name of an alert, or `alert N` for one without."""
    return ALERT_NAMES.get(number, f"alert {number}")


def alert_record(number: int) -> bytes:
    """Return the unencrypted record of a fatal alert.

    Its version is 3.3 whatever the client spoke: before a ServerHello no version is agreed, and
    "legacy_record_version ... MUST be ignored" (RFC 8446 section 5.1); clients down to TLS 1.0
    take it.
    """
    return bytes((0x15, 3, 3, 0, 2, 2, number))
