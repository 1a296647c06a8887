"""The table of settings: what it says is what the server, the adapters and the command have."""

import dataclasses
import inspect
import re
import subprocess
import sys
from typing import Any

import pytest

from edgeserver.adapters.asgi import ASGIAdapter
from edgeserver.adapters.wsgi import WSGIAdapter
from edgeserver.audit.log import AuditLog
from edgeserver.config.model import SETTINGS, TABLES, Setting, library_default, settings_of
from edgeserver.http.limits import HTTPLimits
from edgeserver.httpserver import HTTPServer
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.support.held import DEFAULT_MAX_HELD
from edgeserver.tls import TLSOptions
from edgeserver.tls.settings.options import SSL_OPTION_KEYS

# What a program gives as an object, and a command makes of several settings.
COMPOSED = {"request_callback", "ssl_options", "trust", "access_log", "audit_log", "proxy_protocol"}

# What no setting says so far: `--http-redirect` answers on a port of its own.
PROGRAM_ONLY = {"https_redirect"}


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    """Return the parameters of a function or a class, without self."""
    found = dict(inspect.signature(function).parameters)
    found.pop("self", None)
    return found


@pytest.mark.parametrize("each", SETTINGS.values(), ids=lambda each: each.name)
def test_each_setting_is_well_formed(each: Setting) -> None:
    """A setting has a kebab-case name, a table, a sentence of help, and the choices it needs."""
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", each.name)
    assert each.table in TABLES
    assert each.help.endswith(".")
    assert "default" not in each.help  # it is said once, by the value
    assert bool(each.choices) == (each.kind == "choice")
    assert not each.choices or each.in_force in (None, *each.choices)


def test_the_constructor_takes_each_setting_of_the_server() -> None:
    """Each argument of `HTTPServer` is a setting, or an object that several settings become."""
    told = {each.parameter for each in settings_of(taker="server")}
    assert told | COMPOSED | PROGRAM_ONLY == _parameters(HTTPServer.initialize).keys()


@pytest.mark.parametrize(
    "each",
    [each for each in settings_of(taker="server") if each.parameter != "strict_transport_security"],
    ids=lambda each: each.name,
)
def test_defaults_of_the_constructor(each: Setting) -> None:
    """The default of an argument is the table's; None stands for it where Tornado has None."""
    given = _parameters(HTTPServer.initialize)[each.parameter].default
    limits = {one.name: one.default for one in dataclasses.fields(HTTPLimits)}
    if each.parameter in limits:
        assert limits[each.parameter] == library_default(each.parameter) == each.default
    assert given in (None, each.default) or not (given or each.default)


@pytest.mark.parametrize(
    "each",
    [each for each in settings_of(taker="server") if each.kind in ("bytes", "seconds")],
    ids=lambda each: each.name,
)
def test_the_constructors_documentation(each: Setting) -> None:
    """What the class says of a limit names its default."""
    text = re.search(
        rf"^    {each.parameter}: (.*(?:\n        .*)*)", inspect.getdoc(HTTPServer) or "", re.M
    )
    assert text is not None
    written = each.written_default(serve=False)
    if each.kind == "bytes":
        written = re.sub(r"([KMG])\Z", r" \1iB", written)
    said = " ".join(text[1].split())
    assert written in said or (each.parameter == "max_body_size" and "max_buffer_size" in said)


@pytest.mark.parametrize(
    ("taker", "target"),
    [
        ("adapter", (ASGIAdapter, WSGIAdapter)),
        ("trust", (TrustPolicy,)),
        ("tls", (TLSOptions,)),
        ("audit", (AuditLog,)),
    ],
    ids=["adapter", "trust", "tls", "audit"],
)
def test_defaults_of_other_takers(taker: Any, target: tuple[Any, ...]) -> None:
    """What the table says is in force by default is what its taker has."""
    parameters = [_parameters(each) for each in target]
    for each in settings_of(taker=taker):
        if taker == "tls":
            assert each.parameter in SSL_OPTION_KEYS
        known = [found[each.parameter] for found in parameters if each.parameter in found]
        assert known or taker == "tls", each.name
        for parameter in known:
            assert each.default in (None, parameter.default), each.name


def test_what_cannot_read_the_table() -> None:
    """A room below the table states the same number."""
    assert library_default("max_held") == DEFAULT_MAX_HELD


@pytest.mark.parametrize(
    ("name", "serve", "written"),
    [
        ("max-header-size", True, "64K"),
        ("max-body-size", False, "100M"),
        ("idle-connection-timeout", False, "3600"),
        ("idle-connection-timeout", True, "75"),
        ("body-timeout", False, "no limit"),
        ("body-timeout", True, "300"),
        ("access-log", True, "-"),
        ("access-log-format", True, "as --log-format"),
        ("ws-per-message-deflate", True, "off"),
        ("certfile", True, ""),
        ("reuse-port", True, ""),
    ],
)
def test_how_a_default_is_written(name: str, serve: bool, written: str) -> None:
    """A default is shown as a person would type it, for a program and for the command."""
    assert SETTINGS[name].written_default(serve=serve) == written


def test_no_such_argument() -> None:
    """A name that is no argument of the server has no default."""
    with pytest.raises(KeyError, match="workers"):
        library_default("workers")


def test_it_costs_nothing() -> None:
    """The table needs neither an event loop nor TLS, nor the command line."""
    code = "import edgeserver.config.model, sys; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"asyncio", "ssl", "click", "cryptography", "logging", "socket"} & set(modules)
    ours = {each for each in modules if each.startswith("edgeserver")}
    assert ours == {"edgeserver", "edgeserver.config", "edgeserver.config.model"}
