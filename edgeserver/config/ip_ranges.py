"""Files of address ranges, as clouds and CDNs publish them: one CIDR a line, `#` comments.

Decides which lines are ranges; every refusal names the file and the line. It must not know what the
ranges are trusted with.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

from edgeserver.errors import TrustConfigurationError
from edgeserver.proxyheaders.networks import parse_network
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file

__all__ = ["MAX_FILE_BYTES", "load_ranges", "written_s"]

MAX_FILE_BYTES = 4 * 1024 * 1024
"""More than any provider publishes; past it the file is something else."""


def load_ranges(path: str | os.PathLike[str]) -> list[str]:
    """Load the ranges of a file, in order, as entries for `TrustPolicy(proxies=...)`.

    Args:
        path: A text file; empty lines and what follows `#` count for nothing.

    Raises:
        TrustConfigurationError: It cannot be read, holds no range, or a line is not one; the
            message names file and line.
    """
    shown = escape(os.fspath(path))
    try:
        content = read_file(path, MAX_FILE_BYTES)
    except OSError as error:
        raise TrustConfigurationError(
            f"{shown}: the file of ranges cannot be read: {error.strerror or error}; "
            "check the path and its permissions"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise TrustConfigurationError(
            f"{shown}: more than {MAX_FILE_BYTES} bytes: that is not a file of ranges"
        )
    ranges = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        entry = line.partition(b"#")[0].strip(b" \t")
        if entry:
            ranges.append(_check_range(entry, f"{shown}:{number}"))
    if not ranges:
        # A truncated download must not silently trust nobody.
        raise TrustConfigurationError(
            f"{shown}: no range in it; write one CIDR a line, such as 10.0.0.0/8"
        )
    return ranges


_DATED = re.compile(rb"# made by edgeserver audit ranges on (\d{4}-\d{2}-\d{2})\b")


def written_s(path: str | os.PathLike[str]) -> float:
    """Return when a file was made, in seconds since the epoch: as it says, else as its system does.

    A copy that is made at each deployment is as old as what it holds.

    Raises:
        OSError: It cannot be read.
    """
    match = _DATED.search(read_file(path, 4096)[:4096])
    if match is not None:
        try:
            return datetime.fromisoformat(match[1].decode()).replace(tzinfo=UTC).timestamp()
        except ValueError:
            pass
    return os.stat(path).st_mtime


def _check_range(entry: bytes, where: str) -> str:
    """Return one range as text.

    Raises:
        TrustConfigurationError: It is not one, or holds every address.
    """
    text = escape(entry)
    if text == "unix:":
        raise TrustConfigurationError(
            f"{where}: 'unix:' is not a range; put it into the list of proxies itself"
        )
    try:
        network = parse_network(text)
    except TrustConfigurationError as error:
        raise TrustConfigurationError(f"{where}: {error}") from error
    if network.prefix == 0:
        raise TrustConfigurationError(
            f"{where}: {text} is every address; a file lists the addresses of proxies"
        )
    return text
