"""The redirect to https: where it sends whom, and whom it refuses."""

from typing import Any

import pytest

from edgeserver.httputil import HTTPHeaders
from edgeserver.server.redirect import HTTPSRedirect


class Answer:
    """One request's connection, which keeps what is answered."""

    method = "GET"
    version = "HTTP/1.1"

    def __init__(self, target: str, host: str) -> None:
        self.target = target
        self.headers = HTTPHeaders({"Host": host})

    def write_headers(self, start_line: Any, headers: HTTPHeaders, chunk: bytes) -> None:
        """Keep the answer."""
        self.code = start_line[1]
        self.location = headers.get("Location")
        self.length = headers["Content-Length"]
        self.body = chunk

    def finish(self) -> None:
        """Note nothing."""


def ask(target: str, host: str, port: int = 443) -> Answer:
    """Return what is answered to a request for `target` at `host`."""
    answer = Answer(target, host)
    HTTPSRedirect(port).take_request(None, answer)  # type: ignore[arg-type]  # all that is used
    return answer


@pytest.mark.parametrize(
    ("target", "host", "port", "location"),
    [
        ("/", "a.example", 443, "https://a.example/"),
        ("/b?c=d&e", "a.example:80", 443, "https://a.example/b?c=d&e"),
        ("/", "a.example", 8443, "https://a.example:8443/"),
        ("/", "[2001:db8::1]:80", 8443, "https://[2001:db8::1]:8443/"),
        ("http://b.example/c?d", "a.example", 443, "https://b.example/c?d"),
        ("/<script>", "a.example", 443, "https://a.example/"),
        ("//evil.example/", "a.example", 443, "https://a.example//evil.example/"),
        ("*", "a.example", 443, "https://a.example/"),
    ],
)
def test_where_to(target: str, host: str, port: int, location: str) -> None:
    """The same URL on https, on the port that clients see; an odd target becomes the root."""
    answer = ask(target, host, port)
    assert (answer.code, answer.location) == (308, location)
    assert answer.body == f"Use {location}\n".encode()
    assert answer.length == str(len(answer.body))


@pytest.mark.parametrize("host", ["", ":80", "a%41", "a;b", "$(id)"])
def test_no_usable_host(host: str) -> None:
    """Without a plain host name there is no Location: 400."""
    answer = ask("/", host)
    assert (answer.code, answer.location) == (400, None)


def test_no_host_at_all() -> None:
    """HTTP/1.0 may come without a host: 400, and nobody is sent to 127.0.0.1."""
    answer = Answer("/", "")
    answer.version = "HTTP/1.0"
    answer.headers = HTTPHeaders()
    HTTPSRedirect().take_request(None, answer)  # type: ignore[arg-type]  # all that is used
    assert (answer.code, answer.location) == (400, None)
