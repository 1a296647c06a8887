"""The audit log: what a line holds, and that no trouble with it reaches a request."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeserver.audit.log import MAX_PENDING_BYTES, MAX_TARGET, AuditLog, render_audit_line
from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders import Finding, Hop, Provenance, Resolved

NOW = 1_700_000_000.25

NASTY = b'\x1b[2J"\r\n\xff\\'


def hop(address: str | None, claimed: bytes, field: str, verdict: str) -> Hop:
    """Return a hop with what matters here."""
    return Hop(
        address=address, port=None, zone=None, claimed=claimed, said_by="TCP", field=field,
        line=None, index=None, rule="10.0.0.0/8", verdict=verdict, why="because",
    )  # fmt: skip


def proof(*, findings: bool = False) -> Provenance:
    """Return what a policy would explain."""
    return Provenance(
        resolved=Resolved("203.0.113.9", None, None, "https", True, "first-untrusted"),
        hops=(
            hop("10.0.0.2", b"10.0.0.2", "TCP", "trusted"),
            hop("203.0.113.9", b"203.0.113.9", "x-forwarded-for", "client"),
            hop(None, NASTY, "x-forwarded-for", "ignored"),
        ),
        findings=(Finding("conflict", "warning", "X-Real-Ip differs", "drop it"),) * findings,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the log goes."""
    return tmp_path / "audit.log"


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return an explanation that waits, and make sure that it ends."""
    gate = Gate()
    yield gate
    gate.open.set()


class Gate:
    """An explanation that keeps the writer busy until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Event()

    def __call__(self) -> Provenance:
        """Wait, then explain."""
        self.entered.set()
        assert self.open.wait(10)
        return proof()


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines written so far."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def targets(path: Path) -> list[str]:
    """Return which requests have a line."""
    return [line["target"] for line in lines(path)]


def test_a_line_holds_the_proof(path: Path) -> None:
    """A line says when, who connected, which hops were judged how, and who the client is."""
    log = AuditLog(path)
    log.record(lambda: proof(findings=True), "GET", "/a?b", NOW)
    log.close()
    (line,) = lines(path)
    assert list(line)[:5] == ["v", "time", "peer", "method", "target"]
    assert line["v"] == 2
    assert line["time"] == "2023-11-14T22:13:20.250Z"
    assert (line["peer"], line["method"], line["target"]) == ("10.0.0.2", "GET", "/a?b")
    assert (line["client"], line["scheme"], line["reason"]) == (
        "203.0.113.9", "https", "first-untrusted",
    )  # fmt: skip
    assert [hop["verdict"] for hop in line["hops"]] == ["trusted", "client", "ignored"]
    assert line["findings"][0]["code"] == "conflict"
    assert (log.written, log.dropped, log.errors, log.pending) == (1, 0, 0, 0)


def test_claims_are_escaped(path: Path) -> None:
    """What a stranger wrote can neither end a line nor reach a terminal, in JSON or out of it."""
    log = AuditLog(path)
    log.record(proof, "G\x1bET", "/\r\n" + "x" * MAX_TARGET, NOW)
    log.close()
    written = path.read_bytes()
    assert written.count(b"\n") == 1
    assert written.rstrip(b"\n").decode("ascii").isprintable()
    (line,) = lines(path)
    assert line["hops"][2]["claimed"] == '\\x1b[2J"\\x0d\\x0a\\xff\\\\'
    assert line["method"] == "G\\x1bET"
    assert line["target"].startswith("/\\x0d\\x0ax")
    assert line["target"].endswith(" ...(+3 bytes)")


def test_no_hops_no_peer() -> None:
    """A proof without hops, which no policy gives, still makes a line."""
    provenance = Provenance(resolved=proof().resolved, hops=())
    line = json.loads(render_audit_line(provenance, method="GET", target="/", now=0))
    assert (line["peer"], line["time"]) == (None, "1970-01-01T00:00:00.000Z")


def test_findings_only(path: Path) -> None:
    """With mode `findings` an unremarkable request has no line and is no loss."""
    log = AuditLog(path, mode="findings")
    log.record(proof, "GET", "/plain", NOW)
    log.record(lambda: proof(findings=True), "GET", "/odd", NOW)
    log.close()
    assert targets(path) == ["/odd"]
    assert (log.written, log.dropped) == (1, 0)


def test_sample(path: Path) -> None:
    """With mode `sample` a request is explained where its number is below the share."""
    numbers = iter([0.1, 0.25, 0.9, 0.0])
    log = AuditLog(path, mode="sample", sample=0.25, choose=lambda: next(numbers))
    for target in ("/a", "/b", "/c", "/d"):
        log.record(proof, "GET", target, NOW)
    log.close()
    assert targets(path) == ["/a", "/d"]
    assert log.dropped == 0


def test_explained_in_another_thread(path: Path) -> None:
    """The caller of `record` explains nothing itself, and no thread runs before the first."""
    before = threading.active_count()
    log = AuditLog(path)
    assert threading.active_count() == before
    seen: list[str] = []

    def explain() -> Provenance:
        seen.append(threading.current_thread().name)
        return proof()

    log.record(explain, "GET", "/", NOW)
    assert log.flush()
    assert seen == ["edgeserver-audit"]
    assert targets(path) == ["/"]
    log.close()
    assert threading.active_count() == before


def test_order_and_number_are_kept(path: Path) -> None:
    """Many requests, more than one batch of them, are written once each and in order."""
    log = AuditLog(path, max_pending=5000)
    expected = [f"/{number}" + "x" * 200 for number in range(500)]
    for target in expected:
        log.record(proof, "GET", target, NOW)
    log.close()
    assert targets(path) == expected
    assert log.written == 500


def test_a_full_queue_drops_and_counts(
    path: Path, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """What does not fit is dropped, counted and told; what fits is written."""
    log = AuditLog(path, max_pending=2)
    log.record(gate, "GET", "/busy", NOW)
    assert gate.entered.wait(10)
    for target in ("/1", "/2", "/3", "/4"):
        log.record(proof, "GET", target, NOW)
    assert (log.dropped, log.pending) == (2, 2)
    gate.open.set()
    log.close()
    assert targets(path) == ["/busy", "/1", "/2"]
    assert (log.written, log.dropped, log.errors) == (3, 2, 0)
    record = caplog.records[-1]
    assert record.name == "edgeserver.general"
    assert "2 lines dropped so far, of them 2 because 2 requests or 8388608 bytes may wait" in (
        record.getMessage()
    )


def test_large_heads_are_bounded_in_bytes(path: Path, gate: Gate) -> None:
    """Proofs that hold much are dropped and counted long before their number is too high."""
    log = AuditLog(path)
    log.record(gate, "GET", "/busy", NOW)
    assert gate.entered.wait(10)
    head = [(b"x-forwarded-for", b"1" * 1000)] * 65
    for _ in range(1000):
        log.record(proof, "GET", "/large", NOW, pairs=head)
    assert MAX_PENDING_BYTES * 0.98 < log.pending_bytes <= MAX_PENDING_BYTES
    assert 100 < log.pending < 130
    assert log.dropped == 1001 - log.pending - 1
    kept = log.pending
    gate.open.set()
    assert log.flush(30)
    assert (log.pending, log.pending_bytes) == (0, 0)
    log.record(proof, "GET", "/after", NOW, pairs=head)
    log.close()
    assert targets(path) == ["/busy", *["/large"] * kept, "/after"]


def test_many_ordinary_heads_fit(path: Path, gate: Gate) -> None:
    """With a browser's ten fields it is the number of requests that is the bound."""
    log = AuditLog(path)
    log.record(gate, "GET", "/busy", NOW)
    assert gate.entered.wait(10)
    head = [(b"x-field-%d" % number, b"v" * 80) for number in range(10)]
    for _ in range(1024):
        log.record(proof, "GET", "/", NOW, pairs=head)
    assert (log.pending, log.dropped) == (1024, 0)
    gate.open.set()
    log.close(30)
    assert log.written == 1025


def test_what_is_told_is_let_go(path: Path) -> None:
    """Once its line is written nothing of a request is held, though no other follows."""

    class Explanation:
        def __call__(self) -> Provenance:
            return proof()

    log = AuditLog(path)
    explain = Explanation()
    gone = threading.Event()
    reference = weakref.ref(explain, lambda _: gone.set())
    log.record(explain, "GET", "/", NOW)
    del explain
    assert gone.wait(10)
    assert reference() is None
    log.close()


def test_a_full_disk_drops_counts_and_warns_once(caplog: pytest.LogCaptureFixture) -> None:
    """A disk without room loses lines, is told of once a minute, and stops nothing."""
    log = AuditLog("/dev/full")
    for _ in range(3):
        log.record(proof, "GET", "/", NOW)
        assert log.flush()
    assert (log.written, log.dropped, log.errors) == (0, 3, 3)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "audit log /dev/full failed: OSError: [Errno 28]" in record.getMessage()
    log.close()
    assert caplog.records[-1].getMessage().endswith("3 lines dropped so far")
    assert len(caplog.records) == 2


def test_a_torn_line_spoils_no_other(path: Path) -> None:
    """When a line was written by half, the next one begins on a new line and is whole."""
    run_python(f"""
import os, resource, signal
from edgeserver.audit.log import AuditLog
from tests.audit.test_log import proof
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file past its limit is then EFBIG
log = AuditLog({str(path)!r})
log.record(proof, "GET", "/whole", 0)
log.flush()
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat({str(path)!r}).st_size + 20, limits[1]))
log.record(proof, "GET", "/torn", 0)
log.flush()
assert (log.written, log.dropped, log.errors) == (1, 1, 1)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
log.record(proof, "GET", "/after", 0)
log.close()
assert log.written == 2
""")
    whole, torn, after = path.read_bytes().splitlines()
    assert json.loads(whole)["target"] == "/whole"
    assert len(torn) == 20
    assert json.loads(after)["target"] == "/after"


def run_python(program: str) -> str:
    """Run a program in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_flushed_at_exit(path: Path) -> None:
    """A process that just ends, without `close`, has written every line."""
    run_python(f"""
from edgeserver.audit.log import AuditLog
from tests.audit.test_log import proof
log = AuditLog({str(path)!r})
for number in range(50):
    log.record(proof, "GET", f"/{{number}}", 0)
""")
    assert targets(path) == [f"/{number}" for number in range(50)]


def test_a_defect_in_an_explanation_is_survived(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An explanation that raises costs its own line only."""

    def broken() -> Provenance:
        raise LookupError("a\nb")

    log = AuditLog(path)
    log.record(broken, "GET", "/broken", NOW)
    log.record(proof, "GET", "/next", NOW)
    log.close()
    assert targets(path) == ["/next"]
    assert (log.written, log.dropped, log.errors) == (1, 1, 1)
    assert "LookupError: a\\x0ab; 1 lines dropped" in caplog.records[0].getMessage()


def test_reopen_after_a_rename(path: Path, gate: Gate) -> None:
    """Lines recorded before `reopen` stay in the renamed file, later ones go to a new one."""
    log, rotated = AuditLog(path), path.with_suffix(".1")
    log.record(gate, "GET", "/before", NOW)
    path.rename(rotated)
    log.reopen()
    log.record(proof, "GET", "/after", NOW)
    gate.open.set()
    log.close()
    assert (targets(rotated), targets(path)) == (["/before"], ["/after"])


def test_reopen_before_the_first_line(path: Path) -> None:
    """A log that has written nothing yet can be reopened too, and starts no thread for it."""
    log = AuditLog(path)
    path.unlink()
    before = threading.active_count()
    log.reopen()
    assert threading.active_count() == before
    assert path.exists()
    log.close()
    log.reopen()


def test_reopen_that_fails_keeps_the_old_file(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the file cannot be opened again, the old one stays in use."""
    log = AuditLog(path)
    rotated = path.with_suffix(".1")
    path.rename(rotated)
    path.mkdir()
    log.record(proof, "GET", "/1", NOW)
    log.reopen()
    log.record(proof, "GET", "/2", NOW)
    log.close()
    assert targets(rotated) == ["/1", "/2"]
    assert (log.written, log.errors) == (2, 1)
    assert "the old file stays in use" in caplog.records[0].getMessage()


def test_stream() -> None:
    """A text stream gets the lines, flushed, and is neither reopened nor closed."""
    stream = io.StringIO()
    log = AuditLog(stream)
    log.record(proof, "GET", "/", NOW)
    log.reopen()
    log.close()
    assert json.loads(stream.getvalue())["target"] == "/"


def test_a_closed_stream_is_an_error_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A stream that somebody closed loses lines, and nothing else happens."""
    stream = io.StringIO()
    log = AuditLog(stream)
    stream.close()
    log.record(proof, "GET", "/", NOW)
    log.close()
    assert (log.written, log.dropped, log.errors) == (0, 1, 1)
    assert "StringIO failed: ValueError" in caplog.records[0].getMessage()


def test_after_close(path: Path) -> None:
    """After `close` a record is dropped and counted; closing again does nothing."""
    log = AuditLog(path)
    log.record(proof, "GET", "/", NOW)
    log.close()
    log.close()
    log.record(proof, "GET", "/late", NOW)
    assert log.flush()
    assert (log.written, log.dropped) == (1, 1)


def test_close_does_not_wait_for_ever(
    path: Path, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """A writer that hangs is left behind, and the log says so."""
    log = AuditLog(path)
    log.record(gate, "GET", "/hangs", NOW)
    assert gate.entered.wait(10)
    assert log.flush(timeout=0.01) is False
    log.close(timeout=0.01)
    assert "left behind" in caplog.records[0].getMessage()


def test_losses_are_told_while_the_writer_hangs(
    path: Path, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that does not answer is told of by who drops, once a minute, and at the end."""
    log = AuditLog(path, max_pending=1)
    log.record(gate, "GET", "/hangs", NOW)
    assert gate.entered.wait(10)
    for _ in range(5):
        log.record(proof, "GET", "/", NOW)
    log.close(timeout=0.01)
    told = [record.getMessage() for record in caplog.records]
    assert [": 1 lines dropped so far" in told[0], "4 lines dropped before" in told[1]] == [
        True
    ] * 2
    assert len(told) == 2


def fork() -> int:
    """Fork, whatever threads run: that this works is what is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and newer warn of it
        return os.fork()


def test_a_fork_starts_its_own_writer(path: Path, gate: Gate) -> None:
    """A child writes its own lines to the same file, and what the parent owes is written once."""
    log = AuditLog(path)
    log.record(gate, "GET", "/parent-1", NOW)
    assert gate.entered.wait(10)
    log.record(proof, "GET", "/parent-2", NOW)
    pid = fork()
    if pid == 0:
        status = 1
        try:
            assert log.flush()
            log.record(proof, "GET", "/child", NOW)
            log.close()
            assert (log.written, log.dropped, log.errors) == (1, 0, 0)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    gate.open.set()
    log.close()
    assert targets(path) == ["/child", "/parent-1", "/parent-2"]
    assert log.written == 2


def test_a_fork_that_records_nothing_closes(path: Path) -> None:
    """Closing in a child that never recorded neither waits nor takes the file from the parent."""
    log = AuditLog(path)
    pid = fork()
    if pid == 0:
        log.reopen()
        log.close()
        os._exit(0 if log.flush() else 1)
    assert os.waitpid(pid, 0)[1] == 0
    log.record(proof, "GET", "/", NOW)
    log.close()
    assert targets(path) == ["/"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "some"}, "'all', 'findings' or 'sample'"),
        ({"mode": "sample", "sample": 0.0}, "above 0 and at most 1"),
        ({"sample": 1.5}, "above 0 and at most 1"),
        ({"sample": float("nan")}, "above 0 and at most 1"),
        ({"max_pending": 0}, "max_pending 0: give at least 1"),
        ({"max_pending_bytes": 0}, "max_pending_bytes 0: give at least 1"),
    ],
    ids=["mode", "sample-zero", "sample-above-one", "sample-nan", "no-room", "no-bytes"],
)
def test_wrong_settings(path: Path, settings: dict[str, Any], message: str) -> None:
    """A wrong setting fails at construction, names its fix, and makes no file."""
    with pytest.raises(ConfigurationError, match=message):
        AuditLog(path, **settings)
    assert not path.exists()


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    """A file in no directory, or a pipe that nobody reads, fails at construction."""
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        AuditLog(tmp_path / "none" / "audit.log")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        AuditLog(tmp_path / "pipe")


def test_the_file_is_not_for_everybody(path: Path) -> None:
    """The log holds addresses of people: others may not read it."""
    AuditLog(path).close()
    assert path.stat().st_mode & 0o007 == 0
