"""The how-to pages that the demonstration links to, where it runs in a clone of the repository.

Decides which pages these are, by name: nothing that a client writes becomes a path. An installed
package has no pages, and then there are no links.
"""

from __future__ import annotations

import functools
from pathlib import Path

__all__ = ["DOCUMENTS", "read_document"]

DOCUMENTS = {
    "nginx": "Run behind nginx",
    "haproxy": "Run behind HAProxy",
    "cdn": "Run behind a CDN",
    "asgi": "Run FastAPI and other ASGI applications",
    "wsgi": "Run Flask, Django and other WSGI applications",
    "tls": "Serve HTTPS",
    "audit-config": "Audit the configurations of your proxies",
    "test-your-application": "Test your own chain",
    "run-in-production": "Run in production",
}
"""The names of the pages, and what they are about."""

_DIRECTORY = Path(__file__).parents[2] / "docs" / "how-to"


@functools.cache
def read_document(name: str) -> bytes | None:
    """Return the page `name` of `DOCUMENTS`, or None where there is no clone."""
    if name not in DOCUMENTS:
        return None
    try:
        return (_DIRECTORY / f"{name}.md").read_bytes()
    except OSError:
        return None
