"""Real applications, over HTTP/1.1 and, with TLS, HTTP/2: wsgiref's validator, Flask and Django."""

import asyncio
import hashlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import django
import django.conf
import django.core.files.uploadhandler
import django.core.handlers.wsgi
import django.http
import django.urls
import flask
import httpx
import pytest

from edgeserver.proxyheaders import TrustPolicy
from tests.adapters.wsgi.serving import serving
from tests.tls.pki import client_context, make_ca, make_leaf, write_pair

BIG = bytes(range(256)) * 4096  # 1 MiB


# The validator.


def valid(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    """Do a bit of everything that the validator looks at."""
    body = environ["wsgi.input"].read(10)
    body += environ["wsgi.input"].readline()
    environ["wsgi.errors"].write("")
    environ["wsgi.errors"].flush()
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield environ["REQUEST_METHOD"].encode() + b" "
    yield body


@pytest.mark.parametrize(
    ("method", "kwargs"),
    [
        pytest.param("GET", {}, id="get"),
        pytest.param("POST", {"content": b"hello\n"}, id="post"),
        pytest.param("POST", {"content": b"x" * 100_000 + b"\n"}, id="streamed"),
        pytest.param("OPTIONS", {}, id="options"),
        pytest.param("DELETE", {}, id="delete"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/a%20b?c=d", "/shop/x"])
async def test_wsgiref_validate(
    method: str, kwargs: dict[str, Any], path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The standard library's validator finds nothing to complain about."""
    async with (
        serving(validator(valid), root_path="/shop") as port,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.request(method, f"http://127.0.0.1:{port}{path}", **kwargs)
    assert answer.status_code == 200
    assert answer.content == method.encode() + b" " + kwargs.get("content", b"")
    assert not caplog.records


# Flask and Django, with the same routes.


def make_flask() -> Any:
    """Return a Flask application."""
    app = flask.Flask(__name__)

    @app.route("/echo", methods=["POST"])
    def echo() -> Any:
        return {
            "form": dict(flask.request.form),
            "files": {
                name: hashlib.sha256(file.read()).hexdigest()
                for name, file in flask.request.files.items()
            },
        }

    @app.route("/digest", methods=["POST"])
    def digest() -> str:
        return hashlib.sha256(flask.request.get_data()).hexdigest()

    @app.route("/who")
    def who() -> Any:
        return {"address": flask.request.remote_addr, "url": flask.request.url}

    @app.route("/stream")
    def stream() -> Any:
        return flask.Response((b"%d\n" % number for number in range(1000)), mimetype="text/plain")

    @app.route("/file")
    def file() -> Any:
        return flask.send_file(app.config["FILE"])

    @app.route("/fail")
    def fail() -> Any:
        raise ZeroDivisionError

    @app.route("/cookies")
    def cookies() -> Any:
        answer = flask.redirect("/who")
        answer.set_cookie("a", "1")
        answer.set_cookie("b", "2")
        return answer

    return app


def _django_echo(request: Any) -> Any:
    files = {name: hashlib.sha256(file.read()).hexdigest() for name, file in request.FILES.items()}
    return django.http.JsonResponse({"form": request.POST.dict(), "files": files})


def _django_digest(request: Any) -> Any:
    return django.http.HttpResponse(hashlib.sha256(request.body).hexdigest())


def _django_who(request: Any) -> Any:
    return django.http.JsonResponse(
        {"address": request.META["REMOTE_ADDR"], "url": request.build_absolute_uri()}
    )


def _django_stream(request: Any) -> Any:
    lines = (b"%d\n" % number for number in range(1000))
    return django.http.StreamingHttpResponse(lines, content_type="text/plain")


def _django_file(request: Any) -> Any:
    return django.http.FileResponse(Path(FILE[0]).open("rb"))


def _django_fail(request: Any) -> Any:
    raise ZeroDivisionError


def _django_cookies(request: Any) -> Any:
    answer = django.http.HttpResponseRedirect("/who")
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer


FILE: list[str] = []

urlpatterns = [
    django.urls.path("echo", _django_echo),
    django.urls.path("digest", _django_digest),
    django.urls.path("who", _django_who),
    django.urls.path("stream", _django_stream),
    django.urls.path("file", _django_file),
    django.urls.path("fail", _django_fail),
    django.urls.path("cookies", _django_cookies),
]


def make_django() -> Any:
    """Return a Django application; Django can be set up but once in a process."""
    if not django.conf.settings.configured:
        django.conf.settings.configure(
            ALLOWED_HOSTS=["*"],
            DATA_UPLOAD_MAX_MEMORY_SIZE=64 * 1024 * 1024,
            LOGGING_CONFIG=None,
            ROOT_URLCONF=__name__,
            SECRET_KEY="of this test",
            MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        )
        django.setup()
    return django.core.handlers.wsgi.WSGIHandler()


class Site:
    """A framework's application behind a server, and a client that knows its address."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self.client = client
        self.url = url

    async def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return await self.client.get(self.url + path, **kwargs)

    async def post(self, path: str, **kwargs: Any) -> httpx.Response:
        return await self.client.post(self.url + path, **kwargs)


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    """Return each scheme."""
    return str(request.param)


@pytest.fixture(params=[make_flask, make_django], ids=["flask", "django"])
async def site(request: pytest.FixtureRequest, scheme: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Serve each framework's application by each scheme."""
    file = tmp_path / "file.bin"
    file.write_bytes(BIG)
    FILE[:] = [str(file)]
    app = request.param()
    if request.param is make_flask:
        app.config["FILE"] = str(file)
    options: dict[str, Any] = {"trust": TrustPolicy(["127.0.0.1"])}
    verify: bool | ssl.SSLContext = True
    if scheme == "https":
        ca = make_ca()
        options["ssl_options"] = write_pair(tmp_path, make_leaf(ca))
        verify = client_context(ca)
    async with (
        serving(app, **options) as port,
        httpx.AsyncClient(verify=verify, http2=True, trust_env=False) as client,
    ):
        yield Site(client, f"{scheme}://localhost:{port}/")


async def test_forms_and_uploads(site: Site) -> None:
    """A multipart form with a file arrives whole."""
    answer = await site.post("echo", data={"name": "\u20ac"}, files={"file": ("f.bin", BIG)})
    assert answer.json() == {
        "form": {"name": "\u20ac"},
        "files": {"file": hashlib.sha256(BIG).hexdigest()},
    }


@pytest.mark.parametrize("size", [0, 10, 65536, 3_000_000])
async def test_bodies(site: Site, size: int) -> None:
    """Bodies of any length arrive whole."""
    body = (BIG * 3)[:size]
    answer = await site.post("digest", content=body)
    assert answer.text == hashlib.sha256(body).hexdigest()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 40_000):
        yield body[start : start + 40_000]


@pytest.mark.parametrize("size", [10, 5_000, 3_000_000])
async def test_chunked_bodies(site: Site, size: int) -> None:
    """A body whose length was not declared arrives whole, too."""
    body = (BIG * 3)[:size]
    answer = await site.post("digest", content=_pieces(body))
    assert answer.text == hashlib.sha256(body).hexdigest()


async def test_a_chunked_upload(site: Site) -> None:
    """A multipart form in chunks arrives whole."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f.bin"\r\n\r\n'
    answer = await site.post(
        "echo",
        content=_pieces(head + BIG + b"\r\n--b--\r\n"),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert answer.json() == {"form": {}, "files": {"file": hashlib.sha256(BIG).hexdigest()}}


async def test_the_client(site: Site, scheme: str) -> None:
    """The framework's own idea of client and URL is the resolved one."""
    answer = await site.get("who", headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.json() == {"address": "203.0.113.9", "url": site.url + "who"}
    answer = await site.get("who", headers={"X-Forwarded-Proto": "https"})
    assert answer.json()["url"].startswith("https://")


async def test_streams(site: Site) -> None:
    """A generator's answer arrives whole."""
    assert (await site.get("stream")).text == "".join(f"{number}\n" for number in range(1000))


async def test_files(site: Site) -> None:
    """A file arrives whole, with its length."""
    answer = await site.get("file")
    assert answer.content == BIG
    assert answer.headers["content-length"] == str(len(BIG))


async def test_head(site: Site) -> None:
    """HEAD has the fields of GET, and no body."""
    answer = await site.client.head(site.url + "file")
    assert (answer.content, answer.headers["content-length"]) == (b"", str(len(BIG)))


async def test_failures(site: Site) -> None:
    """A view that raises is answered by the framework."""
    assert (await site.get("fail")).status_code == 500
    assert (await site.get("nowhere")).status_code == 404


async def test_repeated_fields(site: Site) -> None:
    """Several Set-Cookie lines stay several."""
    answer = await site.get("cookies")
    assert answer.status_code == 302
    assert dict(answer.cookies) == {"a": "1", "b": "2"}


async def test_many_at_once(site: Site) -> None:
    """More requests than threads are all answered, each with its own answer."""
    answers = await asyncio.gather(
        *(site.post("digest", content=b"%d" % number) for number in range(40))
    )
    expected = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(40)]
    assert [answer.text for answer in answers] == expected


async def test_curl(site: Site, tmp_path: Path) -> None:
    """curl, which expects 100-continue for a long body, uploads and downloads."""
    (tmp_path / "upload").write_bytes(BIG * 2)
    answer = await asyncio.to_thread(
        subprocess.run,
        [
            "curl",
            "-sSk",
            "--http1.1",
            "--data-binary",
            f"@{tmp_path / 'upload'}",
            site.url + "digest",
        ],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert answer.stdout.decode() == hashlib.sha256(BIG * 2).hexdigest()
