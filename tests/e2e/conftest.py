"""What end-to-end tests share: an authority, the server's pair, and TLS that may be off."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.tls import pki


@dataclass
class Scheme:
    """How one kind of server is made and reached.

    Args:
        options: What `HTTPServer` is given for it.
        tls: The client's context, None without TLS.
    """

    options: dict[str, Any]
    tls: ssl.SSLContext | None

    @property
    def name(self) -> str:
        """The scheme of URLs."""
        return "http" if self.tls is None else "https"


@pytest.fixture(scope="session")
def authority() -> pki.Issued:
    """Return the authority of the server's certificate."""
    return pki.make_ca("End-to-end Root")


@pytest.fixture(scope="session")
def pair(authority: pki.Issued, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the `certfile` and `keyfile` of a server for localhost."""
    return pki.write_pair(tmp_path_factory.mktemp("pair"), pki.make_leaf(authority))


@pytest.fixture
def trusting(authority: pki.Issued) -> ssl.SSLContext:
    """Return the context of a client that trusts the authority."""
    return pki.client_context(authority)


@pytest.fixture(scope="session")
def ca_file(authority: pki.Issued, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of the authority, for clients that want one."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    path.write_bytes(authority.pem)
    return path


@pytest.fixture(params=["http", "https-dict", "https-context"])
def scheme(request: pytest.FixtureRequest, pair: dict[str, str], authority: pki.Issued) -> Scheme:
    """Return plain HTTP, TLS from a dict, and TLS from an `SSLContext`, in turn."""
    if request.param == "http":
        return Scheme({}, None)
    client = pki.client_context(authority)
    if request.param == "https-dict":
        return Scheme({"ssl_options": pair}, client)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair["certfile"], pair["keyfile"])
    return Scheme({"ssl_options": context}, client)
