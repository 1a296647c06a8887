"""What all tests share: patience with a machine that is busy, and a Ctrl-C that counts."""

import inspect
import signal

import httpx

PATIENCE_S = 60.0
"""How long a step of a request may take. Nothing waits so long but a test that fails."""

# httpx gives up after five seconds where a test does not say otherwise; with a test on each
# processor, and something else beside them, a handshake has taken longer.
_default = inspect.signature(httpx.Client).parameters["timeout"].default
for _phase in ("connect", "read", "write", "pool"):
    setattr(_default, _phase, PATIENCE_S)

# A shell has what runs in its background ignore Ctrl-C, and programs inherit that; those that tests
# start and end by it would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
