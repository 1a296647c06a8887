"""Where a measurement is taken: the virtual environment of the peers, and what the machine is.

Decides which Python and which versions the servers run on. It must not know what is measured.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.model import CERTIFICATES_VARIABLE, HERE, SERVERS, BenchmarkError, Server
from benchmarks.procs import compiled_home

ROOT = HERE.parent
_REQUIREMENTS = HERE / "requirements.txt"
_OPTIONAL = HERE / "requirements-optional.txt"
_FACTS = """\
import importlib.util, importlib.metadata, json, platform, sys
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
print(json.dumps({
    "python": platform.python_implementation() + " " + platform.python_version(),
    "versions": {d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()},
    "missing": [name for name in sys.argv[1:] if not there(name)],
}))
"""


class NotReady(BenchmarkError):
    """Something that the measurement needs is not there; the message says what and the fix."""


def need_programs() -> None:
    """Raise `NotReady` unless the programs that every measurement needs are installed."""
    for program in ("wrk", "taskset"):
        if shutil.which(program) is None:
            raise NotReady(f"{program} is not installed (Debian: apt install wrk util-linux)")


def make_environment(python: str, say: Callable[[str], None]) -> Path:
    """Return the Python of an environment with edgeserver and its peers, made where it is missing.

    It stands in `.venv-bench/` beside the sources, one for each version of Python, and is made anew
    when the requirements change.
    """
    version, base = _probe(python)
    home = ROOT / ".venv-bench" / version
    stamp, wanted = home / "made-from", _fingerprint()
    inside = home / "bin" / "python"
    if inside.exists() and stamp.exists() and stamp.read_text() == wanted:
        return inside
    say(f"making {home} (once)")
    shutil.rmtree(home, ignore_errors=True)
    pip = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([base, "-m", "venv", str(home)], check=True)
        subprocess.run([*pip, "-r", str(_REQUIREMENTS), "-e", str(ROOT)], check=True)
    except subprocess.CalledProcessError as error:
        raise NotReady(f"the environment of the peers could not be made: {error}") from error
    for name in _OPTIONAL.read_text().splitlines():
        if (
            name
            and not name.startswith("#")
            and subprocess.run([*pip, name], check=False).returncode
        ):
            say(f"{name} does not install on this Python: what needs it is left out")
    stamp.write_text(wanted)
    return inside


def make_compiled(python: Path, say: Callable[[str], None]) -> None:
    """Compile edgeserver beside the environment of `python`, unless it is there as it is now.

    Where that fails nothing is there, and `missing` says so.
    """
    home = compiled_home(python)
    stamp, wanted = home / "made-from", _fingerprint(*sorted((ROOT / "edgeserver").rglob("*.py")))
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say(f"compiling edgeserver to {home} (a minute or two)")
    shutil.rmtree(home, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="bench-source-") as source:
        # not where the source is: what is compiled would be left beside it, and run from there
        shutil.copytree(ROOT / "edgeserver", Path(source, "edgeserver"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        ended = subprocess.run(
            [
                *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--no-deps", "--target", home, source),
            ],
            env={**os.environ, "HATCH_BUILD_HOOK_ENABLE_MYPYC": "1"},
            check=False,
        )
    if ended.returncode:
        say("edgeserver cannot be compiled here: needs a C compiler and the headers of Python")
        shutil.rmtree(home, ignore_errors=True)
        return
    stamp.write_text(wanted)


def make_certificates(python: Path, directory: str) -> None:
    """Make the certificates of a run, and tell all servers by the environment where they are.

    Raises:
        NotReady: They could not be made.
    """
    command = [str(python), str(SERVERS / "make_certificates.py"), directory]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NotReady(f"the certificates could not be made: {ended.stderr.strip()[-2000:]}")
    os.environ[CERTIFICATES_VARIABLE] = directory


def _probe(python: str) -> tuple[str, str]:
    """Return the version of `python`, and the Python that its virtual environment was made from.

    That one makes ours: the environment that `python` belongs to may be the one to be replaced.
    """
    probe = "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys._base_executable)"
    try:
        ended = subprocess.run([python, "-c", probe], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotReady(f"--python: {python!r} is no Python that runs: {error}") from error
    version, base = ended.stdout.splitlines()
    return version, base


def _fingerprint(*more: Path) -> str:
    digest = hashlib.sha256()
    for path in (_REQUIREMENTS, _OPTIONAL, ROOT / "pyproject.toml", *more):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _first_line(*command: str) -> str:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return (ended.stdout + ended.stderr).strip().partition("\n")[0]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def describe(python: Path, distributions: tuple[str, ...]) -> dict[str, object]:
    """Return what a reader must know of the machine, the Python and the versions."""
    facts = _facts(python, ())
    versions = facts["versions"]
    commit = _first_line("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    changed = _first_line("git", "-C", str(ROOT), "status", "--porcelain", "--", "edgeserver")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": facts["python"],
        "versions": {n: versions[n] for n in distributions if n in versions},
        "openssl": ssl.OPENSSL_VERSION,
        "wrk": _first_line("wrk", "-v").partition(" [")[0],
        "nginx": _first_line("nginx", "-v").partition(": ")[2],
        "commit": commit + (" with changes" if changed else ""),
    }


def _facts(python: Path, modules: tuple[str, ...]) -> dict[str, dict[str, str]]:
    ended = subprocess.run(
        [python, "-P", "-c", _FACTS, *modules], capture_output=True, text=True, check=True
    )
    facts: dict[str, dict[str, str]] = json.loads(ended.stdout)
    return facts


def missing(servers: tuple[Server, ...], python: Path) -> dict[str, str]:
    """Return, by name, why some of `servers` cannot be measured here."""
    modules = tuple(sorted({module for server in servers for module in server.modules}))
    absent = set(_facts(python, modules)["missing"])
    reasons = {}
    for server in servers:
        lacking = absent.intersection(server.modules)
        if lacking:
            reasons[server.name] = f"no {', '.join(sorted(lacking))} on this Python"
        elif server.compiled and not compiled_home(python).exists():
            reasons[server.name] = "edgeserver could not be compiled"
        elif server.program and shutil.which(server.program) is None:
            reasons[server.name] = f"{server.program} is not installed"
    return reasons
