"""The start and the stop of an application: each once, and no stop without a start."""

from typing import Any

import pytest

from edgeserver.runtime.lifecycle import Lifecycle, run_hooks


class Application:
    """A delegate that notes what it is told, and fails where it should."""

    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[str] = []
        self.fails = fails

    async def startup(self) -> None:
        """Start, or not."""
        self.told.append("startup")
        if self.fails:
            raise RuntimeError("no database")

    async def shutdown(self) -> None:
        """Stop."""
        self.told.append("shutdown")


async def test_a_start_and_a_stop() -> None:
    """An application is started once and stopped once, however often it is asked to stop."""
    app = Application()
    lifecycle = Lifecycle(app)
    assert lifecycle.has_startup
    await lifecycle.start()
    await lifecycle.stop()
    await lifecycle.stop()
    assert app.told == ["startup", "shutdown"]


@pytest.mark.parametrize("fails", [False, True], ids=["never-started", "failed"])
async def test_what_has_not_started_is_not_stopped(fails: bool) -> None:
    """An application whose start failed, or never was, hears of no stop."""
    app = Application(fails=fails)
    lifecycle = Lifecycle(app)
    if fails:
        with pytest.raises(RuntimeError, match="no database"):
            await lifecycle.start()
    await lifecycle.stop()
    assert "shutdown" not in app.told


async def test_an_application_without_a_start_is_stopped() -> None:
    """A pool of threads has nothing to start, and something to stop."""
    app = Application()
    app.startup = None  # type: ignore[method-assign, assignment]  # as of a class without it
    lifecycle = Lifecycle(app)
    assert not lifecycle.has_startup
    await lifecycle.stop()
    assert app.told == ["shutdown"]


async def test_an_application_without_either() -> None:
    """A plain callback has neither, and that is no error."""
    lifecycle = Lifecycle(print)
    await lifecycle.start()
    await lifecycle.stop()


async def test_hooks_run_one_after_the_other() -> None:
    """Each hook gets the server, and one that is a coroutine function is waited for."""
    heard: list[Any] = []

    async def later(server: Any) -> None:
        heard.append(("later", server))

    await run_hooks([lambda server: heard.append(("now", server)), later], "server")
    assert heard == [("now", "server"), ("later", "server")]
