"""The pytest plugin: the fixture `edgeserver_serve`, found through an entry point.

Decides only that a server of `edgeserver.testing` ends with its test. It is imported by each run
of pytest where edgeserver is installed, and so imports nothing but pytest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, Unpack

import pytest

if TYPE_CHECKING:
    from edgeserver.runtime.listen_options import ListenOptions
    from edgeserver.testing import Served

__all__ = ["ServeForTest", "edgeserver_serve"]


class ServeForTest(Protocol):
    """What the fixture is: `edgeserver.testing.serve`, until the end of the test."""

    def __call__(
        self, app: Any, *, tls: bool | None = None, **options: Unpack[ListenOptions]
    ) -> Served:
        """Serve an application, and return where it is."""
        ...


@pytest.fixture
def edgeserver_serve() -> Iterator[ServeForTest]:
    """Serve applications on free ports until the end of the test: `edgeserver_serve(app)`."""
    from edgeserver.testing import serve

    with ExitStack() as stack:

        def serve_for_test(app: Any, **options: Any) -> Served:
            return stack.enter_context(serve(app, **options))

        yield serve_for_test
