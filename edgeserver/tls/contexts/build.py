"""A server's `SSLContext`s: built from `ssl_options` with safe defaults, and proved to work.

Decides what OpenSSL is told. It reads no file (`material` did) and chooses no host
(`selector` does); a context given by the application is never touched here.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives import serialization

from edgeserver.errors import TLSConfigurationError
from edgeserver.tls.certificates.keys import describe_key
from edgeserver.tls.certificates.material import Material, load_material
from edgeserver.tls.certificates.pem import TLSFileError
from edgeserver.tls.contexts.client import build_client_context
from edgeserver.tls.contexts.openssl import load_crls, load_pair, set_ciphers, translate
from edgeserver.tls.settings.options import TLSOptions, parse_ssl_options

__all__ = ["DEFAULT_CIPHERS", "build_context", "ssl_options_to_context"]

DEFAULT_CIPHERS = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
"""TLS 1.2 suites with forward secrecy and AEAD. Source: RFC 9325 section 4.2."""

# An authority in ca_certs is trusted as it stands, with its own root in the file or not.
_PARTIAL_CHAIN = ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN


def ssl_options_to_context(
    ssl_options: Mapping[str, Any] | ssl.SSLContext, server_side: bool = True
) -> ssl.SSLContext:
    """Return the `SSLContext` for `ssl_options`.

    Args:
        ssl_options: A dict of options; or a context, which comes back untouched.
        server_side: Whether the context is for accepting connections.

    Raises:
        KeyError: A server's dict has no `certfile`.
        TLSConfigurationError: A `ValueError`: an option or a file is wrong.

    Source: `tornado.netutil.ssl_options_to_context`, whose keys and meaning this keeps.
    """
    if isinstance(ssl_options, ssl.SSLContext):
        return ssl_options
    if not server_side:
        return build_client_context(ssl_options)
    options = parse_ssl_options(ssl_options)
    if options.hosts:
        raise TLSConfigurationError(
            'one SSLContext cannot serve "hosts" (client policy, versions and tickets would be '
            "shared): pass the dict to HTTPServer, or use edgeserver.tls.build_contexts"
        )
    return build_context(load_material(options), options)


def build_context(material: Material, options: TLSOptions) -> ssl.SSLContext:
    """Build a server's context for one host and prove it with handshakes in memory.

    Raises:
        TLSConfigurationError: OpenSSL refuses the pair, the ciphers or the handshake.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = options.min_version
    context.maximum_version = options.max_version
    # "no compression, no renegotiation" on every OpenSSL that Python supports
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if options.ciphers is None:
        # All suites are strong, so it is the client's to say which is cheapest for it: AES where
        # its processor knows that, ChaCha20 on a phone. A list that somebody wrote has an order.
        # Source: Mozilla, Server Side TLS 5.7.
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    # CPython hides an end of input without close_notify; a truncated body must be seen.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    context.num_tickets = options.tickets
    # 3.13's helpers turn on VERIFY_X509_STRICT; the same policy on every Python is ours to say.
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | _PARTIAL_CHAIN
    set_ciphers(context, options.ciphers or DEFAULT_CIPHERS)
    offered = [each for each in options.alpn if each != "h2" or suits_http2(context)]
    if offered:
        context.set_alpn_protocols(offered)
    load_pair(context, material, options)
    if material.authorities.certs:
        context.load_verify_locations(cadata=material.authorities.ca_pem)
    if crl_pem := material.authorities.crl_pem:
        load_crls(context, crl_pem)
    _prove(context, material, options)
    context.verify_mode = options.cert_reqs
    return context


def suits_http2(context: ssl.SSLContext) -> bool:
    """Tell whether no suite of `context` is one that HTTP/2 forbids.

    Source: RFC 9113 section 9.2.2 and its Appendix A: of TLS 1.2 all suites that are not both
    ephemeral and authenticated encryption.
    """
    return all(
        cipher["protocol"] == "TLSv1.3"
        or (cipher["aead"] and cipher["kea"] in ("kx-ecdhe", "kx-dhe"))
        for cipher in context.get_ciphers()
    )


def _prove(context: ssl.SSLContext, material: Material, options: TLSOptions) -> None:
    """Shake hands with `context` in memory, once per version that it offers.

    Raises:
        TLSConfigurationError: A version fails, as when the ciphers do not suit the key.
    """
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        if version < options.min_version:
            continue
        if options.max_version is ssl.TLSVersion.TLSv1_2 and version is ssl.TLSVersion.TLSv1_3:
            continue
        try:
            seen = _shake_hands(context, version)
        except ssl.SSLError as error:
            key = describe_key(material.chain.leaf.public_key())
            what, fix = translate(error)
            raise TLSFileError(
                f'certfile "{options.certfile}"',
                f" ({key}): a test handshake with TLS 1.{version - ssl.TLSVersion.TLSv1} fails: "
                f"{what}",
                fix,
            ) from None
        if seen != material.chain.leaf.public_bytes(serialization.Encoding.DER):
            raise TLSConfigurationError(
                f'certfile "{options.certfile}": a test handshake showed another certificate'
            )


def _shake_hands(context: ssl.SSLContext, version: ssl.TLSVersion) -> bytes | None:
    """Return the certificate that a client of exactly `version` is shown."""
    checker = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    checker.check_hostname = False
    checker.verify_mode = ssl.CERT_NONE
    checker.minimum_version = checker.maximum_version = version
    checker.set_ciphers("ALL:@SECLEVEL=0")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = checker.wrap_bio(to_client, to_server)
    left = [client, server]
    for _ in range(10):
        for end in tuple(left):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            left.remove(end)
        if not left:
            break
    return client.getpeercert(binary_form=True)
