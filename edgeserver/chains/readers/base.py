"""What all readers share: where texts come from, how they are refused, ranges, counts.

Decides the bounds that hold for every product. It must not know any syntax.
"""

from __future__ import annotations

import re
from typing import NoReturn, Protocol

from edgeserver.chains.model import Ranges, Where
from edgeserver.errors import ConfigurationError, EdgeServerError, TrustConfigurationError
from edgeserver.proxyheaders.networks import Network, parse_network
from edgeserver.support.escape import escape

__all__ = [
    "MAX_FILES",
    "MAX_FILE_BYTES",
    "MAX_WAYS",
    "ReadingError",
    "Sources",
    "UnreadableFile",
    "lower_name",
    "make_ranges",
    "refuse",
    "split_names",
]

MAX_FILE_BYTES = 32 * 1024 * 1024
"""More than any configuration has that people wrote."""

MAX_FILES = 4096
"""How many files one configuration may include."""

MAX_WAYS = 20_000
"""How many ways in are judged: locations, rules, routes."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}\Z")


class UnreadableFile(EdgeServerError):
    """A file cannot be read; the message says which, why and the fix."""


class ReadingError(ConfigurationError):
    """A configuration is not what it should be; the message has file and line."""


class Sources(Protocol):
    """Where the text of configurations comes from."""

    def read(self, path: str) -> str:
        """Return the text of a file; raises `UnreadableFile`."""

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that a pattern matches, sorted."""

    def resolve(self, path: str, base: str) -> str:
        """Return a path as seen from the directory of the file `base`."""


def refuse(where: Where, reason: str) -> NoReturn:
    """Raise the error that says what is wrong where."""
    raise ReadingError(f"{escape(str(where))}: {reason}")


def split_names(text: str) -> frozenset[str]:
    """Return the words of a table that is too long for one word a line."""
    return frozenset(text.split())


def lower_name(text: str) -> str | None:
    """Return the lower-case name of a field, or None where it is none."""
    return text.lower() if _NAME.match(text) else None


def make_ranges(texts: list[str]) -> tuple[Ranges, list[str]]:
    """Return ranges, and the entries that are none: host names, variables, presets.

    Args:
        texts: Addresses, CIDR ranges and `unix:`.
    """
    networks: list[Network] = []
    unknown: list[str] = []
    unix = False
    for text in texts:
        if text == "unix:":
            unix = True
            continue
        try:
            networks.append(
                parse_network(text.strip("[]") if "/" not in text else text)._replace(
                    had_host_bits=False
                )
            )
        except TrustConfigurationError:
            unknown.append(text)
    return Ranges(tuple(networks), unix), unknown
