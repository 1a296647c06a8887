"""What docs/how-to says about running day by day: rotation, signals, alerts, secrets."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from edgeserver.operate.metrics import FAMILIES, PREFIX
from tests.cli.processes import Process, serving, url_of
from tests.e2e.site import program
from tests.e2e.test_deploy import DEPLOY
from tests.e2e.test_how_to import HOW_TO, blocks, commands

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
"""
SYSTEMCTL = """#!{python}
import argparse, os, signal, subprocess, sys
parser = argparse.ArgumentParser()
parser.add_argument("verb", choices=["kill", "reload"])
parser.add_argument("--signal", "-s")
parser.add_argument("--kill-whom", choices=["main"])
parser.add_argument("unit")
called = parser.parse_args()
assert called.unit.removesuffix(".service") in ("app", "edgeserver")
if called.verb == "reload":
    sys.exit(subprocess.run({reload!r}).returncode)
assert called.kill_whom == "main"
os.kill({pid}, getattr(signal, "SIG" + called.signal))
"""


@contextlib.contextmanager
def service(directory: Path, *flags: str) -> Iterator[tuple[Process, dict[str, str]]]:
    """Run a server as the unit file does, with a `systemctl` that knows it alone.

    There is no systemd where tests run: what its unit says for a reload is what is run.
    """
    (directory / "main.py").write_text(APP)
    admin = f"unix:{directory / 'admin.sock'}"
    unit = (DEPLOY / "edgeserver.service").read_text()
    (told,) = re.findall(r"^ExecReload=\S*/edgeserver (.*)$", unit, re.MULTILINE)
    reload = [sys.executable, "-m", "edgeserver", *shlex.split(told)]
    reload = [admin if word.startswith("unix:") else word for word in reload]
    bin_directory = directory / "bin"
    bin_directory.mkdir()
    with serving(directory, "main:app", "--admin", admin, "--workers", "2", *flags) as process:
        script = SYSTEMCTL.format(python=sys.executable, pid=process.pid, reload=reload)
        (bin_directory / "systemctl").write_text(script)
        (bin_directory / "systemctl").chmod(0o755)
        url_of(process)  # as systemd does, which waits for READY
        yield process, os.environ | {"PATH": f"{bin_directory}:{os.environ['PATH']}"}


def ask(process: Process, path: str) -> None:
    """Ask the server for a path, whole."""
    port = int(url_of(process).rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            assert answer.read().endswith(b"ok")


@pytest.mark.parametrize(
    ("page", "flag", "name"),
    [
        pytest.param("log", "--access-log", "access.log", id="access-log"),
        pytest.param("audit-log", "--audit-log", "audit.jsonl", id="audit-log"),
    ],
)
def test_logrotate_takes_the_sample(page: str, flag: str, name: str, tmp_path: Path) -> None:
    """What was asked before the rotation is in the old file, what comes after in the new one."""
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o755)
    (sample,) = (each for each in blocks(page, "text") if "postrotate" in each)
    (tmp_path / "rotate.conf").write_text(sample.replace("/var/log/app", str(logs)))
    rotate = [program("logrotate"), "--force", "--state", str(tmp_path / "state")]
    with service(tmp_path, flag, str(logs / name)) as (process, environment):
        ask(process, "/before")
        process.until(lambda: "/before" in (logs / name).read_text())
        subprocess.run([*rotate, str(tmp_path / "rotate.conf")], check=True, env=environment)
        process.until(lambda: (logs / name).exists())
        ask(process, "/after")
        process.until(lambda: "/after" in (logs / name).read_text())
        old = (logs / f"{name}.1").read_text()
        assert "/before" in old
        assert "/after" not in old
        assert "/before" not in (logs / name).read_text()


def test_the_commands_of_every_day(tmp_path: Path) -> None:
    """Reloading, new code and the status, as the page for systemd has them."""
    section = (HOW_TO / "systemd.md").read_text().split("## Day by day")[1]
    typed = re.findall(r"^\$ sudo (.*)$", section, re.MULTILINE)
    every_day = [shlex.split(line, comments=True) for line in typed]
    assert [words[:2] for words in every_day] == [
        ["systemctl", "reload"],
        ["systemctl", "kill"],
        ["/srv/app/.venv/bin/edgeserver", "ctl"],
    ]
    with service(tmp_path) as (process, environment):
        for words in every_day:
            command = words.copy()
            if command[0].endswith("/edgeserver"):
                command[:1] = [sys.executable, "-m", "edgeserver"]
            command = [
                f"unix:{tmp_path / 'admin.sock'}" if word.startswith("unix:") else word
                for word in command
            ]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            if words[1] == "kill":
                process.wait_for("all workers were replaced")
        assert "ready" in done.stdout
        process.send(signal.SIGTERM)
        assert process.wait() == 0


# Monitoring.


def alerts() -> dict[str, str]:
    """Return the expressions of the page's alerts."""
    (rules,) = (each for each in blocks("monitor", "yaml") if "alert:" in each)
    (group,) = yaml.safe_load(rules)["groups"]
    return {
        rule["alert"]: rule["expr"] + str(rule.get("annotations", "")) for rule in group["rules"]
    }


@pytest.mark.parametrize(
    "text",
    [
        *(pytest.param(text, id=name) for name, text in alerts().items()),
        pytest.param((HOW_TO / "monitor.md").read_text().split("A latency quantile:")[1], id="p99"),
    ],
)
def test_the_alerts_ask_for_what_there_is(text: str) -> None:
    """Each metric exists with the labels that are asked of it."""
    names: dict[str, set[str]] = {}
    for family in FAMILIES:
        for suffix in ("", "_bucket", "_sum", "_count"):
            labels = {*family.labels, *(["le"] if suffix == "_bucket" else [])}
            names[f"{PREFIX}{family.name}{suffix}"] = labels
    found = re.findall(rf"({PREFIX}\w+)(?:\{{([^}}]*)\}})?", text)
    assert found
    labels = set().union(*(names[name] for name, _ in found))
    asked = {word for _, chosen in found for word in re.findall(r"(\w+)=", chosen)}
    asked |= {
        word.strip() for some in re.findall(r"by \(([\w, ]+)\)", text) for word in some.split(",")
    }
    asked |= set(re.findall(r"\$labels\.(\w+)", text))
    assert asked <= labels


def test_the_alerts_name_reasons_that_there_are() -> None:
    """A reason that no worker ends for would never fire."""
    reference = (HOW_TO.parent / "reference" / "metrics.md").read_text()
    known = set(re.findall(r"^  \| `([\w-]+)` \|", reference, re.MULTILINE))
    known |= set(re.findall(r"`(\w+)`", reference.split("Of `reloads_total`:")[1].split("\n\n")[0]))
    for alert, key in (("EdgeserverWorkersDie", "reason"), ("EdgeserverReloadFailed", "result")):
        (chosen,) = re.findall(rf'{key}=~"([^"]+)"', alerts()[alert])
        assert set(chosen.split("|")) <= known


def test_the_secret_is_the_one_that_the_manifest_mounts() -> None:
    """`kubectl create secret` makes the name and the key that the pod reads."""
    (command,) = commands("containers", "kubectl ")
    name = command[command.index("generic") + 1]
    (literal,) = (word for word in command if word.startswith("--from-literal="))
    key = literal.removeprefix("--from-literal=").partition("=")[0]
    deployment, _ = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (volume,) = (each for each in pod["volumes"] if each.get("secret"))
    assert volume["secret"]["secretName"] == name
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == volume["name"])
    assert f"{mount['mountPath']}/{key}" in container["args"]


def test_the_probes_of_the_monitoring_page() -> None:
    """The shorter manifest says what the whole one says."""
    (short,) = (each for each in blocks("monitor", "yaml") if "containers:" in each)
    (container,) = yaml.safe_load(short)["containers"]
    whole, _ = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    (other,) = whole["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == other[probe]["httpGet"]
    assert container["ports"] == other["ports"]
