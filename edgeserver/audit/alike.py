"""Heads that are alike but for one address: the statements that make one row of them.

Decides which addresses are nobody in particular, and how an engine groups the heads that differ in
such a one alone. It must not know where the table of heads comes from, nor what rows prove.

Behind a proxy nearly every head is a client of its own, and nothing depends on which. What does
depend on the address is kept apart: listed, private and unusable ones, and those that a policy or
another one might list.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgeserver.proxyheaders.networks import PRESETS, Network, parse_network

__all__ = [
    "PATH_COLUMNS",
    "alike_statement",
    "alone_statement",
    "exact_statement",
    "path_function",
    "tagged_view",
]

PATH_COLUMNS = tuple(f"{end}{part}" for end in ("lowest", "highest") for part in range(4))
"""Some of the paths, in bounded room: the lowest and the highest of each of four parts of them."""


def path_function(column: str) -> str:
    """Return the function that a column of paths is the value of."""
    return "min" if column.startswith("lowest") else "max"


_LEAST = 16
_MOST_PREFIXES = 4096
_PARTICULAR = (
    *PRESETS["private"], *PRESETS["loopback"], "0.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16",
    "192.0.0.0/24", "198.18.0.0/15", "224.0.0.0/3",
)  # fmt: skip
_BYTE = "(0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])"
_V4 = rf"{_BYTE}(\.{_BYTE}){{3}}"
# global unicast alone; whether the groups are eight, the statement counts
_V6 = "[23][0-9a-f]{3}(:[0-9a-f]{0,4}){2,7}"
_SAME = " AND ".join(
    f"heads.{name} = alike.{name}" for name in ("at_peer", "tail", "said", "conn", "is_peer")
)
_MEMBERS = f"FROM tagged AS heads JOIN alike ON heads.plain AND {_SAME}"


def tagged_view(*, networks: Iterable[Network], source: str, is_edgeserver: bool) -> str:
    """Return the view that says of each head whether its outermost address is a plain one.

    Args:
        networks: The ranges that any policy in question lists.
        source: The header that names the client, in lower case.
        is_edgeserver: The claims are the list of fields of edgeserver's own log.
    """
    opening = f'[["{source}","' if is_edgeserver else ""
    skipped = len(opening)
    entry = f"split_part(substr(claims, {skipped + 1}), ',', 1)"
    fits = "port = '' OR regexp_full_match(port, ':([1-9][0-9]{0,3}|[1-5][0-9]{4})')"
    if is_edgeserver:
        entry = f"""split_part({entry}, '"', 1)"""
        fits = (
            f"CASE WHEN claims IS NULL THEN schemes IS NULL ELSE starts_with(claims, '{opening}') "
            f"AND ({fits}) END"
        )
    return f"""
CREATE OR REPLACE TEMP VIEW tagged AS
SELECT *, coalesce(who IS NOT NULL AND ({fits}) AND {_plain("subject", networks)}, false) AS plain,
  CASE WHEN is_peer THEN '' ELSE who END AS at_peer,
  CASE WHEN is_peer THEN '' ELSE substr(claims, {skipped + 1} + length(entry)) END AS tail,
  coalesce(schemes, chr(1)) AS said, coalesce(kind, chr(1)) AS conn
FROM (SELECT *, substr(entry, length(subject) + 1) AS port FROM (
  SELECT *, CASE WHEN contains(entry, '.') THEN split_part(entry, ':', 1) ELSE entry END AS subject
  FROM (SELECT *, claims IS NULL AS is_peer,
    CASE WHEN claims IS NULL THEN who ELSE {entry} END AS entry FROM heads)))"""


def _plain(text: str, networks: Iterable[Network]) -> str:
    """Return the condition that a text is an address in no range that anybody asks for."""
    first, pairs, groups = _prefixes(networks)
    v4 = [f"regexp_full_match({text}, '{_V4}')"]
    if first:
        v4.append(f"split_part({text}, '.', 1) NOT IN ({_listed(first)})")
    if pairs:
        pair = f"split_part({text}, '.', 1) || '.' || split_part({text}, '.', 2)"
        v4.append(f"({pair}) NOT IN ({_listed(pairs)})")
    colons = f"length({text}) - length(replace({text}, ':', ''))"
    shortened = f"length({text}) - length(replace({text}, '::', ''))"
    v6 = [
        f"regexp_full_match({text}, '{_V6}')",
        f"NOT contains({text}, ':::')",
        f"CASE {shortened} WHEN 0 THEN {colons} = 7 AND NOT ends_with({text}, ':') "
        f"WHEN 2 THEN {colons} < 7 AND (ends_with({text}, '::') OR NOT ends_with({text}, ':')) "
        "ELSE false END",
    ]
    if groups is None:
        v6.append("false")
    elif groups:
        v6.append(f"split_part({text}, ':', 1) NOT IN ({_listed(groups)})")
    return f"CASE WHEN contains({text}, '.') THEN {' AND '.join(v4)} ELSE {' AND '.join(v6)} END"


def _prefixes(networks: Iterable[Network]) -> tuple[set[str], set[str], set[str] | None]:
    """Return the first bytes, pairs of bytes and IPv6 groups of addresses that are kept apart."""
    first: set[str] = set()
    pairs: set[str] = set()
    groups: set[str] | None = set()
    for network in (*networks, *map(parse_network, _PARTICULAR)):
        if network.version == 4:
            low, size = network.value >> 24, 1 << max(0, 8 - network.prefix)
            if network.prefix > 8 and len(pairs) < _MOST_PREFIXES:
                start, count = network.value >> 16, 1 << max(0, 16 - network.prefix)
                pairs.update(f"{each >> 8}.{each & 255}" for each in range(start, start + count))
            else:
                first.update(str(each) for each in range(low, low + size))
        elif groups is not None:
            start, count = network.value >> 112, 1 << max(0, 16 - network.prefix)
            if count > _MOST_PREFIXES or len(groups) > _MOST_PREFIXES:
                groups = None
            else:
                groups.update(f"{each:x}" for each in range(start, start + count))
    return first, pairs, groups


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(f"'{each}'" for each in sorted(texts))


def alike_statement() -> str:
    """Return the statement that makes a row, with a number, of the heads of a kind."""
    paths = ", ".join(f"{path_function(each)}({each}) AS {each}" for each in PATH_COLUMNS)
    return f"""
CREATE OR REPLACE TEMP TABLE alike AS
SELECT row_number() OVER () AS number, * FROM (
  SELECT at_peer, tail, said, conn, is_peer, max_by(who, requests) AS who,
    max_by(claims, requests) AS claims, any_value(schemes) AS schemes, any_value(kind) AS kind,
    sum(requests)::BIGINT AS requests, sum(settled)::BIGINT AS settled, min(first) AS first,
    max(last) AS last, {paths}, max(requests) AS most,
    -- without ports each head is an address of its own
    CASE WHEN bool_or(port <> '') THEN approx_count_distinct(subject) ELSE count(*) END AS addresses
  FROM tagged WHERE plain GROUP BY at_peer, tail, said, conn, is_peer
  HAVING count(*) >= {_LEAST})"""


def exact_statement(columns: str) -> str:
    """Return the statement that gives the heads which are in no such row.

    Args:
        columns: Those of the rows.
    """
    return (
        f"SELECT {columns} FROM tagged AS heads ANTI JOIN alike ON "
        f"CASE WHEN heads.plain THEN heads.at_peer END = alike.at_peer AND {_SAME} "
        "ORDER BY (claims IS NULL), requests DESC"
    )


def alone_statement(numbers: Iterable[int]) -> str:
    """Return the statement that counts requests by the address that rows leave out.

    Args:
        numbers: The rows.
    """
    wanted = ", ".join(map(str, numbers))
    return (
        f"SELECT heads.subject, sum(heads.requests)::BIGINT {_MEMBERS} WHERE alike.number IN "
        f"({wanted}) AND heads.subject IN (SELECT address FROM asked) GROUP BY heads.subject"
    )
