"""Shows what another server logs to the `ExpectLog` of Tornado's tests.

Decides which of Tornado's three loggers a record goes to, and when an expectation counts as met.
"""

import copy
import logging
import re

import tornado.testing

__all__ = ["Bridge", "install"]

# What Tornado's server logs. An ExpectLog that names one of these is content with any record of
# the replacement, unless strict: the same event may be told in other words.
SERVER_MESSAGES = re.compile(
    r"SSL Error|Malformed HTTP (request line|message(?! from None))|invalid chunk size"
    r"|Unsupported Transfer-Encoding|Message with both|Multiple unequal|Only integer|Invalid Host"
    r"|invalid gzip data|decompressed body too large|Unsatisfiable read|Content-Length too long"
    r"|chunked body too large|Timeout reading body|[Uu]ncaught exception|Exception in callback"
    r"|Starting \.\* processes"
)

# Tornado's test certificate is its own issuer, and its key readable by everybody. That a server
# says so when it reads them is none of the tests' business.
TEST_CERTIFICATE = re.compile(r"TLS: \S*/tornado/test/test\.(crt|key): ")


class Bridge(logging.Handler):
    """Forwards records to Tornado's loggers, or gives them to an expectation that waits.

    Args:
        strict: Whether an expectation has to match the very words.
    """

    def __init__(self, *, strict=False):
        super().__init__(1)
        self.strict = strict
        self.expectations = []  # outermost first

    def emit(self, record):
        """Show one record."""
        if TEST_CERTIFICATE.match(record.getMessage()):
            return
        target = _target(record)
        record = copy.copy(record)
        record.name = target.name
        if target.name != "tornado.access" and not self.strict:
            if self._meet_expectation(record):
                return
            if record.levelno < logging.WARNING:
                return
        if target.isEnabledFor(record.levelno):
            target.handle(record)

    def _meet_expectation(self, record):
        message = record.getMessage()
        waiting = self.expectations[::-1]
        of_server = [w for w in waiting if SERVER_MESSAGES.search(w.regex.pattern)]
        fitting = [w for w in waiting if w.regex.match(message)]
        unmet = [w for w in of_server if w.required and not w.matched]
        for expectation in fitting + unmet + of_server:
            expectation.matched += 1
            if record.exc_info:
                expectation.logged_stack = True
            return True
        return False


def _target(record):
    """Return the logger of Tornado's that says what the logger of `record` says."""
    tail = record.name.rpartition(".")[2]
    if tail in ("access", "application"):
        return logging.getLogger(f"tornado.{tail}")
    return logging.getLogger("tornado.general")


def install(root, *, strict=False):
    """Bridge the loggers below `root`; nothing is done for Tornado's own."""
    if root == "tornado":
        return
    bridge = Bridge(strict=strict)
    logger = logging.getLogger(root)
    logger.addHandler(bridge)
    logger.propagate = False
    logger.setLevel(1)
    cls = tornado.testing.ExpectLog
    enter, leave = cls.__enter__, cls.__exit__

    def __enter__(self):
        bridge.expectations.append(self)
        return enter(self)

    def __exit__(self, *exc):
        bridge.expectations.remove(self)
        return leave(self, *exc)

    cls.__enter__, cls.__exit__ = __enter__, __exit__
