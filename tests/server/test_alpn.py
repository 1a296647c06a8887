"""ALPN: what may be offered, and who answers what was negotiated."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from edgeserver.errors import TLSConfigurationError
from edgeserver.httpserver import HTTPServer
from tests.e2e.site import address_of, fetch, serve, tell
from tests.tls import pki


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Any]:
    """Return the options of a certificate."""
    return pki.write_pair(tmp_path, pki.make_leaf(pki.make_ca("Root")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"alpn": ["h2", "http/1.1"]}, "\"alpn\" offers 'h2'", id="default-host"),
        pytest.param(
            {"hosts": {"b.test": {"alpn": ["acme-tls/1"]}}},
            '"alpn" of host "b.test" offers \'acme-tls/1\'',
            id="another-host",
        ),
    ],
)
def test_a_protocol_that_nobody_speaks_is_refused_at_start(
    pair: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    """A client that took it would be answered in another; so it is not offered."""
    if "hosts" in options:
        options = {"hosts": {name: {**pair, **each} for name, each in options["hosts"].items()}}
    with pytest.raises(TLSConfigurationError, match="does not speak") as caught:
        HTTPServer(tell, ssl_options={**pair, **options}, http2=False)
    assert words in str(caught.value)
    assert '"alpn": ["http/1.1"]' in str(caught.value)


@pytest.mark.parametrize("alpn", [["http/1.1"], ["http/1.1", "http/1.0"], []], ids=len)
def test_what_is_spoken_may_be_offered(pair: dict[str, Any], alpn: list[str]) -> None:
    """Nothing offered is HTTP/1.1."""
    HTTPServer(tell, ssl_options={**pair, "alpn": alpn})


async def test_an_ssl_context_that_offers_it_is_not_answered_in_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a context offers cannot be read: the connection is closed, and a line says why."""
    authority = pki.make_ca("Root")
    files = pki.write_pair(tmp_path, pki.make_leaf(authority))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["certfile"], files["keyfile"])
    context.set_alpn_protocols(["h2", "http/1.1"])
    client: ssl.SSLContext = pki.client_context(authority)
    async with serve(tell, ssl_options=context, http2=False) as server:
        assert (await fetch(address_of(server), tls=client)).status == 200
        client.set_alpn_protocols(["h2"])
        with pytest.raises((ConnectionError, EOFError, ssl.SSLError)):
            await fetch(address_of(server), tls=client)
    assert "ALPN has chosen h2, which this server does not speak" in caplog.text
