"""Records of a log: which formats there are, and where each keeps the peer, the list and the rest.

Decides how a line of a log is cut into fields, from a format's name, from the words of the product
that writes it, or from the first lines of the log. It must not know what the fields prove.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from edgeserver.errors import ConfigurationError
from edgeserver.proxyheaders.addresses import UnusableClaim, parse_address
from edgeserver.support.escape import escape

__all__ = [
    "FORMATS",
    "SAMPLE_LINES",
    "LogFormat",
    "Piece",
    "compile_format",
    "cut_line",
    "cut_port",
    "format_named",
    "guess_format",
    "split_entries",
]

SAMPLE_LINES = 1000
"""How many lines are looked at to guess a format."""

Kind = Literal["text", "json"]
Piece = tuple[str, str]
"""A field's name, empty where it does not matter, and the text that ends it; at the end none."""

XFF = "header:x-forwarded-for"


@dataclass(frozen=True)
class LogFormat:
    """One format of a log.

    Args:
        name: What it is called on the command line and in reports.
        pieces: Of a text format, the fields in order.
        paths: Of a JSON format, where a field stands: keys from the outermost inwards.
        hint: The line to add to the product's configuration for a log that can answer.
        peer_at: Where the peer stands: in its own field, at the end of the list as well, or at
            the end of the list alone.
        last_colon: The port of the peer stands after the last colon, IPv6 or not.
        arrays: A header is an array of its lines.
        coded: Values are percent-encoded.
        is_edgeserver: It is edgeserver's own audit log.
        notes: What the reading rests on.
    """

    name: str
    pieces: tuple[Piece, ...] = ()
    paths: tuple[tuple[str, tuple[str, ...]], ...] = ()
    hint: str = ""
    peer_at: Literal["field", "both", "list"] = "field"
    last_colon: bool = False
    arrays: bool = False
    coded: bool = False
    is_edgeserver: bool = False
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """Whether lines are JSON objects or text."""
        return "text" if self.pieces else "json"

    def holds(self, name: str) -> bool:
        """Return whether the log has a field of this name."""
        if (self.is_edgeserver or self.arrays) and name.startswith("header:"):
            return True
        if name == "peer" and self.peer_at == "list":
            return True
        return any(each[0] == name for each in (self.pieces or self.paths))


_NGINX_HINT = (
    'log_format audit \'$realip_remote_addr - $remote_user [$time_local] "$request" $status '
    '$body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for"\'; '
    "access_log ... audit;"
)
_HAPROXY_HINT = "capture request header X-Forwarded-For len 200   (in the frontend)"
_CLF: tuple[Piece, ...] = (
    ("peer", " "),
    ("", " "),
    ("", " ["),
    ("time", '] "'),
    ("request", '" '),
    ("status", " "),
)
_COMBINED: tuple[Piece, ...] = (*_CLF, ("", ' "'), ("", '" "'))
_ENVOY: tuple[Piece, ...] = (
    ("", "["),
    ("time", '] "'),
    ("request", '" '),
    ("status", " "),
    ("", ' "'),
    (XFF, '" "'),
    ("", '" "'),
    ("", '" "'),
    ("host", '" "'),
    ("", '"'),
)
_CLOUDFRONT = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) "
    "cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header "
    "cs-protocol cs-bytes time-taken x-forwarded-for"
)
_CLOUDFRONT_NAMES = {
    "date": "date",
    "time": "time",
    "c-ip": "peer",
    "cs-uri-stem": "target",
    "sc-status": "status",
    "cs-protocol": "scheme",
    "x-forwarded-for": XFF,
}


def _cloudfront(names: str) -> tuple[Piece, ...]:
    """Return the pieces of a log whose `#Fields:` line names these columns."""
    columns = names.split()
    ends = ["\t"] * (len(columns) - 1) + [""]
    return tuple(
        (_CLOUDFRONT_NAMES.get(name, ""), end) for name, end in zip(columns, ends, strict=True)
    )


def _paths(**names: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return paths from words such as `a.b`; `__` in a name stands for `header:`."""
    return tuple(
        (name.replace("__", "header:").replace("_", "-"), tuple(path.split(".")))
        for name, path in names.items()
    )


_HAPROXY_HEAD: tuple[Piece, ...] = (
    ("", "]: "),
    ("peer", " ["),
    ("time", "] "),
    ("", " "),
    ("", " "),
    ("", " "),
    ("status", " "),
    *((("", " "),) * 6),
)

FORMATS: dict[str, LogFormat] = {
    each.name: each
    for each in (
        LogFormat("edgeserver", is_edgeserver=True, paths=_paths(peer="peer", target="target")),
        LogFormat(
            "caddy",
            paths=_paths(
                peer="request.remote_ip",
                target="request.uri",
                status="status",
                time="ts",
                tls="request.tls.version",
            ),
            arrays=True,
            hint="log { format json }   (Caddy logs request headers by itself)",
        ),
        LogFormat(
            "traefik",
            paths=_paths(
                peer="ClientAddr",
                target="RequestPath",
                status="DownstreamStatus",
                time="StartUTC",
                scheme="RequestScheme",
                __x_forwarded_for="request_X-Forwarded-For",
                __x_forwarded_proto="request_X-Forwarded-Proto",
            ),
            hint="accessLog.fields.headers.names: {X-Forwarded-For: keep, X-Forwarded-Proto: keep}",
        ),
        LogFormat(
            "google",
            paths=_paths(
                peer="httpRequest.remoteIp",
                target="httpRequest.requestUrl",
                status="httpRequest.status",
                time="timestamp",
            ),
            hint="this load balancer logs no X-Forwarded-For: audit the log of what stands "
            "behind it",
        ),
        LogFormat(
            "envoy-json",
            paths=_paths(
                target="path",
                status="response_code",
                time="start_time",
                __x_forwarded_for="x_forwarded_for",
                peer="downstream_direct_remote_address",
            ),
            hint='downstream_direct_remote_address: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"   '
            "(in json_format)",
        ),
        LogFormat("edgeserver-access", paths=_paths(peer="peer", target="target", time="time")),
        LogFormat("cloudfront", pieces=_cloudfront(_CLOUDFRONT), coded=True),
        LogFormat(
            "alb",
            pieces=(
                ("scheme", " "), ("time", " "), ("", " "), ("peer", " "), ("", " "), ("", " "),
                ("", " "), ("", " "), ("status", " "), ("", ' "'), ("request", '"'),
            ),
            hint="this load balancer logs no X-Forwarded-For: audit the log of what stands "
            "behind it",
        ),
        LogFormat(
            "elb",
            pieces=(
                ("time", " "), ("", " "), ("peer", " "), ("", " "), ("", " "), ("", " "),
                ("", " "), ("status", " "), ("", ' "'), ("request", '"'),
            ),
            hint="this load balancer logs no X-Forwarded-For: audit the log of what stands "
            "behind it",
        ),
        LogFormat(
            "envoy",
            pieces=_ENVOY,
            peer_at="list",
            notes=(
                "the last entry of the list is taken for the peer, as with use_remote_address",
            ),
        ),
        LogFormat(
            "haproxy",
            pieces=(*_HAPROXY_HEAD[:-1], ("", ' "'), ("request", '"')),
            last_colon=True,
            hint=_HAPROXY_HINT,
        ),
        LogFormat(
            "nginx+xff+realip",
            pieces=(("", " "), *_COMBINED[1:], ("", '" "'), (XFF, '" peer='), ("peer", "")),
        ),
        LogFormat("nginx+xff", pieces=(*_COMBINED, ("", '" "'), (XFF, '"'))),
        LogFormat("nginx", pieces=(*_COMBINED, ("", '"')), hint=_NGINX_HINT),
        LogFormat("clf", pieces=_CLF, hint=_NGINX_HINT),
        LogFormat(
            "uvicorn",
            pieces=(("", ":"), ("peer", ' - "'), ("request", '" '), ("status", " ")),
            hint="uvicorn logs no header: audit the log of the proxy in front, or edgeserver's",
        ),
        LogFormat(
            "edgeserver-text",
            pieces=(("time", " "), ("peer", ' "'), ("request", '" '), ("status", " ")),
            hint="edgeserver serve ... --audit-log audit.jsonl",
        ),
    )
}  # fmt: skip
"""The formats that have a name, the most particular first: in this order they are guessed."""

_ALIASES = {
    "combined": "nginx",
    "common": "clf",
    "gunicorn": "nginx",
    "httpd": "nginx",
    "apache": "nginx",
    "gcp": "google",
    "httplog": "haproxy",
    "haproxy-httplog": "haproxy",
}


def format_named(name: str) -> LogFormat | None:
    """Return the format of this name, or of a usual other one for it; None where there is none."""
    return FORMATS.get(_ALIASES.get(name.lower(), name.lower()))


_JSON_KEYS: dict[str, tuple[str, ...]] = {
    "peer": (
        "realip_remote_addr", "peer", "remote_addr", "remote_ip", "client_addr", "remoteAddr",
        "ClientHost", "downstream_remote_address", "remote_host", "h", "source_ip",
    ),
    XFF: (
        "http_x_forwarded_for", "x_forwarded_for", "x-forwarded-for", "X-Forwarded-For", "xff",
        "forwarded_for", "request_X-Forwarded-For", "xForwardedFor",
    ),
    "header:x-forwarded-proto": (
        "http_x_forwarded_proto", "x_forwarded_proto", "x-forwarded-proto", "X-Forwarded-Proto",
    ),
    "header:forwarded": ("http_forwarded", "forwarded", "Forwarded"),
    "header:x-real-ip": ("http_x_real_ip", "x_real_ip", "X-Real-IP"),
    "scheme": ("scheme", "RequestScheme", "connection_scheme"),
    "time": ("time", "time_iso8601", "time_local", "timestamp", "@timestamp", "ts", "start_time"),
    "request": ("request",),
    "target": ("uri", "request_uri", "path", "target", "url", "RequestPath"),
    "status": ("status", "response_code", "status_code"),
}  # fmt: skip


# -- one line ------------------------------------------------------------------------------------


def cut_line(form: LogFormat, line: str) -> dict[str, str] | None:
    """Return the fields of one line, or None where it has not this format.

    Args:
        form: The format.
        line: The line, without its end.
    """
    return _cut_text(form, line) if form.pieces else _cut_json(form, line)


def _cut_text(form: LogFormat, line: str) -> dict[str, str] | None:
    rest = line.replace("\\\\", "\\x5c").replace('\\"', "\\x22")
    found = {}
    for name, end in form.pieces:
        value, separator, rest = rest.partition(end) if end else (rest, "", "")
        if end and not separator:
            return None
        if name:
            found[name] = value.strip(" ")
    return found


def _cut_json(form: LogFormat, line: str) -> dict[str, str] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    found = {}
    for name, path in form.paths:
        at: Any = value
        for key in path:
            at = at.get(key) if isinstance(at, dict) else None
        if at is not None:
            found[name] = at if isinstance(at, str) else json.dumps(at)
    return found


def cut_port(text: str, *, last_colon: bool) -> str:
    """Return an address without the port behind it.

    Args:
        text: The address as a log has it.
        last_colon: What stands after the last colon is a port, brackets or not.
    """
    if text.startswith("["):
        return text[1:].partition("]")[0]
    if last_colon:
        return text.rpartition(":")[0] or text
    if "." in text and 0 <= text.find(".") < text.find(":"):
        return text.partition(":")[0]
    return text


def is_address(text: str) -> bool:
    """Return whether a text is one usable address."""
    try:
        parse_address(text.encode("latin-1", "replace"))
    except UnusableClaim:
        return False
    return True


def split_entries(claim: str) -> list[str]:
    """Return the entries of a list, in order."""
    return [each.strip(" \t") for each in claim.split(",")] if claim else []


# -- guessing ------------------------------------------------------------------------------------


def guess_format(lines: Sequence[str]) -> tuple[LogFormat, int] | None:
    """Return the format of a log's first lines, and how many of them have it.

    Args:
        lines: The lines; comments and empty ones among them.
    """
    header = [line for line in lines if line.startswith("#Fields:")]
    kept = [line for line in lines if line.strip() and not line.startswith("#")]
    best: tuple[LogFormat, int] | None = None
    for form in _candidates(header, kept):
        fitting = sum(_fits(form, cut_line(form, line)) for line in kept)
        if fitting and (best is None or fitting > best[1]) and _has_lists(form, kept):
            best = form, fitting
    if best is None or best[1] * 2 < len(kept):
        return None
    return _settle(best[0], kept), best[1]


def _candidates(header: list[str], lines: list[str]) -> Iterable[LogFormat]:
    """Yield formats to try, the most particular first."""
    if header:
        names = header[0].partition(":")[2]
        yield replace(FORMATS["cloudfront"], pieces=_cloudfront(names))
    is_json = sum(line.lstrip().startswith("{") for line in lines) * 2 > len(lines)
    for form in FORMATS.values():
        if (form.kind == "json") == is_json and form.name != "edgeserver-access":
            if form.name == "haproxy":
                yield from _captured(lines)
            yield form
    if is_json:
        yield from _keyed(lines)


def _captured(lines: list[str]) -> Iterable[LogFormat]:
    """Yield HAProxy's format with its captures, where one of them holds lists."""
    groups = [found[1].split("|") for line in lines if (found := _CAPTURES.search(line))]
    if not groups:
        return
    count = max(len(group) for group in groups)
    for slot in range(count):
        values = [group[slot] for group in groups if len(group) == count]
        if any(is_address(split_entries(value)[-1]) for value in values if value):
            slots = [(XFF if each == slot else "", "|") for each in range(count)]
            slots[-1] = (slots[-1][0], "} ")
            yield replace(
                FORMATS["haproxy"],
                name="haproxy+captures",
                pieces=(*_HAPROXY_HEAD[:-1], ("", " {"), *slots, ("", '"'), ("request", '"')),
                notes=(f"capture {slot + 1} of {count} is taken for X-Forwarded-For",),
            )
            return


_CAPTURES = re.compile(r" \{([^{}\"]*)\} (?:\{[^{}\"]*\} )?\"")


def _keyed(lines: list[str]) -> Iterable[LogFormat]:
    """Yield a JSON format whose keys are the usual ones for their fields."""
    keys: set[str] = set()
    for line in lines[:200]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            keys.update(value)
    paths = []
    for name, known in _JSON_KEYS.items():
        key = next((each for each in known if each in keys), None)
        if key is not None:
            paths.append((name, (key,)))
    if any(name == "peer" for name, _ in paths):
        yield LogFormat("json", paths=tuple(paths), hint='"xff": "$http_x_forwarded_for"')


def _fits(form: LogFormat, found: dict[str, str] | None) -> bool:
    """Return whether the fields of a line are what their names say."""
    if found is None:
        return False
    status = found.get("status", "-")
    if not (status == "-" or (status.isdigit() and len(status) == 3)):
        return False
    if form.is_edgeserver:
        return "peer" in found
    if form.name == "alb" and found["scheme"] not in ("http", "https", "h2", "ws", "wss", "grpcs"):
        return False
    if form.peer_at == "list":
        entries = split_entries(found.get(XFF, ""))
        return bool(entries) and (entries == ["-"] or is_address(entries[-1]))
    peer = cut_port(found.get("peer", ""), last_colon=form.last_colon)
    return is_address(peer) or peer == "unix:"


def _has_lists(form: LogFormat, lines: list[str]) -> bool:
    """Return whether the field that is taken for the list holds lists, where there is one."""
    if form.is_edgeserver and not any('"verified"' in line for line in lines):
        return False
    if form.kind == "json" or not form.holds(XFF) or form.name == "cloudfront":
        return True
    values = [found[XFF] for line in lines if (found := cut_line(form, line)) is not None]
    given = [value for value in values if value not in ("-", "")]
    good = sum(any(is_address(each) for each in split_entries(value)) for value in given)
    return good > 0 and good * 2 >= len(given)


def _settle(form: LogFormat, lines: list[str]) -> LogFormat:
    """Return a format that says whether the peer stands at the end of the list, too."""
    if form.peer_at != "field" or form.is_edgeserver or not form.holds(XFF):
        return form
    same = others = 0
    for line in lines:
        found = cut_line(form, line)
        if found is None:
            continue
        entries = split_entries(found.get(XFF, "").replace("%20", " "))
        if entries and entries[-1] == cut_port(found.get("peer", ""), last_colon=form.last_colon):
            same += 1
        else:
            others += 1
    if same and not others:
        note = (
            "every list ends in the peer: taken for $proxy_add_x_forwarded_for; if a realip "
            "module replaced the peer instead, log $realip_remote_addr"
        )
        return replace(form, peer_at="both", notes=(*form.notes, note))
    return form


# -- formats in the words of a product -----------------------------------------------------------

_NGINX_NAMES = {
    "remote_addr": "peer", "realip_remote_addr": "peer", "time_local": "time",
    "time_iso8601": "time", "msec": "time", "request": "request", "request_uri": "target",
    "uri": "target", "status": "status", "scheme": "scheme",
    "proxy_add_x_forwarded_for": "added",
}  # fmt: skip
_HTTPD_NAMES = {
    "h": "peer", "a": "peer", "t": "time", "r": "request", "U": "target", "s": "status",
}  # fmt: skip
_ENVOY_NAMES = {
    "START_TIME": "time", "RESPONSE_CODE": "status", "PROTOCOL": "",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": "peer",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": "peer",
    "REQ(:PATH)": "target", "REQ(X-ENVOY-ORIGINAL-PATH?:PATH)": "target",
    "REQ(X-FORWARDED-FOR)": XFF, "REQ(X-FORWARDED-PROTO)": "header:x-forwarded-proto",
}  # fmt: skip
_HAPROXY_NAMES = {
    "ci": "peer", "si": "", "t": "time", "tr": "time", "T": "time", "ts": "", "ST": "status",
    "r": "request", "HU": "target", "HP": "target",
}  # fmt: skip

_TOKENS = {
    "envoy": re.compile(r"%([A-Z_]+(?:\([^)]*\))?)(?::\d+)?%"),
    "gunicorn": re.compile(r"%\((?:\{([^}]+)\}i|([A-Za-z]+))\)s"),
    "nginx": re.compile(r"\$(?:\{(\w+)\}|(\w+))"),
    "haproxy": re.compile(r"%(?:\[([^\]]*)\]|(?:\{[^}]*\})?([A-Za-z]+))"),
    "httpd": re.compile(r"%[<>!,0-9]*(?:\{([^}]+)\})?([A-Za-z])"),
}


def compile_format(text: str) -> LogFormat:
    """Return the format that a product's own words describe.

    Args:
        text: A `log_format` of nginx (also a JSON one), a `LogFormat` of httpd, a format of Envoy,
            HAProxy or gunicorn.

    Raises:
        ConfigurationError: It names no peer, or two fields stand side by side.
    """
    shown = escape(text, 120)
    text = text.strip().replace('\\"', '"')
    if text.startswith("{") and "$" in text:
        form = _compile_json(text, shown)
    else:
        dialect = _dialect(text)
        form = _compile_text(text, dialect, shown)
    if not form.holds("peer"):
        raise ConfigurationError(
            f"--log-format {shown!r}: no field of it is the peer; log $remote_addr "
            "($realip_remote_addr behind realip), %h or %ci"
        )
    return form


def _dialect(text: str) -> str:
    """Return whose words a format is written in."""
    if _TOKENS["envoy"].search(text):
        return "envoy"
    if "%(" in text:
        return "gunicorn"
    if "$" in text:
        return "nginx"
    return "haproxy" if "%ci" in text or "%[" in text else "httpd"


def _name(dialect: str, first: str | None, second: str | None) -> str:
    """Return the field that one word of a format stands for."""
    word = first or second or ""
    if dialect == "envoy":
        if (header := re.fullmatch(r"REQ\(([\w-]+)\)", word)) is not None:
            return _ENVOY_NAMES.get(word.upper(), f"header:{header[1].lower()}")
        return _ENVOY_NAMES.get(word, "")
    if dialect == "nginx":
        if word.startswith("http_"):
            return f"header:{word[5:].replace('_', '-').lower()}"
        return _NGINX_NAMES.get(word, "")
    if dialect == "gunicorn":
        return f"header:{first.lower()}" if first else _HTTPD_NAMES.get(word, "")
    if dialect == "httpd":
        if first and second == "i":
            return f"header:{first.lower()}"
        return "peer" if second == "a" else "" if first else _HTTPD_NAMES.get(second or "", "")
    if first is not None:
        header = re.search(r"(?:req\.hdr|req\.fhdr|hdr)\(([\w-]+)", first)
        return f"header:{header[1].lower()}" if header is not None else ""
    return _HAPROXY_NAMES.get(word, "")


def _compile_text(text: str, dialect: str, shown: str) -> LogFormat:
    pieces: list[Piece] = []
    names: list[str] = [""]
    ends: list[str] = []
    end = 0
    for found in _TOKENS[dialect].finditer(text):
        groups = (*found.groups(), None)
        names.append(_name(dialect, groups[0], groups[1]))
        ends.append(text[end : found.start()])
        if len(ends) > 1 and not ends[-1]:
            raise ConfigurationError(
                f"--log-format {shown!r}: {escape(found[0], 40)} stands right behind another "
                "field; put a space or quotes between them"
            )
        end = found.end()
    ends.append(text[end:])
    brackets = dialect in ("httpd", "gunicorn")
    for number, (name, after) in enumerate(zip(names, ends, strict=True)):
        if number == 0 and not after:
            continue
        if brackets and name == "time":  # these write the brackets themselves
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + "[")
            after = "]" + after
        pieces.append((name, after))
    has_peer = "realip_remote_addr" in text
    kept = [
        ("" if has_peer and name == "peer" and not _is_realip(text, number) else name, after)
        for number, (name, after) in enumerate(pieces)
    ]
    added = any(name == "added" for name, _ in kept)
    return LogFormat(
        "log-format",
        pieces=tuple((XFF if name == "added" else name, after) for name, after in kept),
        peer_at="both" if added else "field",
        last_colon=dialect == "haproxy" and "%ci:%cp" in text.replace(" ", ""),
        hint=_NGINX_HINT if dialect == "nginx" else "",
    )


def _is_realip(text: str, number: int) -> bool:
    """Return whether the field of this number is `$realip_remote_addr`."""
    words = [found[1] or found[2] for found in _TOKENS["nginx"].finditer(text)]
    skipped = 0 if text.startswith("$") else 1
    return words[number - skipped] == "realip_remote_addr"


def _compile_json(text: str, shown: str) -> LogFormat:
    quoted = re.sub(r"(:\s*)(\$\{?\w+\}?)(\s*[,}])", r'\1"\2"\3', text)
    try:
        value = json.loads(quoted)
    except ValueError as error:
        raise ConfigurationError(
            f"--log-format {shown!r}: this is no JSON: {error}; give the whole text of log_format"
        ) from error
    paths: dict[str, tuple[str, ...]] = {}
    added = False
    for path, word in _leaves(value, ()):
        found = _TOKENS["nginx"].fullmatch(word)
        if found is None:
            continue
        name = _name("nginx", found[1], found[2])
        added = added or name == "added"
        if name == "peer" and "realip_remote_addr" in text and "realip" not in word:
            continue
        paths[XFF if name == "added" else name] = path
    return LogFormat(
        "log-format",
        paths=tuple(paths.items()),
        peer_at="both" if added else "field",
        hint='"xff": "$http_x_forwarded_for"',
    )


def _leaves(value: Any, path: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], str]]:
    """Yield the texts of a JSON value and where they stand."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, str):
        yield path, value
