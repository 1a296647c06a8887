"""The fixes in the messages of the command line: whoever does what they say gets on.

Each row is a wrong call, the part of its message that is the fix, and the call that somebody makes
of it; that one starts, or is told of something else that is wrong with it.
"""

import re
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgeserver.cli import cli
from edgeserver.cli.flags import APPLY_ORDER, apply_flags
from edgeserver.cli.serve import serve
from edgeserver.config import foreign
from edgeserver.config.foreign import explain_flag
from edgeserver.errors import EdgeServerError
from edgeserver.runtime.loading import load_application
from edgeserver.runtime.plan import ServePlan
from edgeserver.runtime.prepare import prepare
from tests.tls import pki

APPLICATION = """
async def app(scope, receive, send): ...
def create_app(): return app
async def create_later(): return app
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory with an application and a few files."""
    (tmp_path / "advised.py").write_text(APPLICATION)
    (tmp_path / "ranges").write_text("10.0.0.0/8\n")
    (tmp_path / "all").write_text("0.0.0.0/0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    return tmp_path


def attempt(arguments: list[str]) -> str:
    """Return what is said of a call of `serve`; nothing where it would start to listen."""
    try:
        context = serve.make_context("serve", arguments)
        plan = ServePlan(target=context.params.pop("target"))
        apply_flags(APPLY_ORDER, context.params, plan)
        prepare(plan)
        load_application(plan.target, app_dir=plan.app_dir, factory=plan.factory)
    except click.UsageError as error:
        return error.format_message()
    except EdgeServerError as error:
        return str(error)
    return ""


BINDS = [
    ("::", "[::]:8000"),
    ("::1", "[::1]:8000"),
    ("::1:8000", "[::1]:8000"),
    ("::1:", "[::1]:8000"),
    ("fe80::1%lo", "[fe80::1%lo]:8000"),
    ("2001:db8::7", "[2001:db8::7]:8000"),
    ("[::1]", "[::1]:8000"),
    ("localhost", "localhost:8000"),
    ("http://127.0.0.1", "http://127.0.0.1:8000"),
    ("http:127.0.0.1:80", "http://127.0.0.1:80"),
    ("tcp://127.0.0.1:80", "http://127.0.0.1:80"),
    ("http://127.0.0.1:80/", "http://127.0.0.1:80"),
    ("127.0.0.1:80/path", "127.0.0.1:80"),
    ("8000", "127.0.0.1:8000"),
    ("", "127.0.0.1:8000"),
    ("unix:///run/app.sock", "unix:/run/app.sock"),
    ("fd://3", "fd:3"),
    ("unix:", "unix:/run/app.sock"),
    ("unix:a.sock,mode=rw", "mode=660"),
    ("a:b:c", "127.0.0.1:8000"),
    ("[x]:80", "[::1]:8000"),
    ("127.0.0.1:0,prxy=v2", "proxy=v1"),
]


@pytest.mark.parametrize(("wrong", "right"), BINDS, ids=[wrong or "empty" for wrong, _ in BINDS])
def test_binds(wrong: str, right: str) -> None:
    """The address that a message tells to write is one."""
    said = attempt(["advised:app", f"--bind={wrong}"])
    advised = re.search(r"; write (?:for example )?([^ ]+?)(?:,? |,?\Z)", said)
    assert advised is not None, said
    assert advised[1] == right
    if "=" in right:
        right = f"unix:a.sock,{right}"
    assert attempt(["advised:app", f"--bind={right}", "--trust", "unix:"]) == ""


# The wrong flags, the fix in the message, and the flags of whoever follows it.
FIXES = [
    ("--bind https://:0", "--dev-tls", "--bind https://:0 --dev-tls"),
    ("--dev-tls --bind http://:0", "--dev-tls is given", "--bind http://:0"),
    ("--dev-tls --bind http://:0", "or leave it out", "--bind http://:0"),
    ("--dev-tls --bind http://:0", "--bind https://HOST:PORT", "--dev-tls --bind https://:0"),
    ("--bind :0,proxy=v2", "--trust", "--bind :0,proxy=v2 --trust 10.0.0.5"),
    ("--bind :0,proxy=v2 --xheaders", "--trust in place of --xheaders",
     "--bind :0,proxy=v2 --trust 10.0.0.5"),
    ("--bind :0,mode=660", "leave it out", "--bind :0"),
    ("--http-redirect 0", "add --bind https://HOST:PORT and --certfile FILE",
     "--http-redirect 0 --bind https://:0 --dev-tls"),
    ("--http-redirect 0 --dev-tls --bind https://unix:a", "add --bind https://HOST:PORT",
     "--http-redirect 0 --dev-tls --bind https://unix:a --bind https://:0"),
    ("--trust 0.0.0.0/0", "such as 10.0.0.5", "--trust 10.0.0.5"),
    ("--trust ::/1,8000::/1", "such as 10.0.0.5", "--trust 10.0.0.5"),
    ("--trust 10.0.0.0/33", "32 is 10.0.0.0 alone", "--trust 10.0.0.0/32"),
    ("--trust *", "10.0.0.0/8, 'unix:'", "--trust 10.0.0.0/8 --trust unix:"),
    ("--trust any", "loopback, private", "--trust loopback,private"),
    ("--trust 10.0.0.1:80", "the address alone", "--trust 10.0.0.1"),
    ("--trust=", "leave the flag out", ""),
    ("--trust 10.0.0.1 --xheaders", "--trust if in doubt", "--trust 10.0.0.1"),
    ("--trusted-downstream 10.0.0.1", "add --xheaders", "--trusted-downstream 10.0.0.1 --xheaders"),
    ("--trusted-downstream 10.0.0.1", "or use --trust", "--trust 10.0.0.1"),
    ("--xheaders --trusted-downstream 0.0.0.0/0", "such as 10.0.0.5",
     "--xheaders --trusted-downstream 10.0.0.5"),
    ("--source forwarded", "add --trust or", "--source forwarded --trust 10.0.0.1"),
    ("--source forwarded", "or --trust-file", "--source forwarded --trust-file ranges"),
    ("--trust 10.0.0.1 --source host", "'x-real-ip'", "--trust 10.0.0.1 --source x-real-ip"),
    ("--trust 10.0.0.1 --source X-Real-Ip --proto-header x-real-ip", "--proto-header x-real-ip",
     "--trust 10.0.0.1 --source X-Real-Ip"),
    ("--trust 10.0.0.1 --source forwarded --proto-header x-p", "--proto-header none",
     "--trust 10.0.0.1 --source forwarded --proto-header none"),
    ("--trust 10.0.0.1 --source forwarded --proto-header x-p", "leave --proto-header out",
     "--trust 10.0.0.1 --source forwarded"),
    ("--trust 10.0.0.1 --source my_ip", "write 'my-ip'", "--trust 10.0.0.1 --source my-ip"),
    ("--trust-file absent", "--trust-file absent: ", "--trust-file ranges"),
    ("--trust-file all", "--trust-file all:1: ", "--trust-file ranges"),
    ("--dev-tls --certfile a.pem", "leave --dev-tls out", ""),
    ("--dev-tls --keyfile a.key", "leave --dev-tls out", ""),
    ("--dev-tls --key-password-file a", "leave --dev-tls out", ""),
    ("--dev-tls --cert-reqs required", "set --ca-certs",
     "--dev-tls --cert-reqs required --ca-certs certs/ca.pem"),
    ("--dev-tls --crl absent", 'set --cert-reqs to "optional"',
     "--dev-tls --cert-reqs optional --ca-certs certs/ca.pem"),
    ("--dev-tls --ciphers nonsense", "remove --ciphers", "--dev-tls"),
    ("--dev-tls --tls-host a.b=c:d", "--tls-host a.b: certfile",
     "--dev-tls --tls-host a.b=certs/server.pem:certs/server.key"),
    ("--dev-tls --tls-host a.b", "write NAME=CERT:KEY",
     "--dev-tls --tls-host a.b=certs/server.pem:certs/server.key"),
    ("--dev-tls --tls-host a=certs/server.pem:certs/server.key --tls-host a=b:c", "give it once",
     "--dev-tls --tls-host a=certs/server.pem:certs/server.key"),
    ("--hsts 60", "add --certfile FILE", "--hsts 60 --dev-tls"),
    ("--certfile=", "--certfile must be", "--dev-tls"),
    ("--audit-sample 0.5", "add --audit-log FILE", "--audit-sample 0.5 --audit-log a"),
    ("--audit-findings", "add --audit-log FILE", "--audit-findings --audit-log a"),
    ("--audit-log a --audit-findings --audit-sample 0.5", "give one", "--audit-log a"),
    ("--audit-log absent/a", "that this user may write", "--audit-log a"),
    ("--audit-log a --audit-sample 2", "such as 0.01", "--audit-log a --audit-sample 0.01"),
    ("--no-access-log --access-log-format json", "give one", "--no-access-log"),
    ("--no-access-log --access-log a", "give one", "--access-log a"),
    ("--access-log off --access-log-sample 0.5", "give one", "--access-log off"),
    ("--access-log=", "name a file", "--access-log off"),
    ("--access-log absent/a", "or - for standard output", "--access-log -"),
    ("--log-config a --log-format json", "leave --log-format out", "--access-log-format json"),
    ("--max-body-size lots", "64K", "--max-body-size 64K"),
    ("--max-held 0", "write 512M", "--max-held 512M"),
    ("--workers 0", "from 1 to 1024", "--workers 1024"),
    ("--body-timeout nan", "at most 31536000", "--body-timeout 31536000"),
    ("--app-dir absent", "the one that holds the module", "--app-dir ."),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "fix", "right"), FIXES, ids=[wrong for wrong, _, _ in FIXES])
def test_flags(wrong: str, fix: str, right: str) -> None:
    """The flags that a message tells to add, to leave out or to write are right."""
    if "certs/" in wrong + right:
        assert attempt(["advised:app", "--dev-tls"]) == ""
    said = attempt(["advised:app", *wrong.split()])
    assert fix in said
    assert not re.search(r"allow_all|pass (?!--)|=None|ca_certs|client_auth|max_hops=", said)
    assert attempt(["advised:app", *right.split()]) == ""


TARGETS = [
    ("advised.py", "advised:app"),
    ("advised.py:create_app", "advised:create_app"),
    ("./advised.py", "advised:app"),
    ("advised", "advised:app"),
    ("advised:create_app()", "advised:create_app --factory"),
    ("{directory}/advised.py", "advised:app --app-dir {directory}"),
    ("../{name}/advised.py:app", "advised:app --app-dir ../{name}"),
    ("advised:ap", "app"),
    ("advise:app", "advised"),
]


@pytest.mark.parametrize(("wrong", "right"), TARGETS, ids=[wrong for wrong, _ in TARGETS])
def test_targets(directory: Path, wrong: str, right: str) -> None:
    """The application that a message tells to name is found."""
    places = {"directory": str(directory), "name": directory.name}
    wrong, right = wrong.format_map(places), right.format_map(places)
    said = attempt([wrong])
    advised = re.search(r"; write (.+?)(?:, (?:say|which|where)|\Z)|did you mean (\w+)", said)
    assert advised is not None, said
    assert (advised[1] or advised[2]) == right
    if ":" not in right:
        right = {"app": "advised:app", "advised": "advised:app"}[right]
    assert attempt(right.split()) == ""


def test_a_factory_is_a_plain_function() -> None:
    """A coroutine function is told what to become."""
    said = attempt(["advised:create_later", "--factory"])
    assert "make it a plain one (def)" in said
    assert attempt(["advised:create_app", "--factory"]) == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--bind", "0.0.0.0:$PORT"],
        ["--bind", "$PORT"],
        ["--bind", ":${PORT:-8000}"],
        ["--workers", "$WEB_CONCURRENCY"],
        ["--trust", "$PROXY"],
        ["--certfile", "$CERTS/fullchain.pem"],
    ],
    ids=lambda arguments: arguments[1],
)
def test_variables_that_nobody_replaced(arguments: list[str]) -> None:
    """The exec form of a Dockerfile passes variables on as they stand, which is said."""
    result = CliRunner().invoke(cli, ["serve", "advised:app", *arguments])
    variable = re.search(r"\$\{?\w+[^/]*\}?", arguments[1])
    assert variable is not None
    assert result.exit_code == 2
    assert f"({variable[0]} came as it stands: a shell replaces variables" in result.output
    assert result.output.count("\n") == 1


def test_a_bind_that_is_a_variable_alone() -> None:
    """Whoever forgot the colon is told of it, and of nothing that makes no sense."""
    said = attempt(["advised:app", "--bind", "$PORT"])
    assert "the host is missing; write :$PORT" in said
    assert "8000" not in said


def test_variables_of_the_advice_are_not_the_users(tmp_path: Path) -> None:
    """A command that a message advises may hold a variable, and nobody has forgotten it."""
    certificate = pki.write_pair(tmp_path, pki.make_leaf(pki.make_ca("Root")))
    key = Path(certificate["keyfile"])
    key.write_text(key.read_text().replace("\n", "\\n"))
    files = ["--certfile", certificate["certfile"], "--keyfile", certificate["keyfile"]]
    said = CliRunner().invoke(cli, ["serve", "advised:app", *files]).output
    assert "$PEM" in said
    assert "came as it stands" not in said


@pytest.mark.parametrize("name", ["nginx", "unix", "proxy", "localhost", "traefik"])
def test_the_name_of_a_proxy_is_not_a_slip_of_the_pen(name: str) -> None:
    """A name is told that names are not resolved, and no other word that looks alike."""
    said = attempt(["advised:app", "--trust", name])
    assert "did you mean" not in said
    assert "'unix:'" in said


def test_an_application_without_serve() -> None:
    """Who calls the command as other servers are called is told the word that is missing."""
    result = CliRunner().invoke(cli, ["advised:app"])
    assert (result.exit_code, "write edgeserver serve advised:app" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["serv", "advised:app"], "serve"),
        (["run", "advised:app"], "serve"),
        (["explain", "--peer", "10.0.0.5"], "audit explain"),
        (["reload"], "ctl reload"),
        (["help"], "--help"),
        (["version"], "--version"),
    ],
)
def test_commands_are_found(typed: list[str], meant: str) -> None:
    """A command that is typed wrongly, or belongs into a group, is named as it is written."""
    result = CliRunner().invoke(cli, typed)
    said = f"no such command '{typed[0]}'; did you mean edgeserver {meant}? (see edgeserver --help)"
    assert (result.exit_code, result.output) == (2, f"edgeserver: {said}\n")


def test_a_command_like_no_other() -> None:
    """What resembles nothing is not guessed at."""
    result = CliRunner().invoke(cli, ["xyzzy"])
    assert result.output == "edgeserver: no such command 'xyzzy' (see edgeserver --help)\n"


def test_a_flag_without_its_value() -> None:
    """The help that is named is that of the command which has the flag."""
    result = CliRunner().invoke(cli, ["serve", "advised:app", "-b"])
    assert result.output == (
        "edgeserver: option '-b' requires an argument (see edgeserver serve --help)\n"
    )


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["serve", "advised:app", "--wokers", "3"], "--workers"),
        (["serve", "advised:app", "--reuseport"], "--reuse-port"),
        (["serve", "advised:app", "--max-bdy-size", "3"], "--max-body-size"),
        (["serve", "advised:app", "--prot", "3"], "--port"),
        (["serve", "advised:app", "--no-htp2"], "--no-http2"),
        (["audit", "explain", "--trst", "10.0.0.5"], "--trust"),
        (["ctl", "--admn", "unix:/a", "status"], "--admin"),
        (["--verison"], "--version"),
        (["-v"], "--version"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_slips_are_told(typed: list[str], meant: str) -> None:
    """A flag of ours with one letter wrong is named, in every command."""
    result = CliRunner().invoke(cli, typed)
    (flag,) = set(typed) & {"--wokers", "--reuseport", "--max-bdy-size", "--prot", "--no-htp2",
                            "--trst", "--admn", "--verison", "-v"}  # fmt: skip
    assert result.exit_code == 2
    assert f"edgeserver: no such option {flag}; did you mean {meant}? (see " in result.output


@pytest.mark.parametrize("flag", ["--portal", "--wkers", "--xyzzy"])
def test_flags_are_not_guessed(flag: str) -> None:
    """A flag that is spelled alike is not offered: `--portal` is not `--protocol`."""
    result = CliRunner().invoke(cli, ["serve", "advised:app", flag, "3"])
    assert result.output == f"edgeserver: no such option {flag} (see edgeserver serve --help)\n"


@pytest.mark.parametrize(
    ("flag", "answer"),
    [
        ("--forwarded-allow-ips", "--trust 10.0.0.5, which names your proxies"),
        ("--proxy-headers", "--trust 10.0.0.5, which names your proxies"),
        ("--uds", "--bind unix:PATH"),
        ("--ssl-keyfile", "--keyfile FILE"),
        ("--limit-max-requests", "--max-requests N"),
        ("--timeout-keep-alive", "--idle-connection-timeout SECONDS"),
        ("-k", "seen from the application, or said with --interface"),
        ("--http", "not needed: HTTP is our own, WebSockets are there"),
        ("--access-logfile", "--access-log -|FILE|off"),
        ("--preload", "not needed: each worker loads the application itself"),
        ("-p", "--port PORT; a file for the pid is not needed under systemd or in a container"),
    ],
)
def test_flags_of_other_servers(flag: str, answer: str) -> None:
    """A flag that people bring along is answered by the one that means the same."""
    result = CliRunner().invoke(cli, ["serve", "advised:app", flag, "3"])
    said = f"edgeserver: no such option {flag}; here it is {answer} (see edgeserver serve --help)\n"
    assert result.output == said


def test_answers_are_flags() -> None:
    """Each flag that an answer names is one of ours, and no answer is given for one of ours."""
    known = {name for option in serve.params for name in (*option.opts, *option.secondary_opts)}
    for flag, answer in foreign_flags().items():
        assert flag not in known
        assert set(re.findall(r"--[a-z-]+", answer)) <= known


def foreign_flags() -> dict[str, str]:
    """Return the flags that are answered, as the module's text has them."""
    text = Path(foreign.__file__).read_text()
    flags = set(re.findall(r"(?<=[ \"])--?[A-Za-z][a-z0-9-]*", text))
    return {flag: answer for flag in flags if (answer := explain_flag(flag))}
