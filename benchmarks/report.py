"""The report: the same measurements as Markdown for people and as JSON for programs.

Decides how figures are written down. It measures nothing.
"""

from __future__ import annotations

from typing import Any

from benchmarks.linear import JOBS
from benchmarks.model import Suite
from benchmarks.tables import IDLE_LIMIT_KIB

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
        f" {facts['nginx']}; {facts['wrk']}.",
        "",
    ]


def _ratio(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.3g} ({ratio['low']:.3g}-{ratio['high']:.3g})"


def _suite(suite: Suite, summary: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    lines = [f"## {suite.title} (`{suite.name}`)", ""]
    if suite.environment:
        settings = ", ".join(f"`{name}={value}`" for name, value in suite.environment.items())
        lines += [f"With {settings} for every server.", ""]
    shown = [w for w in suite.workloads if w.name in summary]
    for workload in shown:
        rows_by_server = summary[workload.name]
        references = [name for name in suite.references if name in rows_by_server]
        head = ["server", "CPU µs/request", *(f"x {name}" for name in references)]
        rows = [
            [
                name,
                f"{row['cpu_us']:.1f}",
                *(_ratio(row["ratios"][reference]) for reference in references),
                f"{row['per_second']:,.0f}",
                f"{row['p99_ms']:.2f}",
                f"{row['busy'] * 100:.0f} %",
            ]
            for name, row in sorted(rows_by_server.items(), key=lambda item: item[1]["cpu_us"])
        ]
        lines += [
            f"### {workload.name}: {workload.about}, {workload.connections} connections,"
            f" {facts['rounds']} rounds of {facts['seconds']} s",
            "",
            *_table([*head, "requests/s", "p99 ms", "core busy"], rows),
        ]
    return lines + _disturbance(summary) + _targets(suite, summary)


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


def _targets(suite: Suite, summary: dict[str, Any]) -> list[str]:
    lines = []
    for target in suite.targets:
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


def _idle(results: dict[str, dict[str, float]]) -> list[str]:
    rows = [
        [name, f"{row['rss_kib']:.1f}", f"{row['pss_kib']:.1f}", f"{row['connections']:,}"]
        for name, row in sorted(results.items(), key=lambda item: item[1]["pss_kib"])
    ]
    lines = ["## Memory per idle connection after one browser-like request (`idle`)", ""]
    lines += _table(["server", "RSS KiB", "PSS KiB", "connections"], rows)
    if "edgeserver" in results:
        reached = results["edgeserver"]["rss_kib"]
        verdict = "met" if reached <= IDLE_LIMIT_KIB else "MISSED"
        lines += [f"- edgeserver at most {IDLE_LIMIT_KIB} KiB: {reached:.1f}, {verdict}", ""]
    return lines


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
    if "idle" in results:
        lines += _idle(results["idle"])
    if "linear" in results:
        lines += _linear(results["linear"])
    return "\n".join(lines)
