"""The files under docs/deploy/: each is taken by what reads it, and by our own command line."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeserver.cli.serve import serve as serve_command
from edgeserver.cli.sources import SettingSources
from edgeserver.config.bind import render_bind
from edgeserver.proxyheaders import TrustPolicy
from edgeserver.runtime.plan import ServePlan
from tests.e2e import proxies
from tests.e2e.site import address_of, fetch, serve

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"


def _plan(*arguments: str) -> ServePlan:
    """Return what the command line makes of the arguments of `edgeserver serve`."""
    params = serve_command.make_context("serve", list(arguments)).params
    return SettingSources.from_values(params, params.pop("target")).read()


def _unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as documented
    parser.read_string((DEPLOY / name).read_text())
    return parser


def _service_arguments() -> list[str]:
    command = shlex.split(_unit("edgeserver.service")["Service"]["ExecStart"])
    assert command[0].endswith("/edgeserver")
    assert command[1] == "serve"
    return [each.replace("/etc/edgeserver", str(DEPLOY)) for each in command[2:]]


def _yaml(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def _binds(plan: ServePlan) -> list[str]:
    return [render_bind(listener.bind) for listener in plan.listeners]


def test_the_units() -> None:
    """The service takes the sockets by the name that the socket unit gives them."""
    plan = _plan(*_service_arguments())
    name = _unit("edgeserver.socket")["Socket"]["FileDescriptorName"]
    assert _binds(plan) == [f"systemd:{name}"]
    service = _unit("edgeserver.service")["Service"]
    assert service["Type"] == "notify"
    assert int(service["TimeoutStopSec"]) > plan.stop_timeout_s
    assert service["RestartPreventExitStatus"] == "2"
    assert plan.effective is not None
    assert not plan.effective.warnings
    reload = shlex.split(service["ExecReload"])
    admin = tomllib.loads((DEPLOY / "edge.toml").read_text())["admin"]["admin"]
    assert reload[1:] == ["ctl", "--admin", *admin, "reload"]


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """Its own check finds nothing in them but that the program is not installed there."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for name in ("edgeserver.service", "edgeserver.socket"):
        text = (DEPLOY / name).read_text()
        (tmp_path / name).write_text(text.replace("/srv/app/.venv/bin/edgeserver", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    ours = [line for line in done.stderr.splitlines() if "edgeserver" in line]
    assert (done.returncode, ours) == (0, [])


def _container(name: str) -> list[str]:
    """Return the JSON array of an instruction of the Dockerfile, its exec form."""
    found = re.search(rf"^{name} (\[.*\])$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert found, "the shell form would keep signals from the server"
    value: list[str] = json.loads(found[1])
    return value


def test_the_dockerfile() -> None:
    """The server is the first process, and listens on every interface of the container."""
    assert _container("ENTRYPOINT") == ["edgeserver", "serve", "main:app"]
    plan = _plan("main:app", *_container("CMD"))
    assert _binds(plan) == [":8000"]
    assert "\nUSER app\n" in (DEPLOY / "Dockerfile").read_text()


def test_compose() -> None:
    """Only nginx, by the address that it is given, is believed; the stop has time enough."""
    (compose,) = _yaml("compose.yaml")
    services = compose["services"]
    plan = _plan("main:app", *services["app"]["command"])
    assert _binds(plan) == [":8000"]
    address = services["nginx"]["networks"]["inside"]["ipv4_address"]
    arguments = services["app"]["command"]
    assert arguments[arguments.index("--trust") + 1] == address
    assert int(services["app"]["stop_grace_period"].removesuffix("s")) > plan.stop_timeout_s
    assert "ports" not in services["app"]  # nobody reaches it past nginx


def test_kubernetes() -> None:
    """The probes ask the admin listener's port, and the pod has time to end."""
    deployment, service = _yaml("kubernetes.yaml")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    plan = _plan("main:app", *container["args"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert _binds(plan) == [f":{ports['http']}"]
    assert container["args"][container["args"].index("--admin") + 1] == f":{ports['admin']}"
    paths = {
        name: container[name]["httpGet"]["path"]
        for name in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert paths == {"startupProbe": "/ready", "readinessProbe": "/ready", "livenessProbe": "/live"}
    assert pod["terminationGracePeriodSeconds"] > plan.drain_delay_s + plan.stop_timeout_s
    assert service["spec"]["ports"][0]["targetPort"] == "http"


async def test_nginx(tmp_path: Path) -> None:
    """A real nginx takes the file; what a client claims of itself does not come through."""
    text = (DEPLOY / "nginx.conf").read_text()
    found = re.search(r"^http \{\n(.*)^\}\n\Z", text, re.DOTALL | re.MULTILINE)
    assert found
    async with serve(trust=TrustPolicy(["127.0.0.1"])) as server:
        host, port = address_of(server)
        blocks = found[1].replace("app:8000", f"{host}:{port}").replace("listen 8080", "listen 443")
        with proxies.nginx_blocks(tmp_path, blocks) as proxy:
            lies = b"X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"
            lies += b"X-Forwarded-Proto: https\r\n"
            seen = (await fetch(proxy.address, lies, source="127.0.0.3")).seen
    assert (seen["ip"], seen["scheme"]) == ("127.0.0.3", "http")
