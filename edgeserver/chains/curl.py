"""A counterexample as a line for a shell.

Decides how a request is written so that it can be pasted. Nothing in it can end the line or reach
the shell as anything but an argument.
"""

from __future__ import annotations

import shlex

from edgeserver.chains.judge import Trial
from edgeserver.chains.model import COOKIE, HOST, METHOD, PATH, QUERY, Way
from edgeserver.chains.names import display_name
from edgeserver.support.escape import escape

__all__ = ["curl_line"]


def curl_line(trial: Trial, way: Way | None) -> str:
    """Return the curl command that sends a request.

    Args:
        trial: The request.
        way: The way in; None for the app itself.
    """
    words = ["curl"]
    if trial.prelude is not None:
        words += ["--haproxy-clientip", trial.prelude]
    method = _first(trial, METHOD)
    if method and method != "GET":
        words += ["-X", method]
    host = _host(way)
    for name, lines in trial.head.items():
        if name == HOST and lines != ("app.example",):
            words += ["-H", f"Host: {lines[0]}"]
        elif name.startswith(COOKIE):
            words += ["-b", f"{name.removeprefix(COOKIE)}={lines[0]}"]
        elif name[0] not in ":?":
            # curl leaves out a field without a value, unless it ends in a semicolon
            words += [
                part
                for line in lines
                for part in (
                    "-H",
                    f"{display_name(name)}: {line}" if line else f"{display_name(name)};",
                )
            ]
    scheme = "https" if trial.tls else "http"
    path = _first(trial, PATH) or "/"
    query = "&".join(
        f"{name.removeprefix(QUERY)}={lines[0]}"
        for name, lines in trial.head.items()
        if name.startswith(QUERY)
    )
    url = f"{scheme}://{host}{_port(way, tls=trial.tls)}{path}" + (f"?{query}" if query else "")
    words.append(url)
    return " ".join(shlex.quote(escape(word, 400)) for word in words)


def _first(trial: Trial, name: str) -> str:
    """Return the first line of a field."""
    lines = trial.head.get(name)
    return lines[0] if lines else ""


def _host(way: Way | None) -> str:
    """Return a host name that the way serves, where one is a name."""
    for name in (way.label if way is not None else "").split():
        if "." in name and all(letter.isalnum() or letter in ".-" for letter in name):
            return name.strip(".")
    return "HOST" if way is not None else "APP"


def _port(way: Way | None, *, tls: bool) -> str:
    """Return the port of a listener for a URL, or nothing for the usual one."""
    if way is None:
        return ""
    port = way.listen.rsplit(":", 1)[-1]
    usual = "443" if tls else "80"
    return f":{port}" if port.isdigit() and port != usual else ""
