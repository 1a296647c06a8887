"""The three loggers, named as Tornado's are, so that people's filters need one word changed.

Decides names: `edgeserver.general` for what happens to the server, `edgeserver.application` for
what the application did wrong, `edgeserver.access` for one line per request. And that the first two
are always heard: `logging.config` switches off every logger that a configuration does not name, by
default, and an application that brings its own would lose the trace of each 500. Levels and
handlers work as ever for whoever wants less.
"""

import logging

__all__ = ["access_log", "app_log", "gen_log"]


class _Heard(logging.Logger):
    """A logger that nobody can disable, since nearly always nobody means to."""

    @property
    def disabled(self) -> bool:
        """Whether the logger says nothing: never."""
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        pass


def _heard_logger(name: str) -> logging.Logger:
    """Return the logger `name`, of whatever class loggers are made, with the rule above."""
    logger = logging.getLogger(name)
    cls = type(logger)
    # `disabled` stays in the instance's dict; a property of the class goes before it.
    logger.__class__ = _Heard if cls is logging.Logger else type(cls.__name__, (_Heard, cls), {})
    return logger


access_log = logging.getLogger("edgeserver.access")
app_log = _heard_logger("edgeserver.application")
gen_log = _heard_logger("edgeserver.general")
