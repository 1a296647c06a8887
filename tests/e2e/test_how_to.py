"""The samples of docs/how-to are run as they stand, but for addresses and files."""

from __future__ import annotations

import itertools
import re
import shlex
import ssl
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeserver.cli import cli
from edgeserver.cli.flags.proxies import GROUP as PROXIES
from edgeserver.cli.trust import build_policy
from edgeserver.proxyheaders import TrustPolicy
from tests.e2e import proxies
from tests.e2e.site import address_of, fetch, serve
from tests.tls import pki

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGES = ("nginx", "haproxy", "proxy-protocol", "cdn", "cloud-load-balancer")
LIE = b"X-Forwarded-For: 6.6.6.6\r\nX-Real-Ip: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"
HERE = "127.0.0.3"


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of one language on a page, without what indents them."""
    text = (HOW_TO / f"{page}.md").read_text()
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


def commands(page: str, start: str) -> list[list[str]]:
    """Return the commands on a page that begin so, as arguments."""
    text = "\n".join(blocks(page, "console")).replace("\\\n", " ")
    return [shlex.split(line[2:]) for line in text.splitlines() if line.startswith(f"$ {start}")]


def policy_of(command: list[str]) -> TrustPolicy | None:
    """Return the trust policy of a command as `serve` reads it."""
    values: dict[str, object] = {option.name or "": None for option in PROXIES.options}
    for flag, value in itertools.pairwise(command):
        name = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and name in values:
            values[name] = (value,) if name in ("trust", "trust_file") else value
    return build_policy(values)


@pytest.fixture
def ends(tmp_path: Path) -> tuple[dict[str, str], ssl.SSLContext]:
    """Return a pair for localhost, and the context of a client that trusts it."""
    authority = pki.make_ca("Root")
    return pki.write_pair(tmp_path, pki.make_leaf(authority)), pki.client_context(authority)


def with_files(sample: str, pair: dict[str, str], tmp_path: Path) -> str:
    """Return a sample with the files of a test in place of those that it names."""
    both = tmp_path / "both.pem"
    both.write_bytes(Path(pair["certfile"]).read_bytes() + Path(pair["keyfile"]).read_bytes())
    sample = sample.replace("/etc/nginx/shop.example.pem", pair["certfile"])
    sample = sample.replace("/etc/nginx/shop.example.key", pair["keyfile"])
    return sample.replace("/etc/haproxy/site.pem", str(both))


async def test_nginx(tmp_path: Path, ends: tuple[dict[str, str], ssl.SSLContext]) -> None:
    """The server block works, WebSockets too; the check finds the client from elsewhere alone."""
    pair, trusting = ends
    (sample, *_) = blocks("nginx", "nginx")
    (command, *_) = commands("nginx", "edgeserver serve")
    async with serve(trust=policy_of(command)) as server:
        host, port = address_of(server)
        sample = with_files(sample.replace("127.0.0.1:8000", f"{host}:{port}"), pair, tmp_path)
        with proxies.nginx_blocks(tmp_path, sample) as proxy:
            seen = (await fetch(proxy.address, LIE, tls=trusting)).seen
            # On the proxy's own machine the page's check shows what the client wrote.
            assert (seen["ip"], seen["scheme"]) == ("6.6.6.6", "https")
        server.set_trust(TrustPolicy(["127.0.0.1"]))
        with proxies.nginx_blocks(tmp_path, sample) as proxy:
            seen = (await fetch(proxy.address, LIE, tls=trusting, source=HERE)).seen
            assert (seen["ip"], seen["scheme"]) == (HERE, "https")
            assert dict(seen["fields"]).get("x-forwarded-for") == f"6.6.6.6, {HERE}"
            assert not {"x-real-ip", "forwarded", "upgrade"} & dict(seen["fields"]).keys()
            handshake = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            seen = (await fetch(proxy.address, handshake, tls=trusting, source=HERE)).seen
            assert dict(seen["fields"]).get("connection", "").lower() == "upgrade"
            assert dict(seen["fields"]).get("upgrade") == "websocket"


async def test_nginx_over_a_unix_socket(
    tmp_path: Path, ends: tuple[dict[str, str], ssl.SSLContext]
) -> None:
    """The upstream for a Unix socket stands in place of the first, with its own command."""
    pair, trusting = ends
    server_block, upstream, *_ = blocks("nginx", "nginx")
    _, command, *_ = commands("nginx", "edgeserver serve")
    assert "unix:/run/app.sock,mode=660" in command
    path = str(tmp_path / "app.sock")
    sample = upstream.replace("/run/app.sock", path) + server_block.partition("}\n")[2]
    async with serve(path=path, trust=policy_of(command)):
        with proxies.nginx_blocks(tmp_path, with_files(sample, pair, tmp_path)) as proxy:
            seen = (await fetch(proxy.address, LIE, tls=trusting, source=HERE)).seen
            assert (seen["ip"], seen["scheme"]) == (HERE, "https")


@pytest.mark.parametrize("number", [0, 1, 2], ids=["x-forwarded-for", "forwarded", "tcp"])
async def test_haproxy(
    number: int, tmp_path: Path, ends: tuple[dict[str, str], ssl.SSLContext]
) -> None:
    """Each mode works with the command that stands below it."""
    pair, trusting = ends
    samples = [block for block in blocks("haproxy", "text") if "frontend" in block]
    command = commands("haproxy", "edgeserver serve")[number]
    sample = samples[number]
    if "backend app\n" not in sample:
        sample += "\nbackend app\n" + samples[0].partition("backend app\n")[2]
    if number == 1 and proxies.haproxy_version(proxies.haproxy_binary()) < (2, 8):
        pytest.skip("HAProxy writes Forwarded from 2.8 on")
    is_tcp = "proxy=v2" in " ".join(command)
    policy = policy_of([word.replace("10.0.0.2", "127.0.0.1") for word in command])
    options = {"proxy_protocol": "v2", "ssl_options": pair} if is_tcp else {}
    async with serve(trust=policy, **options) as server:
        host, port = address_of(server)
        sample = re.sub(r"10\.0\.0\.5:\d+", f"{host}:{port}", sample)
        with proxies.haproxy_sections(tmp_path, with_files(sample, pair, tmp_path)) as proxy:
            seen = (await fetch(proxy.address, LIE, tls=trusting, source=HERE)).seen
            assert (seen["ip"], seen["scheme"]) == (HERE, "https")
            assert seen["verified"]


@pytest.mark.parametrize("page", PAGES)
def test_the_explanations_on_a_page(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each `audit explain` runs, and is fooled where the page says so alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cdn.txt").write_text((blocks("cdn", "text") or [""])[0])
    for command in commands(page, "edgeserver audit explain"):
        ran = CliRunner().invoke(cli, command[1:])
        assert "client " in ran.stdout, ran.output
        fooled = "client 6.6.6.6" in ran.stdout
        assert fooled == ("6.6.6.6, 127.0.0.1" in " ".join(command))
        assert fooled == ("proxy-named-as-client" in ran.stdout)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_on_a_page(page: str, tmp_path: Path) -> None:
    """The flags of each `serve` make a policy."""
    (tmp_path / "cdn.txt").write_text((blocks("cdn", "text") or [""])[0])
    for command in commands(page, "edgeserver serve"):
        words = [str(tmp_path / word) if word == "cdn.txt" else word for word in command]
        policy = policy_of(words)
        assert policy is not None
        assert policy.mode == "policy"


def test_versions_of_the_page_on_preludes() -> None:
    """What the page says of nginx's version is what nginx sends, beside what the server takes."""
    text = (HOW_TO / "proxy-protocol.md").read_text()
    before = text[: text.index("stream {")]
    assert "proxy=v1" in before[before.rindex("for nginx") :]
