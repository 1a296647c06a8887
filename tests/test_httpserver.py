"""`HTTPServer` as a whole: what its constructor takes and refuses."""

import asyncio
import inspect
from typing import Any

import pytest

from edgeserver.errors import ConfigurationError
from edgeserver.httpserver import HTTPServer
from edgeserver.proxyheaders import TrustPolicy
from tests.adapters.serving import STEP_S, hang_up, listening, until
from tests.loops import on_both_loops


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"access_log": 5}, "access_log=5 cannot be called: give", id="access-log"),
        pytest.param({"audit_log": 5}, "audit_log=5 is not an AuditLog: write", id="audit-log"),
        pytest.param(
            {"trust": TrustPolicy.off(), "trusted_downstream": ["10.0.0.1"]},
            "trust= and trusted_downstream= exclude each other",
            id="two-policies",
        ),
    ],
)
def test_what_cannot_work_stops_the_constructor(options, message):
    """A log that is none, or proxies that nothing would read, fail before a request comes."""
    with pytest.raises(ConfigurationError, match=message):
        HTTPServer(answer, **options)


def test_proxies_without_xheaders_are_harmless():
    """Tornado takes `trusted_downstream` without `xheaders`, and reads no header then."""
    server = HTTPServer(answer, trusted_downstream=["10.0.0.1"])
    assert repr(server.trust) == repr(TrustPolicy.off())


@pytest.mark.parametrize("timeout", [0, -1, 5], ids=["zero", "negative", "some"])
@pytest.mark.parametrize("idle", [False, True], ids=["empty", "idle"])
@on_both_loops
async def test_a_drain_with_nothing_in_flight(timeout, idle):
    """Where nothing needs time, no time is enough; an idle connection is closed."""
    server = HTTPServer(answer)
    async with listening(server) as port, asyncio.timeout(STEP_S):
        if idle:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await until(lambda: server.open_connections)
        assert await server.drain(timeout=timeout)
        assert not server.open_connections
        if idle:
            assert await reader.read() == b""
            await hang_up(writer)


@on_both_loops
async def test_a_drain_that_leaves_no_time():
    """A request in flight is cut at once, and that is said."""
    asked = asyncio.Event()

    async def wait(request):
        asked.set()
        await asyncio.get_running_loop().create_future()

    server = HTTPServer(wait)
    async with listening(server) as port, asyncio.timeout(STEP_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await asked.wait()
        assert not await server.drain(timeout=0)
        assert await reader.read() == b""
        await hang_up(writer)


@pytest.mark.parametrize("timeout", [float("nan"), "x", True], ids=["nan", "text", "bool"])
@on_both_loops
async def test_a_drain_for_no_time(timeout):
    """What is no number of seconds is named, and the server goes on."""
    server = HTTPServer(answer)
    async with listening(server) as port:
        with pytest.raises(ConfigurationError, match=f"timeout={timeout!r}.* give seconds"):
            await server.drain(timeout=timeout)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await hang_up(writer)


def test_the_constructor_shows_its_arguments() -> None:
    """Whoever asks for the signature, in a shell or an editor, gets the real one."""
    shown = inspect.signature(HTTPServer).parameters
    taken = dict(inspect.signature(HTTPServer.initialize).parameters)
    assert taken.pop("self")
    assert dict(shown) == taken


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_conections": 3}, "unexpected keyword argument 'max_conections'"),
        ({"request_callback": print}, "multiple values for argument 'request_callback'"),
    ],
    ids=["unknown", "twice"],
)
def test_an_argument_that_is_none(arguments: dict[str, Any], words: str) -> None:
    """An argument that there is not is an ordinary TypeError that names it."""
    with pytest.raises(TypeError, match=words):
        HTTPServer(print, **arguments)


def test_no_callback() -> None:
    """Without anything to call it is a TypeError too."""
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        HTTPServer()


class Renamed(HTTPServer):
    """A subclass as Tornado's users write it: with arguments of its own."""

    def initialize(self, name: str, *, limit: int = 1000) -> None:
        self.name = name
        super().initialize(print, max_body_size=limit)


def test_a_subclass_with_other_arguments() -> None:
    """What a subclass's own `initialize` takes is what its constructor takes."""
    server = Renamed("a", limit=7)
    assert (server.name, server.request_callback) == ("a", print)
    with pytest.raises(TypeError, match="max_body_size"):
        Renamed("a", max_body_size=7)
