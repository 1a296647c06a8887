"""The waist: headers, start lines, requests, and the interfaces that both sides of it know.

Only what is named here is stable; the modules behind it are not.
"""

from edgeserver.errors import HTTPInputError, HTTPOutputError
from edgeserver.httputil.cookies import parse_cookie
from edgeserver.httputil.forms import (
    HTTPFile,
    ParseBodyConfig,
    ParseMultipartConfig,
    ParseUrlEncodedConfig,
    parse_body_arguments,
    parse_multipart_form_data,
    set_parse_body_config,
)
from edgeserver.httputil.headers import HTTPHeaders
from edgeserver.httputil.hosts import split_host_and_port
from edgeserver.httputil.interfaces import (
    HTTPConnection,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
)

# Not public, as in Tornado, but there under Tornado's names for those who use them all the same.
from edgeserver.httputil.parameters import parse_parameters as _parse_header  # noqa: F401
from edgeserver.httputil.parameters import render_parameters as _encode_header  # noqa: F401
from edgeserver.httputil.request import HTTPServerRequest
from edgeserver.httputil.startlines import (
    RequestStartLine,
    ResponseStartLine,
    parse_request_start_line,
    parse_response_start_line,
    responses,
)
from edgeserver.httputil.timestamps import format_timestamp
from edgeserver.httputil.urls import qs_to_qsl, url_concat

__all__ = [
    "HTTPConnection",
    "HTTPFile",
    "HTTPHeaders",
    "HTTPInputError",
    "HTTPMessageDelegate",
    "HTTPOutputError",
    "HTTPServerConnectionDelegate",
    "HTTPServerRequest",
    "ParseBodyConfig",
    "ParseMultipartConfig",
    "ParseUrlEncodedConfig",
    "RequestStartLine",
    "ResponseStartLine",
    "format_timestamp",
    "parse_body_arguments",
    "parse_cookie",
    "parse_multipart_form_data",
    "parse_request_start_line",
    "parse_response_start_line",
    "qs_to_qsl",
    "responses",
    "set_parse_body_config",
    "split_host_and_port",
    "url_concat",
]
