"""Which of Tornado's own tests are run against another server, and why.

Decides nothing about how they are run. Every test method has one of three categories:

- P, purely public behaviour: a replacement of `HTTPServer` has to pass it with nothing but the
  class being swapped.
- C, passes given one of the small adapters below.
- I, left out; the reason stands there.

The adapters, as letters in `needs`:

- L, log bridge: the test wants a log record of the server on `tornado.general` or
  `tornado.application`. What the replacement logs is forwarded to those two, and an `ExpectLog`
  that names one of Tornado's server messages is content with any record of the replacement.
- N, names: the test module takes a name (`TCPServer`, `HTTPHeaders`, `bind_sockets`, ...) from a
  Tornado module; it is imported with that name bound to the replacement package's own.
- X, the test runs a program text in a fresh interpreter; its imports are rewritten.
- S, stream: the test's application uses `request.connection.stream` or `detach()` itself. Nothing
  is patched for it.
- E, the test compares the text of what `write()` or `finish()` raised. Nothing is patched for it.
"""

from dataclasses import dataclass, field


@dataclass
class Group:
    """The tests of one class: category, adapters, what they lean on, and exceptions by method."""

    cat: str
    needs: str = ""
    leans: str = ""
    over: dict = field(default_factory=dict)


def public(leans="", **over):
    """Say that a class tests public behaviour; `over` maps a method to its own triple."""
    return Group("P", "", leans, over)


def adapted(needs, leans="", **over):
    """Say that a class passes with the adapters `needs`."""
    return Group("C", needs, leans, over)


def left_out(why, **over):
    """Say why a class is not run."""
    return Group("I", "", why, over)


LOG_RECORD = ("C", "L", "server log record expected")

HTTPSERVER = {
    "SSLTest": public(
        "ssl_options given as a dict (ssl_version, certfile, keyfile); nothing "
        "internal. The two log tests want one 'SSL Error' record without a stack "
        "trace on tornado.general when plain HTTP reaches the TLS port, and a "
        "prompt close.",
        test_non_ssl_request=LOG_RECORD,
        test_error_logging=LOG_RECORD,
    ),
    "BadSSLOptionsTest": public(
        "constructor only, with no event loop: KeyError without certfile, "
        "ValueError/OSError for files which do not exist; a dict with existing "
        "files must construct."
    ),
    "HTTPConnectionTest": public(
        "tornado's IOStream and HTTP1Connection(is_client=True) are used as a raw "
        "client only. Server side: multipart, CRLF and bare LF line ends, "
        "100-continue ('HTTP/1.1 100 ')."
    ),
    "HTTPServerTest": public(
        "HTTP client plus Application; argument decoding, str/bytes types of request attributes."
    ),
    "HTTPServerRawTest": public(
        "raw IOStream as client. Most tests want the reason of a 400 as an INFO "
        "record 'Malformed HTTP message from <ip>: <reason>' on tornado.general.",
        test_malformed_first_line_response=LOG_RECORD,
        test_malformed_first_line_log=LOG_RECORD,
        test_malformed_headers=LOG_RECORD,
        test_invalid_host_header_with_whitespace=LOG_RECORD,
        test_chunked_request_body_invalid_size=LOG_RECORD,
        test_chunked_request_body_duplicate_header=LOG_RECORD,
        test_chunked_request_body_unsupported_transfer_encoding=LOG_RECORD,
        test_chunked_request_body_transfer_encoding_and_content_length=LOG_RECORD,
        test_content_length_list_whitespace=LOG_RECORD,
        test_invalid_content_length=LOG_RECORD,
        test_invalid_methods=LOG_RECORD,
    ),
    "XHeaderTest": public(
        "xheaders + trusted_downstream, seen through request.remote_ip / request.protocol."
    ),
    "SSLXHeaderTest": public("the same behind TLS."),
    "ManualProtocolTest": public("protocol='https'."),
    "UnixSocketTestFile": public(
        "add_socket() with an AF_UNIX listener while no loop runs; "
        "close_all_connections() is awaited BEFORE stop(). The bad-request test "
        "compares the whole 400 response.",
        test_unix_socket_bad_request=LOG_RECORD,
    ),
    "UnixSocketTestAbstract": public(
        "the same on a Linux abstract socket (address is bytes).",
        test_unix_socket_bad_request=LOG_RECORD,
    ),
    "KeepAliveTest": public(
        "raw IOStream client. Connection header values ('close', 'Keep-Alive', "
        "none at all for plain HTTP/1.0), an extra CRLF between requests, "
        "pipelining, client vanishing at four moments without any log record, "
        "HTTP/1.0 with a chunked body and keep-alive, HEAD with flush()."
    ),
    "GzipBaseTest": public("nothing internal; a plain form post."),
    "GzipTest": public(
        "decompress_request, max_body_size on the decompressed size, multi-member gzip.",
        test_gzip_invalid=LOG_RECORD,
        test_size_limit=LOG_RECORD,
    ),
    "GzipMemoryTest": adapted(
        "L",
        "tracemalloc: peak under 3 x max_body_size for a 16x gzip bomb, server and "
        "client together.",
    ),
    "GzipUnsupportedTest": public("the record comes from tornado.web, not from the server."),
    "StreamingChunkSizeTest": public(
        "a raw HTTPServerConnectionDelegate/HTTPMessageDelegate written against "
        "tornado.httputil: the server must accept foreign ResponseStartLine and "
        "HTTPHeaders. chunk_size=16 must cut a 50-byte body as [16,16,16,2]; also "
        "applies after decompression and to chunked bodies."
    ),
    "InvalidOutputContentLengthTest": adapted(
        "L",
        "a delegate which writes an invalid Content-Length ('foo', '+10', '1_0'): "
        "write_headers must raise, the server logs the delegate's exception and "
        "closes.",
    ),
    "MaxHeaderSizeTest": public(
        "max_header_size=1024; 431 or plain close.", test_large_headers=LOG_RECORD
    ),
    "IdleTimeoutTest": public(
        "idle_connection_timeout before the first and after the second request."
    ),
    "BodyLimitsTest": public(
        "max_body_size, body_timeout, and "
        "HTTPConnection.set_max_body_size()/set_body_timeout() called from "
        "prepare() of a @stream_request_body handler; the override lasts for one "
        "request.",
        test_large_body_buffered=LOG_RECORD,
        test_large_body_buffered_chunked=LOG_RECORD,
        test_large_body_streaming=LOG_RECORD,
        test_large_body_streaming_chunked=LOG_RECORD,
        test_timeout=LOG_RECORD,
        test_body_size_override_reset=LOG_RECORD,
    ),
    "LegacyInterfaceTest": public(
        "request_callback is a function; it writes a pre-formed header block with "
        "connection.write() and never calls write_headers() (deprecated but "
        "promised)."
    ),
}

CLIENT_ONLY = "client-side test: the server is never contacted"
CONTENT = "stays inside tornado.web; no server involved"

WEB = {
    "SecureCookieV1Test": left_out(CONTENT),
    "SecureCookieV2Test": left_out(CONTENT),
    "SignedValueTest": left_out(CONTENT),
    "StaticFileVersionPathTest": left_out(CONTENT),
    "HTTPErrorTest": left_out(CONTENT),
    "URLSpecReverseTest": left_out(CONTENT),
    "StaticFileAlternateDataStreamTest": left_out("Windows only; skipped upstream"),
    "GetCurrentUserTest": public("", test_get_current_user_is_lazy=("I", "", "skipped upstream")),
    "RaiseWithReasonTest": public(
        "",
        test_httperror_str=("I", "", CONTENT),
        test_httperror_str_from_httputil=("I", "", CONTENT),
    ),
    "WSGISafeWebTest": public("", test_reverse_url=("I", "", CONTENT)),
    "ClientCloseTest": adapted(
        "S", "handler calls request.connection.stream.close() and then write()"
    ),
    "IncorrectContentLengthTest": adapted(
        "E", "exact text of the exception of connection.finish()/write()"
    ),
    "ConnectionCloseTest": public("set_close_callback -> RequestHandler.on_connection_close"),
    "StreamingRequestBodyTest": public(
        "headers_received future, data_received before the body is complete, close during upload"
    ),
    "DecoratedStreamingRequestFlowControlTest": public(
        "data_received futures are awaited; chunk_size=10"
    ),
    "NativeStreamingRequestFlowControlTest": public("the same with coroutines"),
    "ApplicationTest": public(
        "Application.listen()/HTTPServer.listen() and stop() while the loop is set but not running"
    ),
}

WEBSOCKET = {
    "PythonMaskFunctionTest": left_out("mask function, no server"),
    "CythonMaskFunctionTest": left_out("mask function, no server"),
    "PingCalculationTest": left_out("no server"),
    "WebSocketTest": public("", test_websocket_network_fail=("I", "", CLIENT_ONLY)),
    "FloodTest": public(
        "reads must yield to the loop; _write_frame is patched on tornado's own protocol object"
    ),
    "CompressedMessageMemoryTest": public("tracemalloc bound around one compressed message"),
}

SIMPLE = {
    "SimpleHTTPClientCommonTestCase": public(
        "tornado's client against the replacement (tests of httpclient_test.py).",
        test_chunked_close=("I", "", "own fake server"),
        test_multi_line_headers=("I", "", "own fake server"),
        test_streaming_unsolicited_brotli_bomb=("I", "", "skipped upstream (curl only)"),
    ),
    "SimpleHTTPClientTestCase": public(
        "",
        test_singleton=("I", "", CLIENT_ONLY),
        test_connect_timeout=("I", "", CLIENT_ONLY),
        test_connection_refused=("I", "", CLIENT_ONLY),
        test_multiple_content_length_accepted=(
            "C",
            "S",
            "handler.detach(), then stream.write()/close()",
        ),
        test_no_content_length=("C", "S", "handler.detach(), then stream.write()/close()"),
    ),
    "SimpleHTTPSClientTestCase": public(
        "",
        test_singleton=("I", "", CLIENT_ONLY),
        test_connect_timeout=("I", "", CLIENT_ONLY),
        test_connection_refused=("I", "", CLIENT_ONLY),
        test_multiple_content_length_accepted=(
            "C",
            "S",
            "handler.detach(), then stream.write()/close()",
        ),
        test_no_content_length=("C", "S", "handler.detach(), then stream.write()/close()"),
    ),
    "CreateAsyncHTTPClientTestCase": left_out(CLIENT_ONLY),
    "HTTP100ContinueTestCase": adapted(
        "S", "function callback; request.connection.stream.write() with its future, then close()"
    ),
    "HTTP1xxLimitTestCase": adapted(
        "S", "function callback; request.connection.detach() after the body was read"
    ),
    "GzipResponseTestCase": public(""),
    "HTTP204NoContentTestCase": adapted("S", "function callback; request.connection.detach()"),
    "HostnameMappingTestCase": public(""),
    "ResolveTimeoutTestCase": left_out(CLIENT_ONLY),
    "TLSHandshakeTimeoutTestCase": adapted(
        "N",
        "a TCPServer subclass whose handle_stream(stream, address) keeps the "
        "stream; read_until_close()",
    ),
    "MaxHeaderSizeTest": public("limit on the client's side"),
    "SimpleHTTPClientMaxBodySizeTestCase": public("limit on the client's side"),
    "MaxBodySizeUntilCloseTest": adapted(
        "S", "handler.detach(), 100 kB stream.write() followed at once by close(): all must arrive"
    ),
    "MaxBufferSizeUntilCloseTest": adapted("S", "the same"),
    "MaxBufferSizeTest": public(""),
    "ChunkedWithContentLengthTest": left_out(
        "relies on the server putting both Transfer-Encoding and Content-Length on "
        "the wire because the handler set both; a server which refuses to emit "
        "that is not wrong"
    ),
}

HTTPCLIENT = {
    "HTTPClientCommonTestCase": left_out("the same tests run as SimpleHTTPClientCommonTestCase"),
    "SyncHTTPClientTest": public(
        "the server lives in a loop of another thread; stop() and "
        "close_all_connections() from there"
    ),
    "SyncHTTPClientSubprocessTest": left_out(CLIENT_ONLY),
    "RequestProxyTest": left_out(CLIENT_ONLY),
    "HTTPResponseTestCase": left_out(CLIENT_ONLY),
    "HTTPRequestTestCase": left_out(CLIENT_ONLY),
    "HTTPErrorTestCase": left_out(CLIENT_ONLY),
}

HTTPUTIL = {
    "HTTPHeadersTest": adapted("N", "HTTPHeaders of <pkg>.httputil, with HTTPInputError"),
    "HTTPServerRequestTest": adapted(
        "N", "HTTPServerRequest, RequestStartLine, HTTPInputError of <pkg>.httputil"
    ),
}
OPT_HTTPUTIL = {
    "TestUrlConcat": ["url_concat"],
    "QsParseTest": ["qs_to_qsl"],
    "UrlEncodedDataTest": ["parse_body_arguments"],
    "MultipartFormDataTest": [
        "parse_multipart_form_data",
        "HTTPFile",
        "ParseMultipartConfig",
        "_parse_header",
    ],
    "FormatTimestampTest": ["format_timestamp"],
    "ParseRequestStartLineTest": ["parse_request_start_line"],
    "ParseCookieTest": ["parse_cookie"],
}

NATIVE = {
    "StreamingChunkSizeTest": adapted(
        "N",
        "as above, but the delegates derive from <pkg>.httputil and use its "
        "ResponseStartLine/HTTPHeaders",
    ),
    "InvalidOutputContentLengthTest": adapted("NL", "as above, written against <pkg>.httputil"),
}

# names which <pkg> has promised, per test module: {tornado module: [names]}
REBIND = {
    "httputil_test": {
        "tornado.httputil": [
            "HTTPHeaders",
            "HTTPServerRequest",
            "HTTPInputError",
            "RequestStartLine",
        ],
    },
    "tcpserver_test": {"tornado.tcpserver": ["TCPServer"]},
    "simple_httpclient_test": {"tornado.tcpserver": ["TCPServer"]},
    "netutil_test": {"tornado.netutil": ["bind_sockets"]},
    "util_test": {"tornado.util": ["Configurable"]},
    "httpserver_native_test": {
        "tornado.httputil": [
            "HTTPHeaders",
            "HTTPMessageDelegate",
            "HTTPServerConnectionDelegate",
            "ResponseStartLine",
        ],
    },
}
# names it may offer; bound when present, and then the classes in OPTIONAL are counted
REBIND_OPTIONAL = {
    "httputil_test": {"tornado.httputil": sorted({n for v in OPT_HTTPUTIL.values() for n in v})},
    "netutil_test": {"tornado.netutil": ["is_valid_ip"]},
}
OPTIONAL = {
    "httputil_test": OPT_HTTPUTIL,
    "netutil_test": {"IsValidIPTest": ["is_valid_ip"]},
}

# module -> (classes, default for classes which are not named)
MODULES = {
    "httpserver_test": (HTTPSERVER, None),
    "httpserver_native_test": (NATIVE, left_out("runs as httpserver_test")),
    "security_corpus_test": (
        {
            "SecurityCorpusTest": public(
                "inputs of past advisories over a socket; wants the status, and at most "
                "two log records, none of them ERROR. The harness counts every input as a "
                "test of its own."
            )
        },
        None,
    ),
    "web_test": (WEB, public("tornado.web over the replacement")),
    "websocket_test": (WEBSOCKET, public("tornado.websocket over detach()")),
    "routing_test": ({}, public("delegates and function callbacks under RuleRouter")),
    "wsgi_test": ({}, public("WSGIContainer under RuleRouter")),
    "simple_httpclient_test": (SIMPLE, None),
    "httpclient_test": (HTTPCLIENT, left_out(CLIENT_ONLY)),
    "httputil_test": (
        HTTPUTIL,
        left_out(
            "utility functions outside the promised names (run as optional when "
            "<pkg>.httputil has them)"
        ),
    ),
    "tcpserver_test": (
        {
            "TCPServerTest": adapted(
                "N",
                "TCPServer subclass with handle_stream(stream, address): read_bytes, "
                "write, close on the stream; stop() twice and inside a callback",
                test_handle_stream_coroutine_logging=(
                    "C",
                    "NL",
                    "exception of handle_stream is logged",
                ),
            ),
            "TestMultiprocess": adapted(
                "X",
                "listen / bind+start(3) / add_sockets after fork_processes / reuse_port, "
                "in fresh interpreters with -Werror::DeprecationWarning",
            ),
        },
        None,
    ),
    "netutil_test": (
        {
            "TestPortAllocation": adapted(
                "N", "bind_sockets: same port for IPv4 and IPv6, reuse_port"
            )
        },
        left_out("resolvers, not a part of the server"),
    ),
    "process_test": (
        {
            "ProcessTest": adapted(
                "XL",
                "fork_processes(3, max_restarts=3) with HTTPServer.add_sockets in the "
                "children; the parent logs 'Starting 3 processes'",
            ),
            "SubprocessTest": left_out("tornado.process.Subprocess is not a part of the server"),
        },
        None,
    ),
    "util_test": (
        {
            "ConfigurableTest": adapted(
                "N",
                "Configurable: configure(), class or dotted name, kwargs, two levels; "
                "reads _save_configuration/_restore_configuration",
            )
        },
        left_out("not a part of the server"),
    ),
}

# skips at run time that are fine: a race of the test itself
SKIP_OK = {"tcpserver_test.TCPServerTest.test_stop_in_callback"}


def classify(module, cls, method):
    """Return `(category, needs, note)` of one test method."""
    table, default = MODULES[module]
    spec = table.get(cls, default)
    if spec is None:
        return ("I", "", "unknown class (not in the catalog)")
    base = method.split("[")[0]
    if base in spec.over:
        return spec.over[base]
    return (spec.cat, spec.needs, spec.leans)
