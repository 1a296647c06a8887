"""What the flags of `serve` decide."""

import inspect
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner

from edgeserver.adapters.asgi import ASGIAdapter
from edgeserver.adapters.wsgi import WSGIAdapter
from edgeserver.cli import cli
from edgeserver.cli.flags import APPLY_ORDER, GROUPS, apply_flags
from edgeserver.cli.serve import serve
from edgeserver.config.bind import Bind
from edgeserver.config.model import settings_of
from edgeserver.config.values import parse_bytes
from edgeserver.errors import ConfigurationError
from edgeserver.runtime.plan import (
    SHUTDOWN_TIMEOUT_S,
    AccessRequest,
    LoggingRequest,
    ServePlan,
)
from edgeserver.runtime.prepare import prepare
from edgeserver.tls import TLSOptions, parse_ssl_options


def _plan(*arguments: str) -> ServePlan:
    """Return the plan that `serve a:b` makes of more arguments."""
    context = serve.make_context("serve", ["a:b", *arguments])
    plan = ServePlan(target=context.params.pop("target"))
    apply_flags(APPLY_ORDER, context.params, plan)
    return plan


def _prepared(*arguments: str) -> ServePlan:
    """Return that plan, with what it takes read and built."""
    plan = _plan(*arguments)
    prepare(plan)
    return plan


def test_defaults() -> None:
    """Without flags it is one worker on loopback, with serve's own two time limits."""
    plan = _prepared()
    assert plan.target == "a:b"
    assert [(each.bind, each.is_tls) for each in plan.listeners] == [
        (Bind(host="127.0.0.1", port=8000), False)
    ]
    assert plan.server_options.pop("trust").mode == "off"
    assert plan.server_options == {"idle_connection_timeout": 75.0, "body_timeout": 300.0}
    assert (plan.workers, plan.graceful_timeout_s, plan.backlog) == (1, 30.0, 128)
    assert (plan.app_dir, plan.interface, plan.factory) == (".", "auto", False)
    assert plan.access == AccessRequest()
    assert plan.logging == LoggingRequest()
    assert not plan.tls
    assert plan.notes == ["client address: the peer's; no header is read"]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--max-header-size", "32K"], {"max_header_size": 32768}),
        (["--max-header-fields", "10"], {"max_header_fields": 10}),
        (["--max-body-size", "0"], {"max_body_size": 0}),
        (["--max-buffer-size", "1MiB"], {"max_buffer_size": 1 << 20}),
        (["--chunk-size", "100"], {"chunk_size": 100}),
        (["--idle-connection-timeout", "5"], {"idle_connection_timeout": 5.0}),
        (["--header-timeout", "2.5"], {"header_timeout": 2.5}),
        (["--body-timeout", "7"], {"body_timeout": 7.0}),
        (["--write-timeout", "8"], {"write_timeout": 8.0}),
        (["--max-connections", "9"], {"max_connections": 9}),
        (["--max-connections-per-client", "3"], {"max_connections_per_client": 3}),
        (["--max-held", "64M"], {"max_held": 64 * 1024**2}),
        (["--decompress-request"], {"decompress_request": True}),
        (["--no-keep-alive"], {"no_keep_alive": True}),
        (["--protocol", "https"], {"protocol": "https"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_server_options(arguments: list[str], options: dict[str, Any]) -> None:
    """Each limit and each proxy flag becomes the constructor's parameter."""
    changed = _plan(*arguments).server_options
    assert changed == _plan().server_options | options


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], {}),
        (["--root-path", "/api"], {"root_path": "/api"}),
        (["--threads", "4"], {"threads": 4}),
        (["--lifespan", "on"], {"lifespan": "on"}),
        (["--shutdown-timeout", "0"], {"shutdown_timeout": 0.0}),
        (["--shutdown-timeout", "2.5"], {"shutdown_timeout": 2.5}),
        (["--ws-max-size", "64K"], {"ws_max_size": 65536}),
        (["--ws-ping-interval", "5"], {"ws_ping_interval": 5.0}),
        (["--ws-ping-timeout", "6"], {"ws_ping_timeout": 6.0}),
        (["--no-wsgi-buffering"], {"wsgi_buffering": False}),
        (["--ws-per-message-deflate"], {"ws_per_message_deflate": True}),
        (["--no-ws-per-message-deflate"], {"ws_per_message_deflate": False}),
    ],
    ids=lambda value: "=".join(value) if isinstance(value, list) else "",
)
def test_adapter_options(arguments: list[str], options: dict[str, Any]) -> None:
    """What is said of the application goes to its adapter, and only what is said."""
    assert _plan(*arguments).adapter_options == options


def test_the_adapters_know_each_option() -> None:
    """Every flag of an application's kind is a parameter of one of the adapters."""
    known = {
        name
        for adapter in (ASGIAdapter, WSGIAdapter)
        for name in inspect.signature(adapter).parameters
    }
    told = {each.parameter for each in settings_of(taker="adapter")}
    assert told <= known
    assert known - told == {"app", "multiprocess"}  # told by --workers


def test_a_worker_is_not_killed_before_its_time() -> None:
    """What kills a worker waits for its requests, its tasks and its application's shutdown."""
    assert _plan().stop_timeout_s > 30 + 10 + 10
    assert _plan("--graceful-timeout", "1", "--shutdown-timeout", "40").stop_timeout_s > 81


def test_the_adapters_own_shutdown_timeout() -> None:
    """The default that the plan reckons with is the adapter's."""
    parameter = inspect.signature(ASGIAdapter).parameters["shutdown_timeout"]
    assert parameter.default == SHUTDOWN_TIMEOUT_S


@pytest.mark.parametrize("flag", ["--graceful-timeout", "--shutdown-timeout", "--body-timeout"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e400", "-1", "soon", ""])
def test_no_time(flag: str, value: str) -> None:
    """What is no time that an event loop can count to is refused before anything starts."""
    result = CliRunner().invoke(cli, ["serve", "a:b", flag, value])
    assert result.exit_code == 2
    assert flag in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve"], "edgeserver: missing argument 'MODULE:ATTR'; a file can name it, too"),
        (["sevre"], "edgeserver: no such command 'sevre'"),
        (["--nonsense"], "edgeserver: no such option"),
        (["serve", "a:b", "--wkers", "2"], "no such option --wkers (see"),
        (["serve", "a:b", "--workers", "0"], "0 is not a whole number from 1 to 1024; give one"),
        (["serve", "a:b", "--interface", "cgi"], "'callback', 'asgi', 'wsgi', 'tornado'"),
        (["serve", "a:b", "--\x1b[2J\n\udcff"], "\\x1b[2J"),
        (["audit", "explain"], "see edgeserver audit explain --help"),
        (["tls", "check"], "see edgeserver tls check --help"),
    ],
    ids=["argument", "command", "option", "near", "range", "choice", "bytes", "audit", "tls"],
)
def test_usage_errors(arguments: list[str], words: str) -> None:
    """A wrong call is one printable line that says what is wrong and where help is."""
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert result.output.startswith("edgeserver: ")
    assert result.output.removesuffix("\n").isprintable()


def test_process_flags() -> None:
    """Flags of the process are no options of the server."""
    plan = _plan("--workers", "3", "--graceful-timeout", "0", "--no-access-log", "--reuse-port")
    assert (plan.workers, plan.graceful_timeout_s) == (3, 0.0)
    assert plan.access is None
    assert plan.reuse_port


@pytest.mark.parametrize(
    ("arguments", "access"),
    [
        (["--access-log", "off"], None),
        (["--access-log", "-"], AccessRequest(is_asked=True)),
        (["--access-log", "a.log"], AccessRequest(target="a.log", is_asked=True)),
        (["--access-log-format", "json"], AccessRequest(format="json", is_asked=True)),
        (["--access-log-format", "combined"], AccessRequest(format="combined", is_asked=True)),
        (["--access-log-sample", "0.1"], AccessRequest(sample=0.1, is_asked=True)),
        (["--log-format", "json"], AccessRequest(format="json")),
        (
            ["--log-format", "json", "--access-log-format", "text"],
            AccessRequest(format="text", is_asked=True),
        ),
    ],
    ids=["off", "stdout", "file", "json", "combined", "sample", "both-json", "each-its-own"],
)
def test_flags_of_the_access_log(arguments: list[str], access: AccessRequest | None) -> None:
    """Where it goes, how it looks, and whether somebody asked for it."""
    assert _plan(*arguments).access == access


def test_flags_of_the_other_lines() -> None:
    """What is said on standard error has a form and a level, and is asked for or not."""
    assert _plan("--log-level", "WARN").logging.level == "WARNING"
    plan = _plan("--log-format", "json", "--log-level", "debug")
    assert plan.logging == LoggingRequest(
        format="json", level="DEBUG", is_asked=True, has_level=True
    )
    assert _plan("--log-config", "a.toml").logging.config == "a.toml"


def test_flags_of_workers() -> None:
    """What a worker is held to comes from flags, and is off or long where none says otherwise."""
    plan = _plan()
    assert (plan.workers, plan.single_process, plan.drain_idle_s) == (1, False, 1.0)
    assert (plan.start_timeout_s, plan.worker_timeout_s, plan.slow_loop_s) == (60.0, 60.0, 0.0)
    assert (plan.max_requests, plan.max_lifetime_s, plan.max_memory) == (0, 0.0, 0)
    plan = _plan(
        *("--start-timeout", "0", "--worker-timeout", "0", "--slow-loop", "0.5"),
        *("--max-requests", "9", "--max-lifetime", "86400", "--max-memory", "512M"),
        *("--drain-idle", "0"),
    )
    assert (plan.start_timeout_s, plan.worker_timeout_s, plan.slow_loop_s) == (0.0, 0.0, 0.5)
    assert (plan.max_requests, plan.max_lifetime_s) == (9, 86400.0)
    assert (plan.max_memory, plan.drain_idle_s) == (512 * 1024 * 1024, 0.0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--workers", "2"],
        ["--worker-timeout", "5"],
        ["--max-requests", "5"],
        ["--max-lifetime", "5"],
        ["--max-memory", "5M"],
        ["--admin", "unix:a.sock"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_a_single_process_cannot_do(arguments: list[str]) -> None:
    """What needs a parent is refused by its flag where there is to be none."""
    with pytest.raises(ConfigurationError, match=f"--single-process and {arguments[0]} exclude"):
        _plan("--single-process", *arguments)
    assert _plan("--single-process", "--workers", "1").single_process


def test_operators() -> None:
    """Operators may be answered at several places; a token is for those that need one."""
    plan = _plan("--admin", "unix:a.sock", "--admin", "127.0.0.1:9000")
    assert [bind.path or bind.port for bind in plan.admin] == ["a.sock", 9000]
    with pytest.raises(ConfigurationError, match="--admin-token-file is for addresses"):
        _plan("--admin", "unix:a.sock", "--admin-token-file", "token")
    with pytest.raises(ConfigurationError, match="--admin :9000: others than this machine"):
        _plan("--admin", ":9000")


def test_a_trust_policy(tmp_path: Path) -> None:
    """The trust flags become one policy, and what is in force is said."""
    (tmp_path / "ranges").write_text("192.0.2.0/24  # the CDN\n")
    plan = _prepared("--trust", "10.0.0.0/8", "--trust-file", str(tmp_path / "ranges"))
    policy = plan.server_options["trust"]
    headers = [(b"X-Forwarded-For", b"203.0.113.9, 192.0.2.7")]
    assert policy.resolve(peer="10.1.2.3", headers=headers).remote_ip == "203.0.113.9"
    assert [note for note in plan.notes if note.startswith("client address: X-Forwarded-For")]


def test_tornados_contract_is_warned_about() -> None:
    """--xheaders believes whoever can connect, which is said at start."""
    plan = _prepared("--xheaders", "--trusted-downstream", "10.1.1.1, 10.2.2.2")
    policy = plan.server_options["trust"]
    headers = [(b"X-Forwarded-For", b"203.0.113.9, 10.2.2.2, 10.1.1.1")]
    assert policy.resolve(peer="198.51.100.1", headers=headers).remote_ip == "203.0.113.9"
    assert [note for note in plan.notes if note.startswith("warning: any-peer-trusted")]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--bind", "https://127.0.0.1:1"], "needs a certificate"),
        (["--bind", "nonsense"], "--bind nonsense"),
        (["--trusted-downstream", "1.1.1.1"], "add --xheaders"),
        (["--trust", "10.0.0.0/8", "--xheaders"], "give one of the two"),
        (["--trust", "nonsense"], "nonsense"),
        (["--keyfile", "k"], "--keyfile without a certificate"),
        (["--cert-reqs", "required"], "--cert-reqs without a certificate"),
        (["--certfile", "a", "--dev-tls"], "contradict"),
        (["--chunk-size", "0"], "'--chunk-size': nothing fits into 0; write 64K, say"),
        (["--max-header-size", "0"], "'--max-header-size': nothing fits into 0"),
        (["--max-buffer-size", "0K"], "'--max-buffer-size': nothing fits into 0K"),
        (["--bind", "127.0.0.1:1,proxy=v2"], "--bind 127.0.0.1:1,proxy=v2: nobody may send"),
        (["--xheaders", "--bind", "unix:s,proxy=any"], "name the proxies with --trust"),
        (["--tls-host", "a=b:c"], "--tls-host without a certificate"),
        (["--dev-tls", "--tls-host", "a=b"], "write NAME=CERT:KEY"),
        (["--dev-tls", "--tls-host", "a=b:c", "--tls-host", "a=d:e"], "given twice"),
        (["--certfile", "/nowhere/c.pem"], "/nowhere/c.pem"),
    ],
    ids=[
        "https",
        "bind",
        "downstream",
        "both",
        "trust",
        "keyfile",
        "cert-reqs",
        "dev-tls",
        "chunk",
        "head",
        "buffer",
        "prelude",
        "prelude-xheaders",
        "tls-host",
        "tls-host-form",
        "tls-host-twice",
        "certfile",
    ],
)
def test_contradictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], part: str
) -> None:
    """What cannot be meant is one line with the flag and the fix, and exit code 2."""
    monkeypatch.chdir(tmp_path)  # --dev-tls writes below it
    result = CliRunner().invoke(cli, ["serve", "a:b", *arguments])
    assert result.exit_code == 2
    assert part in result.output
    assert result.output.startswith("edgeserver: ")
    assert result.output.count("\n") == 1


def test_cert_reqs_needs_a_ca(certificate: Path) -> None:
    """Asking for client certificates without saying whose is refused."""
    with pytest.raises(ConfigurationError, match="no authority could have signed"):
        _prepared("--certfile", str(certificate), "--cert-reqs", "required")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("65536", 65536),
        ("64k", 65536),
        ("64KiB", 65536),
        ("2MB", 2 << 20),
        ("1g", 1 << 30),
    ],
)
def test_bytes(text: str, number: int) -> None:
    """A number of bytes may have a unit, which is a power of 1024."""
    assert parse_bytes(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1.5M", "k", "1kk", "\u0661", "1 k", "1" * 16, "1ib5"])
def test_not_bytes(text: str) -> None:
    """Anything else is refused, naming the forms that would do."""
    with pytest.raises(ValueError, match="write 65536, 64K or 10M"):
        parse_bytes(text)


def test_a_wrong_number_of_bytes_names_its_flag() -> None:
    """The command line says which flag was wrong."""
    result = CliRunner().invoke(cli, ["serve", "a:b", "--max-body-size", "lots"])
    assert result.exit_code == 2
    assert "--max-body-size" in result.output
    assert "lots" in result.output


def test_help_shows_every_flag_under_a_title() -> None:
    """Every flag is in the help once, with a text."""
    result = CliRunner().invoke(cli, ["serve", "--help"], terminal_width=100)
    assert result.exit_code == 0
    for group in GROUPS:
        assert f"{group.title}:" in result.output
        for option in group.options:
            long = option.opts[0]
            assert len(re.findall(rf"(?:  |, ){long} ", result.output)) == 1, option.name
            assert option.help


def _served(plan: ServePlan) -> Mapping[str, TLSOptions]:
    """Return what https listeners serve, by host; the default's name is empty."""
    (contexts,) = plan.tls.values()
    return contexts.options


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a PEM file with a key and a certificate for localhost."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    issued = trustme.CA().issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


def test_a_certificate_makes_https(certificate: Path) -> None:
    """A bind without a scheme is https where a certificate is given, http:// stays http."""
    plan = _prepared(
        "--certfile", str(certificate), "--bind", "127.0.0.1:1", "--bind", "http://127.0.0.1:2"
    )
    assert _served(plan)[""].certfile == str(certificate)
    assert [note for note in plan.notes if note.startswith("TLS: localhost; expires in ")]
    assert [each.is_tls for each in plan.listeners] == [True, False]


def test_dev_tls_makes_its_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--dev-tls makes a certificate below the current directory, and says whom to trust."""
    monkeypatch.chdir(tmp_path)
    plan = _prepared("--dev-tls", "--bind", "https://127.0.0.1:1")
    served = _served(plan)[""]
    assert (served.certfile, served.keyfile) == ("certs/server.pem", "certs/server.key")
    assert (tmp_path / "certs" / "ca.pem").exists()
    assert [note for note in plan.notes if note.endswith("trust it with certs/ca.pem")]


def test_a_certificate_that_nobody_serves(certificate: Path) -> None:
    """A certificate with only http:// addresses is a mistake."""
    with pytest.raises(ConfigurationError, match="every --bind says http://"):
        _prepared("--certfile", str(certificate), "--bind", "http://127.0.0.1:2")


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    """A file without a certificate is named, in one line."""
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("hello")
    with pytest.raises(ConfigurationError, match=r"wrong\.pem"):
        _prepared("--certfile", str(wrong))


def test_tls_flags_are_tls_options(certificate: Path) -> None:
    """Each TLS flag becomes the option of the same meaning, and is checked at once."""
    pem = str(certificate)
    plan = _prepared(
        "--certfile", pem, "--keyfile", pem, "--ca-certs", pem, "--cert-reqs", "optional",
        "--tls-policy", "modern", "--handshake-timeout", "3", "--tickets", "1",
        "--tls-host", f"localhost={pem}:{pem}",
    )  # fmt: skip
    served = _served(plan)
    assert served.keys() == {"", "localhost"}
    assert served[""] == parse_ssl_options(
        {
            "certfile": pem,
            "keyfile": pem,
            "ca_certs": pem,
            "cert_reqs": "optional",
            "policy": "modern",
            "handshake_timeout": 3.0,
            "tickets": 1,
            "alpn": ["h2", "http/1.1", "http/1.0"],
            "hosts": {"localhost": {"certfile": pem, "keyfile": pem}},
        }
    )
    assert len(plan.on_reload) == len(_prepared().on_reload) + 1


@pytest.mark.parametrize(
    "ending", ["", "\n", "\r\n", "\nmore"], ids=["bare", "lf", "crlf", "lines"]
)
def test_a_password_file(tmp_path: Path, ending: str) -> None:
    """The key's password is the first line of a file."""
    from cryptography.hazmat.primitives import serialization

    issued = trustme.CA().issue_cert("localhost")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"s3cret pass"),
        )
    )
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    arguments = ["--certfile", str(tmp_path / "cert.pem"), "--keyfile", str(tmp_path / "key.pem")]
    password = tmp_path / "password"
    password.write_text("s3cret pass" + ending, newline="")
    assert _prepared(*arguments, "--key-password-file", str(password)).tls is not None
    password.write_text("wrong")
    with pytest.raises(ConfigurationError):
        _prepared(*arguments, "--key-password-file", str(password))
    with pytest.raises(ConfigurationError, match="--key-password-file"):
        _prepared(*arguments, "--key-password-file", str(tmp_path / "absent"))


EVERYTHING = (
    "--certfile absent.pem --keyfile absent.key --key-password-file absent --ca-certs absent "
    "--crl absent --tls-host a.example=absent:absent --hsts 60 --trust-file absent "
    "--audit-log absent/audit.jsonl --bind 127.0.0.1:0 --bind unix:absent/a.sock "
    "--http-redirect 0 --app-dir absent --max-connections 1000000000"
)

READ_FLAGS = """
import os, sys
from edgeserver.cli.flags import APPLY_ORDER, apply_flags
from edgeserver.cli.serve import serve
from edgeserver.runtime.plan import ServePlan
context = serve.make_context("serve", ["a:b", *sys.argv[1:]])
plan = ServePlan(target=context.params.pop("target"))
opened = []
sys.addaudithook(
    lambda event, arguments: opened.append((event, str(arguments[0])))
    if event in ("open", "os.mkdir", "socket.__new__", "subprocess.Popen", "os.fork") else None
)
apply_flags(APPLY_ORDER, context.params, plan)
print([each for each in opened if not each[1].endswith((".py", ".pyc"))], os.listdir())
print(sorted({"asyncio", "ssl", "cryptography"} & set(sys.modules)))
"""


@pytest.mark.parametrize("arguments", [EVERYTHING, "--dev-tls"], ids=["everything", "dev-tls"])
def test_reading_flags_has_no_side_effects(tmp_path: Path, arguments: str) -> None:
    """What flags name is neither read, made nor opened before the plan is prepared."""
    done = subprocess.run(
        [sys.executable, "-c", READ_FLAGS, *arguments.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[] []\n[]\n", "")


@pytest.mark.parametrize(
    ("binds", "hosts"),
    [
        (["127.0.0.1:8443"], ["127.0.0.1"]),
        (["127.0.0.1:8443", "[::1]:8443"], ["127.0.0.1", "::1"]),
        (["127.0.0.1:8443", "127.0.0.1:9443"], ["127.0.0.1"]),
        (["http://127.0.0.9:80", "127.0.0.1:8443", "unix:/run/x"], ["127.0.0.1"]),
        ([":8443", "127.0.0.1:9443"], [""]),
        (["0.0.0.0:8443", "127.0.0.1:9443", "[::1]:9443"], ["0.0.0.0", "::1"]),
        (["0.0.0.0:8443", "[::]:8443", "[::1]:9443"], ["0.0.0.0", "::"]),
    ],
    ids=["one", "two", "twice", "others", "every", "every-ipv4", "every-of-both"],
)
def test_http_redirect_listens_where_https_does(
    tmp_path: Path, binds: list[str], hosts: list[str]
) -> None:
    """There is a plain port on each host of https, and none where another one has it already."""
    pem = tmp_path / "server.pem"
    trustme.CA().issue_cert("a.test").private_key_and_cert_chain_pem.write_to_path(str(pem))
    flags = [flag for bind in binds for flag in ("--bind", bind)]
    plan = _plan("--certfile", str(pem), *flags, "--http-redirect", "8080=443")
    assert [(each.bind.host, each.bind.port) for each in plan.redirects] == [
        (host, 8080) for host in hosts
    ]
    assert plan.redirect_port == 443


@pytest.mark.parametrize("value", ["", "x", "65536", "80=0", "80=65536", "80=", "=443", "80=443=1"])
def test_http_redirect_refused(value: str) -> None:
    """What is no port, or no pair of them, is named with the form that is."""
    result = CliRunner().invoke(cli, ["serve", "a:b", "--http-redirect", value])
    assert result.exit_code == 2
    assert "8080=443" in " ".join(result.output.replace("│", " ").split())
