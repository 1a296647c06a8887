"""Reading configured files: plain ones, pipes with and without a writer, directories."""

import os
import threading
from pathlib import Path

import pytest

from edgeserver.support.files import read_file


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 500])
def test_a_file_up_to_its_bound(tmp_path: Path, size: int) -> None:
    """One byte past the bound tells the caller that the file is too long."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * size)
    assert read_file(path, 100) == b"x" * min(size, 101)


def test_a_pipe_that_nobody_writes_to_is_empty(tmp_path: Path) -> None:
    """Opened like a file it would wait for a writer for good."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert read_file(path, 100) == b""


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """A process substitution may write late and in parts."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as file:
            for part in (b"first ", b"second"):
                file.write(part)

    thread = threading.Thread(target=write)
    path = f"/dev/fd/{reading}"
    if not os.path.exists(path):
        pytest.skip("no /dev/fd")
    thread.start()
    try:
        assert read_file(path, 100) == b"first second"
    finally:
        thread.join()
        os.close(reading)


def test_a_pipe_whose_writer_is_silent_ends_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that reloads waits no longer than the limit."""
    monkeypatch.setattr(filereading, "PATIENCE_S", 0.01)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)
    try:
        with pytest.raises(TimeoutError, match="nothing came through this pipe in time"):
            read_file(path, 100)
    finally:
        os.close(both)


@pytest.mark.parametrize(("name", "error"), [(".", IsADirectoryError), ("no", FileNotFoundError)])
def test_what_is_no_file(tmp_path: Path, name: str, error: type[OSError]) -> None:
    """The caller gets the system's own error."""
    with pytest.raises(error):
        read_file(tmp_path / name, 100)
