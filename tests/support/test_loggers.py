"""The loggers: errors are heard whatever an application configures."""

import logging
import logging.config
import subprocess
import sys
import textwrap

import pytest

from edgeserver.support.loggers import access_log, app_log, gen_log

NAMES = ["edgeserver.general", "edgeserver.application"]


def run(body: str) -> str:
    """Return what a fresh interpreter writes to standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(body)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "configure",
    [
        "logging.config.dictConfig({'version': 1})",
        "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': True,"
        " 'loggers': {'mine': {'level': 'INFO'}}})",
        "logging.config.fileConfig(io.StringIO('[loggers]\\nkeys=root\\n[handlers]\\nkeys=\\n"
        "[formatters]\\nkeys=\\n[logger_root]\\nlevel=INFO\\nhandlers=\\n'))",
        "logging.getLogger('edgeserver.general').disabled = True",
    ],
    ids=["dict-default", "dict-others", "file", "by-hand"],
)
def test_errors_are_heard(configure: str) -> None:
    """A configuration that switches off the loggers that it does not name leaves ours alone."""
    said = run(
        f"""
        import io, logging.config
        from edgeserver.support.loggers import app_log, gen_log
        {configure}
        app_log.error("the trace of a 500")
        gen_log.error("SIGTERM: stopping")
        assert logging.getLogger("edgeserver.application") is app_log
        """
    )
    assert said == "the trace of a 500\nSIGTERM: stopping\n"


def test_a_program_may_have_loggers_of_its_own_class() -> None:
    """A class given to `setLoggerClass` stays in force for ours."""
    said = run(
        """
        import logging, logging.config
        class Loud(logging.getLoggerClass()):
            def error(self, message): super().error(message.upper())
        logging.setLoggerClass(Loud)
        from edgeserver.support.loggers import app_log
        logging.config.dictConfig({"version": 1})
        app_log.error("wrong")
        assert isinstance(app_log, Loud)
        """
    )
    assert said == "WRONG\n"


@pytest.mark.parametrize("logger", [gen_log, app_log], ids=NAMES)
def test_whoever_wants_less_says_so(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A level and a handler's filter silence them as they do any logger."""
    monkeypatch.setattr(logger, "level", logging.CRITICAL)
    logger.setLevel(logger.level)
    logger.error("not heard")
    assert not caplog.records
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    logger.setLevel(logger.level)
    logger.error("heard")
    assert [record.message for record in caplog.records] == ["heard"]


def test_the_access_logger_can_be_disabled() -> None:
    """One line for each request is no error: it is for whoever wants it."""
    assert type(access_log) is logging.Logger
