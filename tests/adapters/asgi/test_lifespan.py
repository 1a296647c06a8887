"""The `lifespan` connection scope: starting, failing to start, not taking part, ending."""

import asyncio
import logging
import math

import pytest

from edgeserver.adapters.asgi import ASGIAdapter, LifespanError
from edgeserver.errors import ConfigurationError
from tests.adapters.asgi.serving import answer, serving, split


class Living:
    """An application that takes lifespan events as told, and notes what it got.

    Args:
        *answers: What it sends after startup and after shutdown; an exception is raised.
    """

    def __init__(self, *answers):
        self.answers = list(answers)
        self.scope = None
        self.received = []

    async def __call__(self, scope, receive, send):
        if scope["type"] != "lifespan":
            await answer(send, repr(sorted(scope["state"])).encode())
            scope["state"]["left by a request"] = True
            return
        self.scope = scope
        scope["state"]["pool"] = "a pool"
        for reply in self.answers:
            self.received.append((await receive())["type"])
            if isinstance(reply, Exception):
                raise reply
            await send(reply)


COMPLETE = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


async def test_the_application_starts_and_ends_with_the_server(caplog):
    """Startup comes first and shutdown last, each once."""
    app = Living(COMPLETE, STOPPED)
    async with serving(app, lifespan="on"):
        assert app.received == ["lifespan.startup"]
    assert app.received == ["lifespan.startup", "lifespan.shutdown"]
    assert app.scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
    assert not caplog.records


async def test_every_request_gets_a_copy_of_the_state():
    """What the lifespan left is in each scope; what a request puts there is its own."""
    async with serving(Living(COMPLETE, STOPPED), lifespan="auto") as served:
        for _ in range(2):
            assert split(await served.ask())[2] == b"['pool']"


@pytest.mark.parametrize("mode", ["auto", "on"])
async def test_a_failed_startup_stops_the_start(mode):
    """The error carries the application's own message."""
    failed = {"type": "lifespan.startup.failed", "message": "no database at db:5432"}
    adapter = ASGIAdapter(Living(failed), lifespan=mode)
    with pytest.raises(LifespanError, match=r"^no database at db:5432$"):
        await adapter.startup()
    await adapter.shutdown()


async def test_a_failed_startup_without_a_message_says_so():
    """The message is optional in the specification; an empty line would help nobody."""
    adapter = ASGIAdapter(Living({"type": "lifespan.startup.failed"}))
    with pytest.raises(LifespanError, match="failed to start, and says no more"):
        await adapter.startup()


@pytest.mark.parametrize(
    ("answers", "level"),
    [
        pytest.param([], "DEBUG", id="returns"),
        pytest.param([RuntimeError("only http")], "INFO", id="raises"),
        pytest.param([{"type": "http.response.start"}], "INFO", id="wrong-message"),
    ],
)
async def test_an_application_without_lifespan_is_served_all_the_same(answers, level, caplog):
    """In the mode auto the server goes on; what was raised is told, not as an error."""
    caplog.set_level(logging.DEBUG, "edgeserver")
    async with serving(Living(*answers), lifespan="auto") as served:
        assert split(await served.ask())[0] == 200
    [record] = [each for each in caplog.records if "lifespan" in each.getMessage()]
    assert record.levelname == level


@pytest.mark.parametrize("answers", [[], [RuntimeError("only http")]], ids=["returns", "raises"])
async def test_lifespan_can_be_required(answers):
    """In the mode on, an application that takes no part cannot be started."""
    with pytest.raises(LifespanError, match="takes no lifespan events"):
        await ASGIAdapter(Living(*answers), lifespan="on").startup()


async def test_lifespan_can_be_off():
    """In the mode off the application hears nothing of it."""
    app = Living(COMPLETE)
    async with serving(app, lifespan="off"):
        pass
    assert app.scope is None


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        pytest.param(
            {"type": "lifespan.shutdown.failed", "message": "no goodbye"}, "no goodbye", id="says"
        ),
        pytest.param(RuntimeError("no goodbye"), "no goodbye", id="raises"),
        pytest.param({"type": "lifespan.nonsense"}, "'lifespan.nonsense'", id="nonsense"),
    ],
)
async def test_a_failed_shutdown_is_logged(reply, words, caplog):
    """The server has ended by then: all that is left is to say so."""
    async with serving(Living(COMPLETE, reply), lifespan="on"):
        pass
    assert words in caplog.text


async def test_a_shutdown_that_hangs_is_cancelled(caplog):
    """The end of the server does not wait for good."""

    async def app(scope, receive, send):
        await receive()
        await send(COMPLETE)
        await receive()
        await asyncio.Event().wait()

    async with serving(app, lifespan="on", shutdown_timeout=0.01):
        pass
    assert "has not shut down in 0.01 s" in caplog.text


async def test_an_application_that_leaves_its_lifespan_early_is_told_of_at_the_end(caplog):
    """An exception after the start is logged once the server ends."""

    async def app(scope, receive, send):
        await receive()
        await send(COMPLETE)
        raise RuntimeError("left early")

    async with serving(app, lifespan="on"):
        await asyncio.sleep(0)
    assert "left early" in caplog.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"lifespan": "maybe"}, "lifespan='maybe'", id="lifespan"),
        pytest.param({"root_path": "api"}, "root_path='api'", id="root-path"),
        pytest.param({"root_path": None}, "root_path=None", id="root-path-none"),
        pytest.param({"shutdown_timeout": -1}, "shutdown_timeout=-1 is not a time", id="negative"),
        pytest.param(
            {"shutdown_timeout": math.nan}, "shutdown_timeout=nan is not a time", id="nan"
        ),
        pytest.param({"shutdown_timeout": "5"}, "shutdown_timeout='5'", id="text"),
        pytest.param({"shutdown_timeout": True}, "shutdown_timeout=True", id="bool"),
        pytest.param({"shutdown_timeout": None}, "shutdown_timeout=None", id="none"),
        pytest.param({"ws_max_size": 0}, "ws_max_size=0", id="ws-max-size"),
        pytest.param({"ws_max_size": math.nan}, "ws_max_size=nan", id="ws-max-size-nan"),
        pytest.param({"ws_ping_interval": math.nan}, "ws_ping_interval=nan", id="ping-nan"),
        pytest.param({"ws_ping_interval": 0}, "ws_ping_interval=0", id="ws-ping-interval"),
        pytest.param({"ws_ping_timeout": -1}, "ws_ping_timeout=-1", id="ws-ping-timeout"),
    ],
)
def test_options_that_cannot_work_are_refused(options, words):
    """The error names the option and its value."""
    with pytest.raises(ConfigurationError, match=words):
        ASGIAdapter(Living(), **options)
