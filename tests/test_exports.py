"""The public surface: what programs may rely on, frozen so that it only changes on purpose."""

import ast
import importlib
import sys
from pathlib import Path
from typing import Any, cast

import pytest

# A name that is added or removed here is a line in CHANGELOG.md too.
PUBLIC = {
    "edgeserver": """
        EdgeServerError
        HTTPHeaders
        HTTPInputError
        HTTPOutputError
        HTTPServer
        HTTPServerRequest
        listen
        run
    """,
    "edgeserver.httputil": """
        HTTPConnection
        HTTPFile
        HTTPHeaders
        HTTPInputError
        HTTPMessageDelegate
        HTTPOutputError
        HTTPServerConnectionDelegate
        HTTPServerRequest
        ParseBodyConfig
        ParseMultipartConfig
        ParseUrlEncodedConfig
        RequestStartLine
        ResponseStartLine
        format_timestamp
        parse_body_arguments
        parse_cookie
        parse_multipart_form_data
        parse_request_start_line
        parse_response_start_line
        qs_to_qsl
        responses
        set_parse_body_config
        split_host_and_port
        url_concat
    """,
    "edgeserver.proxyheaders": """
        Bound
        CODES
        Declared
        Finding
        Hop
        Provenance
        REASONS
        Resolved
        TrustPolicy
        TrustedProxy
    """,
    "edgeserver.testing": """
        Chain
        LoggedRequest
        Served
        assert_client
        serve
    """,
    "edgeserver.tls": """
        ClientCertificateInfo
        ClientPolicy
        HandshakeLimits
        HostStatus
        ReloadResult
        ReloadTimer
        Selection
        TLSContexts
        TLSOptions
        build_contexts
        client_certificate_info
        parse_ssl_options
        ssl_options_to_context
        start_lines
    """,
}

# The Tornado names that programs find after changing their imports.
TORNADO = {
    "edgeserver.httpserver": ("HTTPServer", "HTTPRequest"),
    "edgeserver.ioloop": ("IOLoop",),
    "edgeserver.netutil": ("bind_sockets", "bind_unix_socket", "is_valid_ip"),
    "edgeserver.process": ("cpu_count", "fork_processes", "task_id"),
    "edgeserver.tcpserver": ("TCPServer",),
    "edgeserver.iostream": ("IOStream", "StreamClosedError"),
    "edgeserver.util": ("Configurable",),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name: str) -> None:
    """A package exports exactly the names above, and each of them exists."""
    module = importlib.import_module(name)
    assert sorted(module.__all__) == PUBLIC[name].split()
    for attribute in module.__all__:
        assert getattr(module, attribute) is not None


@pytest.mark.parametrize("name", TORNADO)
def test_names_of_tornado(name: str) -> None:
    """A program finds Tornado's names where Tornado has them."""
    module = importlib.import_module(name)
    for attribute in TORNADO[name]:
        assert hasattr(module, attribute), attribute


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name: str) -> None:
    """Every public class and function has a docstring of its own."""
    module = importlib.import_module(name)
    for attribute in module.__all__:
        value = getattr(module, attribute)
        if callable(value):
            assert docstring_of(value), attribute


def docstring_of(value: Any) -> str | None:
    """Return a docstring; mypyc keeps none, so that of a compiled module is in its source."""
    path = Path(sys.modules[value.__module__].__file__ or "")
    if path.suffix == ".py":
        return cast(str | None, value.__doc__)
    for node in ast.parse(path.with_name(path.name.split(".")[0] + ".py").read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == value.__name__:
            return ast.get_docstring(node)
    return None
