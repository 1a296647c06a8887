"""The status of a supervised server: one value for programs, one page for people.

Decides what is told, and how it looks. Everything is escaped again on the page: what is waited for
names requests, and so holds what strangers wrote.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from typing import Any, Final

from edgeserver.operate.metrics import lags
from edgeserver.operate.report import Facts, ServerReport, WorkerReport, total

__all__ = ["render_status_page", "status_of"]

SHOWN: Final = 100
"""How many workers and certificates a status names at most; `/metrics` has all."""


def status_of(facts: Facts, report: ServerReport) -> dict[str, Any]:
    """Return the status, ready for JSON."""
    ever = total(report.rows)
    said = [each.said() for each in report.workers]
    told = next((each for each in said if each), {})
    late = lags(report)
    why = report.not_ready()
    return {
        "ready": not why,
        "why": why,
        "version": facts.version,
        "python": facts.python,
        "compiled": facts.is_compiled,
        "uptime_s": round(report.uptime_s, 1),
        "application": facts.application,
        "listeners": list(facts.listeners),
        "workers": [_worker(each, late.get(each.place)) for each in report.workers[:SHOWN]],
        "workers_wanted": report.wanted,
        "worker_ends": dict(sorted(report.ends.items())),
        "roll": {
            "number": report.roll.number,
            "state": report.roll.state,
            "said": report.roll.said,
        },
        "connections": _sum_now(report, "connections"),
        "requests_in_flight": _sum_now(report, "requests_in_flight"),
        "connections_total": int(ever.get(("connections_total",), 0)),
        "requests_total": _by_label(ever, "requests_total"),
        "refused_total": _by_label(ever, "refused_total"),
        "shed_total": _by_label(ever, "shed_total"),
        "tls_handshakes_total": _by_label(ever, "tls_handshakes_total"),
        "findings_total": _by_label(ever, "findings_total"),
        "reloads_total": _by_label(ever, "reloads_total"),
        "certificates": _list(told, "certificates"),
        "policy": _list(told, "policy") or list(facts.policy),
        "findings": _list(told, "findings"),
        "waiting_for": [
            line for each in said for line in _list(each, "waiting") if isinstance(line, str)
        ][:SHOWN],
        "said": list(report.said),
    }


def _worker(each: WorkerReport, lag_s: float | None) -> dict[str, Any]:
    now = {} if each.row is None else each.row.read()
    return {
        "worker": each.place,
        "pid": each.pid,
        "state": each.state,
        "since_s": round(each.age_s, 1),
        "waits_for": each.waits_for or None,
        "connections": int(now.get(("connections",), 0)),
        "requests_in_flight": int(now.get(("requests_in_flight",), 0)),
        "loop_lag_s": None if lag_s is None else round(lag_s, 3),
        "memory_bytes": each.memory or None,
    }


def _list(said: Mapping[str, Any], name: str) -> list[Any]:
    value = said.get(name, [])
    return value[:SHOWN] if isinstance(value, list) else []


def _sum_now(report: ServerReport, family: str) -> int:
    rows = [each.row.read() for each in report.workers if each.row is not None]
    return int(sum(row.get((family,), 0) for row in rows))


def _by_label(numbers: Mapping[tuple[str, ...], float], family: str) -> dict[str, int]:
    return {
        " ".join(key[1:]): int(value)
        for key, value in sorted(numbers.items())
        if key[0] == family and value
    }


_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; --good: #2a7d3f; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --dim: #aaa; --good: #7bd88f; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; padding: 1.2rem; max-width: 72rem; }
h1 { font-size: 1.25rem; margin: 0 0 .2rem; }
h2 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .2rem 0; }
.dim { color: var(--dim); }
.good, .bad { font-weight: 600; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.numbers { display: grid; gap: .6rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); }
.numbers div { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .7rem; }
.numbers b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
.counts { display: grid; gap: 0 2rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.counts td:last-child { text-align: right; padding-right: 0; white-space: nowrap; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; font-variant-numeric: tabular-nums; }
th { font-weight: 600; color: var(--dim); white-space: nowrap; }
ul { margin: .2rem 0; padding-left: 1.1rem; }
li { overflow-wrap: anywhere; }
td { overflow-wrap: break-word; }
"""


def render_status_page(status: Mapping[str, Any]) -> bytes:
    """Return the page of a status; it loads itself again, and nothing else."""
    ready = (
        '<span class="good">ready</span>'
        if status["ready"]
        else '<span class="bad">not ready</span>'
    )
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        "<meta http-equiv=refresh content=5><title>edgeserver</title>"
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{_e(status['application'] or 'edgeserver')} &middot; {ready}</h1>",
        f"<p class=dim>edgeserver {_e(status['version'])}, Python {_e(status['python'])}, up"
        f" {_time(status['uptime_s'])}</p>",
        _lines("", status["why"], "bad"),
        _numbers(status),
        _lines("Waiting for", status["waiting_for"]),
        "<h2>Listeners</h2>" + _items(status["listeners"]),
        _workers(status["workers"]),
        _certificates(status["certificates"]),
        "<h2>Who is believed</h2>" + _items(status["policy"]),
        _findings(status["findings"]),
    ]
    parts.append("<div class=counts>")
    for title, name in (
        ("Requests by status", "requests_total"),
        ("Refused, by rule", "refused_total"),
        ("Shed, by setting", "shed_total"),
        ("TLS handshakes", "tls_handshakes_total"),
        ("Findings, by code", "findings_total"),
        ("Reloads", "reloads_total"),
        ("Ends of workers", "worker_ends"),
    ):
        parts.append(_counts(title, status[name]))
    parts.append("</div>")
    if status["roll"]["number"]:
        roll = status["roll"]
        parts.append(f"<h2>Last roll</h2><p>{_e(roll['state'])}: {_e(roll['said'])}</p>")
    parts.append(_lines("Said lately", reversed(status["said"])))
    parts.append("</body></html>\n")
    return "".join(parts).encode("ascii", "xmlcharrefreplace")


def _e(value: object) -> str:
    return html.escape("".join(each if each.isprintable() else "\ufffd" for each in str(value)))


def _time(seconds: float) -> str:
    """Return a length of time as people say it: its two largest units."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def _items(lines: Iterable[object]) -> str:
    return "<ul>" + "".join(f"<li>{_e(line)}</li>" for line in lines) + "</ul>"


def _lines(title: str, lines: Iterable[object], look: str = "") -> str:
    """Return a list under its title; nothing where it is empty."""
    shown = list(lines)
    if not shown:
        return ""
    head = f"<h2>{_e(title)}</h2>" if title else ""
    return f'{head}<div class="{look}">{_items(shown)}</div>'


def _numbers(status: Mapping[str, Any]) -> str:
    serving = sum(each["state"] == "serving" for each in status["workers"])
    shown = (
        ("workers serving", f"{serving} of {status['workers_wanted']}"),
        ("connections", f"{status['connections']:,}"),
        ("requests in flight", f"{status['requests_in_flight']:,}"),
        ("requests", f"{sum(status['requests_total'].values()):,}"),
        ("refused", f"{sum(status['refused_total'].values()):,}"),
        ("shed", f"{sum(status['shed_total'].values()):,}"),
    )
    boxes = "".join(
        f"<div><b>{value}</b><span class=dim>{name}</span></div>" for name, value in shown
    )
    return f"<div class=numbers>{boxes}</div>"


def _table(title: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [
        "".join(f"<td>{_e('-' if cell is None else cell)}</td>" for cell in row) for row in rows
    ]
    if not lines:
        return ""
    heads = "".join(f"<th>{_e(name)}</th>" for name in head)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<h2>{_e(title)}</h2><div class=wide><table><tr>{heads}</tr>{body}</table></div>"


def _workers(workers: Iterable[Mapping[str, Any]]) -> str:
    return _table(
        "Workers",
        ("no.", "pid", "state", "since", "connections", "in flight", "loop lag", "memory"),
        (
            (
                each["worker"],
                each["pid"],
                each["state"] + (f": waits for {each['waits_for']}" if each["waits_for"] else ""),
                _time(each["since_s"]),
                each["connections"],
                each["requests_in_flight"],
                None if each["loop_lag_s"] is None else f"{each['loop_lag_s'] * 1000:.0f} ms",
                None if not each["memory_bytes"] else f"{each['memory_bytes'] / 2**20:.0f} MiB",
            )
            for each in workers
        ),
    )


def _certificates(certificates: Iterable[Any]) -> str:
    rows = []
    for each in certificates:
        if isinstance(each, dict):
            days = each.get("days_left")
            warnings = [*each.get("warnings", ()), *filter(None, [each.get("problem")])]
            rows.append(
                (
                    each.get("host") or "(default)",
                    ", ".join(map(str, each.get("names", ())[:4])),
                    None if days is None else f"{int(days)} days",
                    each.get("versions"),
                    "; ".join(map(str, warnings)) or "none",
                )
            )
    return _table("Certificates", ("host", "names", "left", "versions", "warnings"), rows)


def _findings(findings: Iterable[Any]) -> str:
    rows = [
        (each.get("severity"), each.get("code"), each.get("detail"), each.get("fix"))
        for each in findings
        if isinstance(each, dict)
    ]
    return _table("Findings about the policy", ("severity", "code", "what", "fix"), rows)


def _counts(title: str, counts: Mapping[str, int]) -> str:
    """Return a small table of numbers; nothing where there are none."""
    if not counts:
        return ""
    rows = "".join(
        f"<tr><td>{_e(name)}</td><td>{count:,}</td></tr>" for name, count in counts.items()
    )
    return f"<section><h2>{_e(title)}</h2><table>{rows}</table></section>"
