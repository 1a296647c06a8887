"""`HTTPServer` as a whole: what its constructor takes and refuses."""

import pytest

from edgeserver.httpserver import HTTPServer


def answer(request):
    """Be an application that is never called."""
    raise AssertionError("no test here sends a request")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        pytest.param({"keyfile": "missing.key"}, KeyError, "certfile", id="no-certfile"),
        pytest.param(
            {"certfile": "missing.crt"}, ValueError, "missing.crt", id="certfile-not-there"
        ),
        pytest.param(
            {"certfile": __file__, "keyfile": "missing.key"},
            ValueError,
            "test_httpserver",
            id="certfile-not-a-certificate",
        ),
    ],
)
def test_wrong_ssl_options_stop_the_constructor(options, error, message):
    """A certificate that cannot serve is refused before any socket is there, and without a loop."""
    with pytest.raises(error, match=message):
        HTTPServer(answer, ssl_options=options)


def test_a_policy_that_is_none_stops_the_constructor():
    """A list of ranges in place of a policy fails here, and not at the first request."""
    with pytest.raises(TypeError, match=r"trust=\['10.0.0.0/8'\] is not a TrustPolicy: write"):
        HTTPServer(answer, trust=["10.0.0.0/8"])
