"""The application that shows what the server knows: over real sockets, as page and as JSON."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser

import httpx
import pytest

from edgeserver.demo import app
from edgeserver.demo.accept import prefers_json
from edgeserver.demo.documents import DOCUMENTS, read_document
from edgeserver.demo.whatif import EXAMPLES, Form
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.testing import serve


@pytest.fixture
def url() -> Iterator[str]:
    """Serve the application to loopback proxies, and return its address."""
    with serve(app, tls=False, trust=TrustPolicy(["127.0.0.1"])) as served:
        yield f"{served.url}/"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Return a client that follows nothing and believes nothing from the environment."""
    async with httpx.AsyncClient(trust_env=False) as client:
        yield client


class _Text(HTMLParser):
    """Collects a page's text and the names of its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.elements: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("proxies", "said"), [(["loopback"], True), (["10.0.0.0/8"], False)], ids=["listed", "not"]
)
async def test_who_asks_from_this_machine(
    client: httpx.AsyncClient, proxies: list[str], said: bool
) -> None:
    """Where this machine is listed as a proxy the page says that what is forged here counts."""
    with serve(app, tls=False, trust=TrustPolicy(proxies)) as served:
        answer = await client.get(served.url, headers={"X-Forwarded-For": "6.6.6.6"})
    assert ("So you play the proxy" in answer.text) is said


async def test_json(url: str, client: httpx.AsyncClient) -> None:
    """The JSON holds client, scheme, peer, head and proof."""
    answer = await client.get(
        url + "?a=b",
        headers={
            "Accept": "application/json",
            "X-Forwarded-For": "6.6.6.6, 203.0.113.9",
            "X-Forwarded-Proto": "https",
        },
    )
    assert answer.headers["content-type"] == "application/json"
    known = answer.json()
    assert known["client"] == {"address": "203.0.113.9", "scheme": "https"}
    assert known["peer"] == "127.0.0.1"
    assert known["request"]["method"] == "GET"
    assert known["request"]["target"] == "/?a=b"
    assert ["Accept", "application/json"] in known["request"]["headers"]
    assert known["tls"] is None
    assert known["explanation"]["reason"] == "first-untrusted"
    assert [hop["verdict"] for hop in known["explanation"]["hops"]] == [
        "trusted",
        "client",
        "ignored",
    ]


async def test_page(url: str, client: httpx.AsyncClient) -> None:
    """The page shows the same, allows nothing but its own style, and loads nothing."""
    answer = await client.get(url, headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = _Text(answer.text)
    for part in ("203.0.113.9", "127.0.0.1", "GET / HTTP/1.1", "X-Forwarded-For", "trusted proxy"):
        assert part in page.text
    assert not {"script", "img", "iframe"} & set(page.elements)
    assert "http://" not in answer.text
    assert "https://" not in answer.text


async def test_the_policy_allows_the_style(url: str, client: httpx.AsyncClient) -> None:
    """The hash in the security policy is that of the page's one style element."""
    import base64
    import hashlib

    answer = await client.get(url)
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in policy


HOSTILE = "<script>alert(1)</script>\"'&"


async def test_what_strangers_write_is_escaped(url: str, client: httpx.AsyncClient) -> None:
    """Markup in a header or a target is text on the page."""
    headers = [
        (b"X-Evil", HOSTILE.encode()),
        (b"X-High", b"\xff\xe9"),
        (b"X-Forwarded-For", b"<blink>"),
    ]
    answer = await client.get(url + "?<script>", headers=headers)
    page = _Text(answer.text)
    assert not {"script", "blink"} & set(page.elements)
    assert HOSTILE in page.text
    assert "\\xff\\xe9" in page.text
    again = await client.get(url, headers=[*headers, (b"Accept", b"application/json")])
    assert again.text.isascii()
    assert ["X-Evil", HOSTILE] in again.json()["request"]["headers"]


async def test_head(url: str) -> None:
    """HEAD has the length of the page, and no body."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert re.search(rb"Content-Length: [1-9][0-9]{3,4}\r\n", head)
    assert body == b""


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "favicon.ico", 404), ("POST", "", 405), ("DELETE", "", 405), ("BREW", "", 405)],
)
async def test_refusals(
    url: str, client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    """Another path is 404, another method 405 with what is allowed, in the form asked for."""
    answer = await client.request(method, url + path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers.get("allow") == ("GET, HEAD" if status == 405 else None)
    again = await client.request(method, url + path, headers={"Accept": "application/json"})
    assert json.loads(again.content)["status"] == status


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", True),
        ("Application/JSON", True),
        ("text/html,application/json;q=0.9", False),
        ("text/html;q=0.8, application/json", True),
        ("application/json;q=0", False),
        ("application/json;q=0.5, */*;q=0.1", True),
        ("application/*", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("application/json;q=nan", False),
        ("application/json;q=1.0001", False),
        ("application/json;q=-1", False),
        ("application/json;q=1e9", False),
        (",;,=", False),
        ("a/b," * 10_000 + "application/json", False),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_which_form_is_preferred(accept: str, expected: bool) -> None:
    """JSON is given to those who rank it above HTML, everybody else gets the page."""
    assert prefers_json(accept) is expected


async def test_what_if(url: str, client: httpx.AsyncClient) -> None:
    """The form's answer is the trust policy's, beside what is so for the request itself."""
    form = Form(peer="203.0.113.9", headers="X-Forwarded-For: 6.6.6.6", rules="xheaders", trust="")
    answer = await client.get(f"{url}?{form.as_query()}")
    page = _Text(answer.text)
    assert "The client would be 6.6.6.6; for your own request it is 127.0.0.1" in page.text
    assert "any-peer-trusted" in page.text
    as_json = await client.get(f"{url}?{form.as_query()}", headers={"Accept": "application/json"})
    assert as_json.json()["what_if"]["client"] == "6.6.6.6"
    assert as_json.json()["client"]["address"] == "127.0.0.1"


@pytest.mark.parametrize("name", list(EXAMPLES))
async def test_examples_to_click(url: str, client: httpx.AsyncClient, name: str) -> None:
    """Each example is a link on the page, and its answer a page without a complaint."""
    page = _Links((await client.get(url)).text)
    answer = await client.get(url.rstrip("/") + page.links[name])
    assert "The client would be" in _Text(answer.text).text
    assert "That cannot be" not in answer.text


@pytest.mark.parametrize("name", ["peer", "trust", "rules", "source", "scheme", "headers"])
async def test_the_field_that_is_wrong_is_marked(
    url: str, client: httpx.AsyncClient, name: str
) -> None:
    """Where something cannot be, the page names the field, and that one alone is marked."""
    answer = await client.get(url, params={"peer": "10.0.0.5"} | {name: "no such thing"})
    (why,) = re.findall(r"That cannot be: ([^<]+)<", answer.text)
    (marked,) = re.findall(r"<label[^>]*>([^<]+)<\w+ name=\"(\w+)\"[^>]*aria-invalid", answer.text)
    assert marked == (why, name)


async def test_the_pages_that_are_linked(url: str, client: httpx.AsyncClient) -> None:
    """Each how-to page of a clone is linked, and there; nothing else of the disk is."""
    page = _Links((await client.get(url)).text)
    for name, title in DOCUMENTS.items():
        if read_document(name) is None:  # an installed package has none
            assert title not in page.links
            continue
        answer = await client.get(url.rstrip("/") + page.links[title])
        assert answer.text.startswith("# "), name
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    for path in ("how-to/index", "how-to/../index", "how-to/%2e%2e/index", "how-to/"):
        assert (await client.get(url + path)).status_code == 404


async def test_what_strangers_fill_in_is_escaped(url: str, client: httpx.AsyncClient) -> None:
    """Markup in any field of the form comes back as text, whether it makes sense or not."""
    for name in ("peer", "headers", "trust", "source", "rules", "scheme"):
        form = {"peer": "10.0.0.5", "headers": f"X-Forwarded-For: {HOSTILE}"} | {name: HOSTILE}
        answer = await client.get(url, params=form)
        assert answer.status_code == 200
        assert "script" not in _Text(answer.text).elements
        assert HOSTILE in _Attributes(answer.text).values or HOSTILE in _Text(answer.text).text


class _Attributes(HTMLParser):
    """Collects the values of a page's attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: set[str | None] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.values |= {value for _, value in attrs}


class _Links(HTMLParser):
    """Collects a page's links by their texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self._target: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._target = dict(attrs)["href"] if tag == "a" else None

    def handle_data(self, data: str) -> None:
        if self._target is not None:
            self.links[data] = self._target
