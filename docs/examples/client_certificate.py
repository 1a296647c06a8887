"""Client certificates: the name in the certificate is the user, and no header can claim it.

edgeserver serve client_certificate:app --bind https://:8443 \
    --certfile site.pem --keyfile site.key --ca-certs people.pem --cert-reqs required
"""

from collections.abc import Callable, Iterable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Greet the client by the name in its certificate."""
    certificate = environ["edgeserver.tls"].client_certificate
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"hello {certificate.subject}\n".encode()]
