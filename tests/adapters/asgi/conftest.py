"""What tests of ASGI share: a server without TLS, then with it."""

import pytest

from tests.tls import pki


@pytest.fixture(params=["http", "https"])
def tls(request, tmp_path):
    """Return `HTTPServer`'s arguments and the client's context, without TLS and with it."""
    if request.param == "http":
        return {}, False
    authority = pki.make_ca("Test CA")
    pair = pki.write_pair(tmp_path, pki.make_leaf(authority, "localhost", "127.0.0.1"))
    return {"ssl_options": pair}, pki.client_context(authority, directory=tmp_path)
