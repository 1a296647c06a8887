"""Two proxies, one forgotten: the CDN's own address is taken for every client.

pytest test_chain.py
"""

import pytest

from edgeserver.proxyheaders import TrustPolicy
from edgeserver.testing import Chain, assert_client

LOAD_BALANCER = "10.0.0.5"
CDN = "198.51.100.7"
STRANGER = "203.0.113.9"

REQUEST = Chain(STRANGER, headers=["X-Forwarded-For: 6.6.6.6"]).through(CDN).through(LOAD_BALANCER)


def test_with_the_cdn_forgotten() -> None:
    """Whoever comes through the CDN is the CDN: limits and bans hit everybody at once."""
    assert_client([LOAD_BALANCER], REQUEST, expect=CDN)


def test_with_both_named() -> None:
    """The stranger is the client, and what it claims is ignored."""
    assert_client([LOAD_BALANCER, "198.51.100.0/24"], REQUEST, expect=STRANGER)


def test_with_everybody_believed() -> None:
    """That is no way out: then the stranger chooses who it is."""
    everybody = TrustPolicy(["0.0.0.0/0"], allow_all=True)
    with pytest.raises(AssertionError, match=r"the client is 6\.6\.6\.6"):
        assert_client(everybody, REQUEST, expect=STRANGER)
