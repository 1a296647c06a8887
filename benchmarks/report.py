"""The report: the same measurements as Markdown for people and as JSON for programs.

Decides how figures are written down. It measures nothing.
"""

from __future__ import annotations

import math
from typing import Any

from benchmarks import hostile
from benchmarks.linear import JOBS
from benchmarks.model import IdleCase, Suite, Workload
from benchmarks.tables import COUNTED, IDLES, STREAM_LIMIT_MIB

Rows = list[list[str]]
# A share of the core: the kernel and an idle system take less.
DISTURBED = 0.04


def _table(head: list[str], rows: Rows) -> list[str]:
    """Return a Markdown table whose columns also line up in a terminal."""
    widths = [max(3, *(len(row[index]) for row in [head, *rows])) for index in range(len(head))]

    def line(cells: list[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1])] + [cell.rjust(width) for cell, width in rest]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return [line(head), line(rule), *(line(row) for row in rows), ""]


def _environment(facts: dict[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return [
        f"Measured {facts['date']} on {facts['cpu']}, {facts['cores']} cores, Linux"
        f" {facts['kernel']}; {facts['python']}; edgeserver at {facts['commit']}; {versions};"
        f" {facts['nginx']}; {facts['wrk']}; loaders with {facts['openssl']}.",
        "",
    ]


def _ratio(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.3g} ({ratio['low']:.3g}-{ratio['high']:.3g})"


def _connections(workload: Workload) -> str:
    each = f" of {workload.streams} streams" if workload.http2 else ""
    return f"{workload.connections} connections{each}"


def _suite(suite: Suite, summary: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    lines = [f"## {suite.title} (`{suite.name}`)", ""]
    if suite.environment:
        settings = ", ".join(f"`{name}={value}`" for name, value in suite.environment.items())
        lines += [f"With {settings} for every server.", ""]
    repeats = f"{facts['repeats']} x " if facts["repeats"] > 1 else ""
    shown = [w for w in suite.workloads if w.name in summary]
    for workload in shown:
        rows_by_server = summary[workload.name]
        references = [name for name in suite.references if name in rows_by_server]
        head = ["server", f"CPU µs/{workload.unit}", *(f"x {name}" for name in references)]
        rows = [
            [
                name,
                f"{row['cpu_us']:.1f}",
                *(_ratio(row["ratios"][reference]) for reference in references),
                f"{row['per_second']:,.0f}",
                "-" if math.isnan(row["p99_ms"]) else f"{row['p99_ms']:.2f}",
                f"{row['busy'] * 100:.0f} %",
            ]
            for name, row in sorted(rows_by_server.items(), key=lambda item: item[1]["cpu_us"])
        ]
        lines += [
            f"### {workload.name}: {workload.about}, {_connections(workload)},"
            f" {facts['rounds']} rounds of {repeats}{facts['seconds']} s",
            "",
            *_table([*head, f"{workload.unit}s/s", "p99 ms", "core busy"], rows),
        ]
    return lines + _disturbance(summary) + _targets(suite, summary, facts)


def _disturbance(summary: dict[str, Any]) -> list[str]:
    """Return a warning where other processes ran on the server's core."""
    others = max((row["others"] for rows in summary.values() for row in rows.values()), default=0)
    if others < DISTURBED:
        return []
    return [
        f"**Not a quiet machine**: other processes took up to {others * 100:.0f} % of the server's"
        " core. Caches are shared too: do not quote these figures.",
        "",
    ]


def _targets(suite: Suite, summary: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    lines = []
    major, minor, *_ = facts["python"].split()[-1].split(".")
    for target in suite.targets:
        if not target.since <= (int(major), int(minor)) < target.before:
            continue
        row = summary.get(target.workload, {}).get(target.server)
        if row is None or target.reference not in row["ratios"]:
            continue
        reached = row["ratios"][target.reference]["median"]
        verdict = "met" if reached <= target.limit else "MISSED"
        lines.append(
            f"- {target.workload}: {target.server} at most {target.limit} x {target.reference}:"
            f" {reached:.3g}, {verdict}"
        )
    return [*lines, ""] if lines else []


def _verdict(server: str, reached: float, limit: float, unit: str) -> str:
    verdict = "met" if reached <= limit else "MISSED"
    return f"- {server} at most {limit:g} {unit}: {reached:.1f}, {verdict}"


def _idle(case: IdleCase, results: dict[str, dict[str, float]]) -> list[str]:
    rows = [
        [name, f"{row['rss_kib']:.1f}", f"{row['pss_kib']:.1f}", f"{row['connections']:,}"]
        for name, row in sorted(results.items(), key=lambda item: item[1]["pss_kib"])
    ]
    lines = [f"## {case.title} (`{case.name}`)", ""]
    lines += _table(["server", "RSS KiB", "PSS KiB", "connections"], rows)
    if "edgeserver" in results:
        reached = results["edgeserver"]["rss_kib"]
        lines += [_verdict("edgeserver", reached, case.limit_kib, "KiB"), ""]
    return lines


def _beside(results: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    rows = [
        [server, name, f"{row['median_ms']:.2f}", f"{row['p99_ms']:.2f}"]
        for server, priorities in results.items()
        for name, row in priorities.items()
    ]
    return [
        "## First byte of a small answer beside a large one (`http2-beside`)",
        "",
        *_table(["server", "priority", "median ms", "p99 ms"], rows),
    ]


def _stream(results: dict[str, dict[str, float]]) -> list[str]:
    rows = [
        [name, *(f"{row[way]:.1f}" for way in ("upload", "download"))]
        for name, row in sorted(results.items(), key=lambda item: max(item[1].values()))
    ]
    lines = ["## Memory while 100 MiB stream to or from an application (`stream`)", ""]
    lines += _table(["server", "upload, MiB more", "download, MiB more"], rows)
    for name, row in results.items():
        if name.startswith("edgeserver"):
            lines.append(_verdict(name, max(row.values()), STREAM_LIMIT_MIB, "MiB"))
    return [*lines, ""]


def _linear(results: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    lines = ["## Linear time (`linear`): CPU µs per unit at N, 2 N and 4 N", ""]
    jobs = {job.name: job for job in JOBS}
    rows = [
        [
            f"{name}, {server}",
            f"{jobs[name].units:,}",
            *(f"{row[f'us_{factor}n']:.2f}" for factor in (1, 2, 4)),
            f"{row['growth']:.2f}",
        ]
        for name, by_server in results.items()
        for server, row in by_server.items()
    ]
    lines += _table(["job", "N", "N", "2 N", "4 N", "4 N / N"], rows)
    return lines + [f"- {job.name}: {job.about}" for job in JOBS if job.name in results] + [""]


def _hostile(rows: list[hostile.Row]) -> list[str]:
    heads = ["load", "p50, ms", "p99, ms", "worst, ms", "most CPU in a wait, ms", "CPU, s"]
    lines = ["## What another client waits under hostile loads (`hostile`)", ""]
    lines += _table(heads, hostile.render(rows))
    worst = max((float(row["worst_ms"]) for row in rows), default=0.0)
    return [*lines, _verdict("edgeserver", worst, hostile.LIMIT_MS, "ms"), ""]


def render_instructions(results: dict[str, dict[str, float]]) -> list[str]:
    """Return the table of `instructions`: a column for each version, and its part of the first."""
    names = list(next(iter(results.values())))
    first, *others = names
    known = {row.name: row for row in COUNTED}
    rows = [
        [
            row,
            *(f"{figures[name]:,.0f}" for name in names),
            *(f"{figures[name] / figures[first]:.4f}" for name in others),
        ]
        for row, figures in results.items()
    ]
    head = ["a request's instructions", *names, *(f"{name} x {first}" for name in others)]
    abouts = [f"- {row}: {known[row].about}" for row in results]
    return [*_table(head, rows), *abouts, ""]


def render_report(results: dict[str, Any], suites: tuple[Suite, ...]) -> str:
    """Return the whole report as Markdown."""
    lines = ["# Results", "", *_environment(results["environment"])]
    if results["skipped"]:
        skipped = "; ".join(f"{name}: {reason}" for name, reason in results["skipped"].items())
        lines += [f"Not measured: {skipped}.", ""]
    for name, reason in results["failed"].items():
        # The last line of a traceback is the one that says it.
        lines += [f"Left out: {name}, {reason.splitlines()[-1]}", ""]
    for suite in suites:
        if suite.name in results["suites"]:
            lines += _suite(suite, results["suites"][suite.name], results["environment"])
    for case in IDLES:
        if case.name in results["idle"]:
            lines += _idle(case, results["idle"][case.name])
    if "beside" in results:
        lines += _beside(results["beside"])
    if "stream" in results:
        lines += _stream(results["stream"])
    if "linear" in results:
        lines += _linear(results["linear"])
    if "hostile" in results:
        lines += _hostile(results["hostile"])
    if "instructions" in results:
        lines += ["## Instructions per request (`instructions`)", ""]
        lines += render_instructions(results["instructions"])
    return "\n".join(lines)
