"""A headless Chromium for tests, spoken to by its debugging protocol.

Decides how a page is opened at a size and asked a question; it must not know which page.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

PATIENCE_S = 60.0
NAMES = ("chromium", "chromium-browser", "google-chrome")


class Page:
    """One page of the browser.

    Args:
        connection: The browser's end for this page.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self.complaints: list[str] = []
        """What the browser logged: blocked by a policy, not found, an error."""
        self._loaded = 0
        for domain in ("Page", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._number += 1
        self._connection.send(
            json.dumps({"id": self._number, "method": method, "params": parameters})
        )
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(timeout=PATIENCE_S))
        if message.get("method") == "Log.entryAdded":
            self.complaints.append(message["params"]["entry"]["text"])
        elif message.get("method") == "Page.loadEventFired":
            self._loaded += 1
        return message

    def show(self, url: str, *, width: int, scheme: str = "light") -> None:
        """Open an address at a width, and wait until it is there."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        before = self._loaded
        self.call("Page.navigate", url=url)
        self._wait_for_load(before)

    def click(self, selector: str) -> None:
        """Click an element that leads to another page, and wait until that is there."""
        before = self._loaded
        self.ask(f"document.querySelector({json.dumps(selector)}).click()")
        self._wait_for_load(before)

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Return what the promise of an expression comes to."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def _wait_for_load(self, before: int) -> None:
        while self._loaded == before:
            self._receive()


@contextmanager
def browsing(directory: Path, *more: str) -> Iterator[Page]:
    """Run a browser for the length of a test, with `more` flags; without one it is skipped."""
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip("Chromium is not installed")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    process = subprocess.Popen(
        [program, *arguments, *more, "--remote-debugging-port=0", f"--user-data-dir={directory}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = _wait_for_port(process, directory / "DevToolsActivePort")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            targets = json.load(answer)
        url = next(each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page")
        with connect(url, max_size=None) as connection:
            yield Page(connection)
    finally:
        process.kill()
        process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], file: Path) -> int:
    """Return the port that the browser has written into its file."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s and process.poll() is None:
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        time.sleep(0.05)  # there is no event: the browser says it by this file alone
    pytest.skip("Chromium is installed and does not start here")
