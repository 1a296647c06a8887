"""The file of `--log-config`: what `logging.config.dictConfig` takes, as TOML or JSON.

Decides how it is read, and what is said of one that cannot be used. It must not know which loggers
there are.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any, Final

from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape
from edgeserver.support.files import read_file

__all__ = ["apply_log_config", "read_log_config"]

MOST_BYTES: Final = 1024 * 1024

FLAG: Final = "--log-config"


def read_log_config(path: str) -> dict[str, Any]:
    """Return what stands in a file, with defaults for what nearly everybody says.

    Args:
        path: The file; JSON where its name ends with `.json`, else TOML.

    Raises:
        ConfigurationError: It cannot be read, or holds something else.
    """
    where = f"{FLAG} {escape(path)}"
    try:
        data = read_file(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"{where}: {reason}; name a file that is there and that this user may read"
        ) from error
    if len(data) > MOST_BYTES:
        raise ConfigurationError(f"{where}: more than {MOST_BYTES} bytes; name another file")
    is_json = path.endswith(".json")
    try:
        text = data.decode("utf-8")
        found = json.loads(text) if is_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # both kinds of decoding errors are ValueErrors
        kind = "JSON" if is_json else "TOML"
        raise ConfigurationError(
            f"{where} is not {kind}: {escape(str(error))}; mend it"
            f"{'' if is_json else ', or give JSON the name of a .json file'}"
        ) from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{where} is not an object; write one, as dictConfig takes it")
    config: dict[str, Any] = {"version": 1, "disable_existing_loggers": False}
    return config | found


def apply_log_config(config: dict[str, Any], path: str) -> None:
    """Set Python's logging up.

    Args:
        config: What `read_log_config` has returned.
        path: Where that was.

    Raises:
        ConfigurationError: It cannot be; the message says which part, and why.
    """
    import logging.config  # costs more than all else here, and hardly anybody asks for it

    try:
        logging.config.dictConfig(config)
    except Exception as error:  # what it names may be a class of anybody's
        cause = error.__cause__
        why = f": {type(cause).__name__}: {cause}" if cause is not None else ""
        raise ConfigurationError(
            f"{FLAG} {escape(path)}: {escape(f'{error}{why}', 500)}; see logging.config.dictConfig"
        ) from error
