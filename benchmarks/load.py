"""The load: exact bytes, sent from one core by wrk, or by a loader where wrk cannot.

Decides what goes over the wire and what was counted. It must not know which server answers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.model import HERE, BenchmarkError, Workload

# One run's numbers start this far from the last run's, so that no cache has seen them before.
RUN_STRIDE = 4_000_003
NUMBERS = 1 << 29

_FIXED = """\
local request = {head}{body}
wrk.format = function() return request end
"""
# LuaJIT brings `bit`; `vary` below is the same arithmetic in Python.
_VARIED = """\
local n = {start}
local format, rshift, band = string.format, bit.rshift, bit.band
request = function()
  n = band(n + 1, {mask})
  local path = format("/articles/%d/comments?page=%d", n, n % 7)
  local session = format("%08x%08x", n, 4294967295 - n)
  local client = format("%d.%d.%d.%d", 25 + rshift(n, 24),
    band(rshift(n, 16), 255), band(rshift(n, 8), 255), band(n, 255))
  return {pieces}
end
"""
_DONE = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\nWRK {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,' ..
    '"errors":%d}\\n', summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What was counted in one run."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float


class LoadFailed(BenchmarkError):
    """The load met errors, so that what was counted means nothing."""


def client_address(n: int) -> str:
    """Return the client's address in request `n` of a varied workload."""
    return f"{25 + (n >> 24)}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"


def path_of(n: int) -> bytes:
    """Return the path of request `n` of a varied workload."""
    return b"/articles/%d/comments?page=%d" % (n, n % 7)


def vary(template: bytes, n: int) -> bytes:
    """Return request `n` of a varied workload."""
    return (
        template.replace(b"@PATH@", path_of(n))
        .replace(b"@SESSION@", b"%08x%08x" % (n, 0xFFFFFFFF - n))
        .replace(b"@CLIENT@", client_address(n).encode())
    )


def _lua_string(data: bytes) -> str:
    return '"' + "".join(f"\\{byte:03d}" for byte in data) + '"'


def _varied_pieces(template: bytes) -> str:
    pieces = []
    for index, piece in enumerate(template.split(b"@")):
        # Outside of the placeholders no template holds an "@": the odd pieces are their names.
        pieces.append(_lua_string(piece) if index % 2 == 0 else piece.decode().lower())
    return " .. ".join(pieces)


def lua_script(workload: Workload, run: int) -> str:
    """Return the wrk script that sends `workload`; `run` numbers the runs of one report."""
    template = workload.template()
    if workload.varied:
        start = run * RUN_STRIDE % NUMBERS
        script = _VARIED.format(start=start, mask=NUMBERS - 1, pieces=_varied_pieces(template))
    else:
        body = f' .. string.rep("x", {workload.body_bytes})' if workload.body_bytes else ""
        script = _FIXED.format(head=_lua_string(template), body=body)
    return script + _DONE


def run_load(workload: Workload, port: int, *, seconds: int, core: int, run: int) -> Load:
    """Send `workload` to `port` for `seconds` from `core`.

    Raises:
        LoadFailed: Some connection or answer went wrong.
    """
    pinned = ["taskset", "-c", str(core)]
    if workload.loader != "wrk":
        return _counted([*pinned, *_loader(workload, port, seconds)], workload.loader)
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "load.lua"
        script.write_text(lua_script(workload, run))
        scheme = "https" if workload.tls else "http"
        command = [*pinned, "wrk", "-t1", f"-c{workload.connections}", f"-d{seconds}s"]
        return _counted(
            [*command, "-s", str(script), f"{scheme}://127.0.0.1:{port}/"], workload.loader
        )


def _loader(workload: Workload, port: int, seconds: int) -> list[str]:
    """Return the command of one of our own loaders, which run on the harness's Python."""
    return [
        *(sys.executable, "-m", f"benchmarks.loaders.{workload.loader}", str(port)),
        *("--seconds", str(seconds), "--connections", str(workload.connections)),
        *("--request", str(workload.path), *workload.loader_options),
    ]


def _counted(command: list[str], name: str) -> Load:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parent)
    line = next((x for x in ended.stdout.splitlines() if x.startswith("WRK ")), None)
    if line is None:
        raise LoadFailed(f"{name}: {(ended.stdout + ended.stderr).strip()[-2000:]}")
    counted = json.loads(line.removeprefix("WRK "))
    if counted["errors"] or not counted["requests"]:
        raise LoadFailed(f"{name} met errors: {ended.stdout.strip()}")
    return Load(
        counted["requests"],
        counted["duration_us"] / 1e6,
        counted["p50_us"] / 1e3,
        counted["p99_us"] / 1e3,
    )
