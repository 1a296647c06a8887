"""What a worker and its parent share: a text that is whole whenever it is read."""

import os

import pytest

from edgeserver.runtime.link import SharedText


@pytest.mark.parametrize(
    "text", [b"", b"x", b"x" * 1000, None], ids=["empty", "short", "long", "no"]
)
def test_the_last_text_is_read(text: bytes | None) -> None:
    """An empty text is another thing than none; an older, longer one leaves nothing behind."""
    shared = SharedText(1000)
    assert shared.read() is None
    shared.write(b"before" * 100)
    shared.write(text)
    assert shared.read() == text


def test_it_is_shared_with_processes() -> None:
    """A process that was forked before reads what its parent has written since."""
    shared = SharedText(100)
    go_r, go_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.read(go_r, 1)
        os._exit(0 if shared.read() == b"later" else 1)
    shared.write(b"sooner")
    shared.write(b"later")
    os.write(go_w, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(go_r)
    os.close(go_w)
