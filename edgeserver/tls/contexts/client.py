"""A client's `SSLContext`: Tornado's `ssl_options` where this process is the TLS client.

Decides the few keys that make sense there. A server's contexts are built in `build`.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from edgeserver.tls.certificates.files import parse_certs, parse_crls, render_certs, render_crls
from edgeserver.tls.certificates.material import load_material
from edgeserver.tls.certificates.pem import load_file
from edgeserver.tls.contexts.openssl import load_crls, load_pair, set_ciphers
from edgeserver.tls.settings.options import TLSOptions, parse_client_options

__all__ = ["build_client_context"]


def build_client_context(ssl_options: Mapping[str, Any]) -> ssl.SSLContext:
    """Return a client's context; servers are verified unless `cert_reqs` says otherwise.

    Raises:
        TLSConfigurationError: An option or a file is wrong.
    """
    settings = parse_client_options(ssl_options)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.minimum_version = settings.get("min_version", ssl.TLSVersion.TLSv1_2)
    context.maximum_version = settings.get("max_version", ssl.TLSVersion.MAXIMUM_SUPPORTED)
    verify = settings.get("cert_reqs", ssl.CERT_REQUIRED)
    if verify is ssl.CERT_NONE:
        context.check_hostname = False  # OpenSSL refuses the two together
    context.verify_mode = verify
    if "certfile" in settings:
        options = TLSOptions(
            certfile=settings["certfile"],
            keyfile=settings.get("keyfile"),
            password=settings.get("password"),
        )
        load_pair(context, load_material(options), options)
    if "ca_certs" in settings:
        data = load_file(settings["ca_certs"], "ca_certs")
        certs = parse_certs(data, f'ca_certs "{settings["ca_certs"]}"')
        context.load_verify_locations(cadata=render_certs(certs).decode("ascii"))
    elif verify is not ssl.CERT_NONE:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if "crl" in settings:
        crls = parse_crls(load_file(settings["crl"], "crl"), f'crl "{settings["crl"]}"')
        load_crls(context, render_crls(crls))
    if "ciphers" in settings:
        set_ciphers(context, settings["ciphers"])
    if "alpn" in settings:
        context.set_alpn_protocols(list(settings["alpn"]))
    return context
