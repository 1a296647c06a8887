"""Lines on their way out: nothing is lost that there is room for, and nobody ever waits."""

import errno
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeserver.errors import ConfigurationError
from edgeserver.logs.writer import DROPPED, PIPE_BYTES, AppendedFile, LineWriter, check_log


def _writer(stream: Any, name: str = "test", **options: Any) -> LineWriter:
    """Return a writer whose dropped lines are counted as `N dropped`."""
    return LineWriter(name, stream, render_dropped=lambda count: b"%d dropped\n" % count, **options)


@pytest.fixture
def pipe() -> Iterator[tuple[int, Any]]:
    """A pipe: the descriptor to read from, and the stream to write to."""
    read_fd, write_fd = os.pipe()
    with open(write_fd, "wb", buffering=0) as stream:
        yield read_fd, stream
    os.close(read_fd)


def _read_until(descriptor: int, end: bytes) -> bytes:
    """Read until `end` has come."""
    seen = b""
    while not seen.endswith(end):
        seen += os.read(descriptor, 65536)
    return seen


def test_a_pipe_is_written_to_at_once(pipe: tuple[int, Any]) -> None:
    """Where the reader has room nothing waits, and no thread is started."""
    _writer(pipe[1], "ready").put(b"one\ntwo\n")
    assert os.read(pipe[0], 100) == b"one\ntwo\n"
    assert "ready-log" not in [each.name for each in threading.enumerate()]


def test_a_stopped_reader_is_not_waited_for(pipe: tuple[int, Any]) -> None:
    """What does not fit is dropped and counted, and said once the reader goes on."""
    writer = _writer(pipe[1], max_pending=100_000)
    line = b"x" * 99 + b"\n"
    for _ in range(4000):
        writer.put(line)
    assert 0 < writer.dropped < 4000
    seen = _read_until(pipe[0], b"dropped\n").splitlines()
    assert seen[-1] == b"%d dropped" % writer.dropped
    assert len(seen) - 1 + writer.dropped == 4000
    assert all(each == b"x" * 99 for each in seen[:-1])
    assert DROPPED["test"] >= writer.dropped
    writer.close(5)


def test_without_a_thread(pipe: tuple[int, Any]) -> None:
    """A process that forks starts no thread: what waits goes out with the next line."""
    writer = _writer(pipe[1], "forking", threaded=False)
    for _ in range(100):
        writer.put(b"x" * 1023 + b"\n")
    assert "forking-log" not in [each.name for each in threading.enumerate()]
    while os.read(pipe[0], 65536).count(b"\n") == 64:
        pass
    writer.put(b"last\n")
    assert writer.flush(5)
    assert os.read(pipe[0], 65536).endswith(b"last\n")


def test_lines_stay_whole() -> None:
    """Pieces end where lines do, so that those of several processes do not mix."""
    reader, stream = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with reader, stream:
        _writer(stream).put((b"x" * 2999 + b"\n") * 2)
        assert [len(reader.recv(PIPE_BYTES)) for _ in range(2)] == [3000, 3000]


def test_a_full_disk() -> None:
    """It is said once, it is tried again, and who writes never hears of it."""
    said: list[str] = []
    heard = threading.Event()

    def warn(text: str) -> None:
        said.append(text)
        heard.set()

    with open("/dev/full", "wb", buffering=0) as stream:
        writer = _writer(stream, warn=warn, max_pending=1000)
        for _ in range(300):
            writer.put(b"a line\n")
        assert heard.wait(30)
        writer.close(0)
    assert said == ["test log: cannot write: [Errno 28] No space left on device; trying again"]
    assert writer.dropped >= 300 - 1000 // 7


def test_a_disk_that_has_room_again(tmp_path: Path) -> None:
    """What waited while the disk was full is written once it is not, and nothing twice."""
    full = AppendedFile(tmp_path / "log")
    room = os.dup(full.fileno())
    with open("/dev/full", "wb", buffering=0) as stream:
        os.dup2(stream.fileno(), full.fileno())
        writer = _writer(full)
        writer.put(b"one\n")
        writer.put(b"two\n")
        assert not writer.flush(0.01)
        os.dup2(room, full.fileno())
    assert writer.flush(30)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    writer.close(5)
    os.close(room)


def test_a_disk_that_is_full_within_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is written again, whole, once there is room; its piece stands by itself."""
    room, write = [6], os.write

    def write_some(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        size = write(descriptor, data[: room[0]])
        room[0] -= size
        return size

    file = AppendedFile(tmp_path / "log")
    writer = _writer(file, threaded=False)
    monkeypatch.setattr(os, "write", write_some)
    writer.put(b"one\ntwo\nthree\n")
    writer.put(b"four\n")
    room[0] = 2
    writer.put(b"five\n")
    room[0] = 100
    assert writer.flush(0)
    file.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == ["one", "tw", "t", "two", "three", "four", "five"]
    assert not writer.dropped


def test_rotation_loses_nothing(tmp_path: Path) -> None:
    """Every line is in one of the files, once and in order, however often they are renamed."""
    path = tmp_path / "log"
    writer = _writer(AppendedFile(path))
    for number in range(2000):
        writer.put(b"%d\n" % number)
        if number % 400 == 399:
            path.rename(tmp_path / f"log.{number:04}")
            writer.reopen()
            writer.flush(30)
    writer.close(30)
    files = [*sorted(tmp_path.glob("log.*")), path]
    lines = [line for each in files for line in each.read_text().splitlines()]
    assert lines == [str(number) for number in range(2000)]
    assert len(files) == 6


def test_a_file_that_cannot_be_opened_again(tmp_path: Path) -> None:
    """The old file stays in use, and it is said why."""
    said: list[str] = []
    folder = tmp_path / "logs"
    folder.mkdir()
    writer = _writer(AppendedFile(folder / "log"), warn=said.append)
    folder.rename(tmp_path / "gone")
    writer.reopen()
    writer.put(b"a line\n")
    writer.close(30)
    assert (tmp_path / "gone" / "log").read_bytes() == b"a line\n"
    assert "the old file stays in use" in said[0]


def test_a_file_that_is_not_required(tmp_path: Path) -> None:
    """Where it cannot be opened what is written is lost, until it can be."""
    log = AppendedFile(tmp_path / "logs" / "log", required=False)
    assert log.failure is not None
    writer = _writer(log)
    writer.put(b"lost\n")
    (tmp_path / "logs").mkdir()
    writer.reopen()
    writer.put(b"found\n")
    writer.close(30)
    assert (tmp_path / "logs" / "log").read_bytes() == b"found\n"


def test_after_the_end_nothing_is_taken(tmp_path: Path) -> None:
    """A log that was closed takes no line, and keeps none."""
    writer = _writer(AppendedFile(tmp_path / "log"))
    writer.close(5)
    writer.put(b"late\n")
    assert (tmp_path / "log").read_bytes() == b""


def test_the_end_waits_no_longer_than_it_may(pipe: tuple[int, Any]) -> None:
    """A reader that has stopped does not keep a process from ending."""
    writer = _writer(pipe[1])
    for _ in range(200):
        writer.put(b"x" * 1023 + b"\n")
    began_s = time.monotonic()
    writer.close(0.05)
    assert time.monotonic() - began_s < 5
    assert writer.dropped > 0


def test_a_stream_without_a_descriptor() -> None:
    """A program may have its lines in a stream of its own."""
    stream = io.StringIO()
    _writer(stream).put("caf\xe9\n".encode())
    assert stream.getvalue() == "caf\xe9\n"


def test_a_stream_that_was_closed() -> None:
    """Nobody hears an exception of a stream that is gone."""
    stream = io.StringIO()
    writer = _writer(stream, threaded=False)
    stream.close()
    writer.put(b"a line\n")
    assert not writer.flush(0)


@pytest.mark.parametrize(
    ("path", "why"),
    [("absent/log", "No such file or directory"), (".", "Is a directory"), ("a\0b", "holds a NUL")],
    ids=["no-folder", "folder", "nul"],
)
def test_a_file_that_cannot_be_had(
    path: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the flag, the file, the reason and the fix."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=why) as caught:
        check_log("--access-log", path)
    assert str(caught.value).startswith("--access-log ")
    assert "name a file in a directory" in str(caught.value)
