"""The file of `edgeserver audit check`: what is to be checked, and what is expected of it.

Decides what may stand in the file; every refusal names file and key. It must not know how anything
is checked.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from edgeserver.errors import ConfigurationError
from edgeserver.support.escape import escape

__all__ = ["ChainPlan", "CheckPlan", "Expectation", "LogPlan", "RangesPlan", "parse_check_file"]

MAX_CHECK_BYTES = 1024 * 1024

CLIENT_VERDICTS = (
    "right", "right-or-lost", "names-outer-proxy", "lost", "spoofable", "unreachable",
)  # fmt: skip
SCHEME_VERDICTS = ("right", "lost", "mixed", "wrong-always", "spoofable", "unreachable")

_POLICY_KEYS = (
    "config", "listener", "trust", "trust-file", "source", "proto-header", "max-hops",
)  # fmt: skip
_MAX_CHAINS = 1000
_AGE = re.compile(r"([1-9][0-9]{0,4})([dhw])")
_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}


class Expectation(NamedTuple):
    """What is expected of a chain.

    Args:
        client: The verdict on the client; None for whatever it is.
        scheme: The verdict on the scheme; one for each way to come, or None.
        entries: Where strangers connect; empty for everywhere that they can.
        line: Where that is written.
    """

    client: str | None
    scheme: Mapping[str, str] | str | None
    entries: tuple[str, ...]
    line: int


class ChainPlan(NamedTuple):
    """One chain: its configurations, as `audit config` takes them, and what is expected."""

    name: str
    proxies: tuple[str, ...]
    server: str | None
    reachable: tuple[str, ...]
    lan: tuple[str, ...]
    version: str
    observed: str | None
    expectations: tuple[Expectation, ...]
    line: int


class RangesPlan(NamedTuple):
    """One file of ranges, and how many seconds old it may be."""

    file: str
    max_age_s: int
    line: int


class LogPlan(NamedTuple):
    """One log, as `audit logs` takes it."""

    files: tuple[str, ...]
    name: str | None
    form: str | None
    line: int


class CheckPlan(NamedTuple):
    """Everything that a file asks for.

    Args:
        policy: Trust settings, by the key of each; empty where there are none.
        chains: The chains.
        ranges: The files of ranges.
        logs: The logs.
    """

    policy: dict[str, Any]
    chains: tuple[ChainPlan, ...]
    ranges: tuple[RangesPlan, ...]
    logs: tuple[LogPlan, ...]


def parse_check_file(content: bytes, name: str) -> CheckPlan:
    """Parse a file.

    Args:
        content: The file.
        name: Its name, escaped, for what is said.

    Raises:
        ConfigurationError: It is no TOML, or a key or value means nothing.
    """
    if len(content) > MAX_CHECK_BYTES:
        raise ConfigurationError(f"{name}: more than {MAX_CHECK_BYTES} bytes; nothing is so long")
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        value = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name}: not UTF-8, from byte {error.start} on") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{name}: not TOML: {escape(str(error))}") from error
    reader = _Reader(name, _headers(text))
    return reader.plan(value)


def _headers(text: str) -> dict[str, list[int]]:
    """Return the lines on which each kind of table begins, from 1."""
    found: dict[str, list[int]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        match = re.match(r"\s*\[{1,2}\s*([a-z.]+)\s*\]{1,2}", line)
        if match is not None:
            found.setdefault(match[1], []).append(number)
    return found


class _Reader:
    """Reads the tables of one file.

    Args:
        name: The file, for what is said.
        headers: On which lines its tables begin.
    """

    def __init__(self, name: str, headers: dict[str, list[int]]) -> None:
        self._name = name
        self._headers = headers
        self._expected = 0  # how many expectations were read

    def plan(self, value: dict[str, Any]) -> CheckPlan:
        """Return what a file asks for."""
        self._known(value, ("policy", "chain", "ranges", "log"), "")
        policy = self._table(value.get("policy", {}), "policy")
        self._known(policy, _POLICY_KEYS, "policy")
        plan = CheckPlan(
            self._policy(policy),
            tuple(self._each(value, "chain", self._chain)),
            tuple(self._each(value, "ranges", self._ranges)),
            tuple(self._each(value, "log", self._log)),
        )
        if not (plan.chains or plan.ranges or plan.logs):
            raise ConfigurationError(
                f"{self._name}: nothing to check; add a [[chain]] with proxies, [[ranges]] or a "
                "[[log]]"
            )
        names = [chain.name for chain in plan.chains]
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(
                    f"{self._name}: two chains are called {escape(name, 60)}; names tell them apart"
                )
        return plan

    def _policy(self, table: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in ("trust", "trust-file"):
            if key in table:
                found[key.replace("-", "_")] = self._texts(table, key, "policy")
        for key in ("config", "listener", "source", "proto-header"):
            if key in table:
                found[key.replace("-", "_")] = self._text(table, key, "policy")
        if "max-hops" in table:
            hops = table["max-hops"]
            if isinstance(hops, bool) or not isinstance(hops, int) or hops < 1:
                raise self._wrong("policy", "max-hops", hops, "a whole number from 1 on")
            found["max_hops"] = hops
        return found

    def _chain(self, table: dict[str, Any], where: str, number: int) -> ChainPlan:
        self._known(
            table,
            ("name", "proxies", "server", "reachable", "lan", "product-version", "observed",
             "expect"),
            where,
        )  # fmt: skip
        proxies = self._texts(table, "proxies", where)
        if not proxies:
            raise self._wrong(where, "proxies", [], "KIND:PATH[@ADDRESS], the outermost first")
        line = self._line("chain", number)
        expected = table.get("expect", [])
        if not isinstance(expected, list):
            raise self._wrong(where, "expect", expected, "tables, as [[chain.expect]]")
        return ChainPlan(
            name=self._text(table, "name", where, f"{number + 1}"),
            proxies=proxies,
            server=self._text(table, "server", where, "") or None,
            reachable=self._texts(table, "reachable", where),
            lan=self._texts(table, "lan", where),
            version=self._text(table, "product-version", where, ""),
            observed=self._text(table, "observed", where, "") or None,
            expectations=tuple(self._expectation(each, where, line) for each in expected),
            line=line,
        )

    def _expectation(self, value: object, where: str, line: int) -> Expectation:
        where = f"{where} expect"
        table = self._table(value, where)
        self._known(table, ("client", "scheme", "from"), where)
        line = self._line("chain.expect", self._expected) or line
        self._expected += 1
        scheme = table.get("scheme")
        if isinstance(scheme, dict):
            self._known(scheme, ("http", "https"), f"{where} scheme")
            for key in scheme:
                self._verdict(scheme, key, f"{where} scheme", SCHEME_VERDICTS)
        elif scheme is not None:
            self._verdict(table, "scheme", where, SCHEME_VERDICTS)
        client = self._verdict(table, "client", where, CLIENT_VERDICTS)
        if client is None and not scheme:
            raise ConfigurationError(
                f'{self._name}: {where}: nothing is expected; write client = "right", say'
            )
        return Expectation(client, scheme, self._texts(table, "from", where), line)

    def _ranges(self, table: dict[str, Any], where: str, number: int) -> RangesPlan:
        self._known(table, ("file", "max-age"), where)
        age = self._text(table, "max-age", where)
        match = _AGE.fullmatch(age)
        if match is None:
            raise self._wrong(where, "max-age", age, "30d, 12h or 4w")
        seconds = int(match[1]) * _UNITS[match[2]]
        return RangesPlan(self._text(table, "file", where), seconds, self._line("ranges", number))

    def _log(self, table: dict[str, Any], where: str, number: int) -> LogPlan:
        self._known(table, ("files", "log-name", "log-format"), where)
        files = self._texts(table, "files", where)
        if not files:
            raise self._wrong(where, "files", [], 'names, such as ["access.log*"]')
        return LogPlan(
            files,
            self._text(table, "log-name", where, "") or None,
            self._text(table, "log-format", where, "") or None,
            self._line("log", number),
        )

    # -- values --------------------------------------------------------------------------------

    def _each(
        self, value: dict[str, Any], key: str, read: Callable[[dict[str, Any], str, int], Any]
    ) -> list[Any]:
        """Read each table of an array."""
        tables = value.get(key, [])
        if not isinstance(tables, list) or len(tables) > _MAX_CHAINS:
            raise ConfigurationError(
                f"{self._name}: {key}: write [[{key}]], once for each, at most {_MAX_CHAINS}"
            )
        return [
            read(self._table(each, key), f"[[{key}]] {number + 1}", number)
            for number, each in enumerate(tables)
        ]

    def _table(self, value: object, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ConfigurationError(f"{self._name}: {where}: not a table; see the reference")
        return value

    def _known(self, table: dict[str, Any], keys: tuple[str, ...], where: str) -> None:
        for key in table:
            if key not in keys:
                near = difflib.get_close_matches(key, keys, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(keys)}"
                at = f"{where}: " if where else ""
                raise ConfigurationError(
                    f'{self._name}: {at}unknown key "{escape(key, 60)}"; {hint}'
                )

    def _text(self, table: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
        value = table.get(key, default)
        if not isinstance(value, str) or (not value and default is None) or "\0" in value:
            raise self._wrong(where, key, value, "a text")
        return value

    def _texts(self, table: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = table.get(key, [])
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(
            isinstance(each, str) and each and "\0" not in each for each in texts
        ):
            raise self._wrong(where, key, value, "a text, or texts in [ ]")
        return tuple(texts)

    def _verdict(
        self, table: dict[str, Any], key: str, where: str, verdicts: tuple[str, ...]
    ) -> str | None:
        value = table.get(key)
        if value is not None and value not in verdicts:
            raise self._wrong(where, key, value, f"one of {', '.join(verdicts)}")
        return value

    def _wrong(self, where: str, key: str, value: object, good: str) -> ConfigurationError:
        shown = "nothing" if value is None else escape(repr(value), 80)
        return ConfigurationError(f"{self._name}: {where}: {key} is {shown}; write {good}")

    def _line(self, kind: str, number: int) -> int:
        """Return the line of the nth table of a kind; 0 where that is not plain."""
        lines = self._headers.get(kind, [])
        return lines[number] if number < len(lines) else 0
