"""The tables, on the terminal and between the marks of docs/benchmarks.md."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.bench.contest import OURS, Outcome, Stage
from tests.bench.environments import Environment, module_path
from tests.bench.measuring import Measurement

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- written by make bench: begin -->", "<!-- written by make bench: end -->"
PLOT = PAGE.with_name("benchmarks.svg")
DRAWN = ("upload", "restore", "changed", "files", "files-back", "files-again")
"""The rows whose figure is a time for the same work."""
_MIB = 1 << 20


def table(outcome: Outcome, stage: Stage) -> str:
    """One row of the benchmark under one setting, fastest first."""
    row = outcome.row
    heading = [f"{row.name}, {outcome.setting.label}", "time (least..most)", "of Waypost's"]
    heading += ["MiB/s"] if row.moved else []
    heading += [*row.columns.values(), "CPU s", "memory MiB", "requests", "MiB sent", "MiB received"]
    ours = next((runs for name, runs in outcome.results.items() if name.startswith(OURS)), None)
    lines = [heading, [":---", *["---:"] * (len(heading) - 1)]]
    for name, runs in sorted(outcome.results.items(), key=lambda item: _middle(item[1], "seconds")):
        seconds = _middle(runs, "seconds")
        cells = [f"**{name}**" if name.startswith(OURS) else name, _spread(runs)]
        cells.append(f"{seconds / _middle(ours, 'seconds'):.2f}" if ours else "")
        if row.moved:
            cells.append(f"{row.moved(stage) / _MIB / seconds:.0f}")
        for key in row.columns:
            values = [run.extra[key] for run in runs if key in run.extra]
            cells.append(_figure(statistics.median(values), key) if values else "")
        cells += [f"{_middle(runs, 'cpu_seconds'):.2f}", f"{_middle(runs, 'peak_mib'):.0f}"]
        cells.append(f"{_middle(runs, 'total_requests'):.0f}")
        # What the server received is what the client sent.
        cells += [f"{_middle(runs, what) / _MIB:.1f}" for what in ("received", "sent")]
        lines.append(cells)
    lines += [[name, "failed", *[""] * (len(heading) - 2)] for name in outcome.failures]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in _aligned(lines))


def goals_table(outcomes: Sequence[Outcome]) -> str:
    """Each goal, what was measured, and whether it holds."""
    lines = [["goal", "bound", "measured", "holds"], [":---", "---:", "---:", ":---"]]
    for outcome in outcomes:
        for goal in outcome.row.goals:
            if goal.setting != outcome.setting:
                continue
            judged = goal.judged(outcome.results)
            bound = f"at least {goal.least:g}" if goal.least is not None else f"at most {goal.most:g}"
            if judged is not None:
                lines.append([goal.text, bound, f"{judged[0]:.2f}", "yes" if judged[1] else "**no**"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in _aligned(lines))


def write_page(outcomes: Sequence[Outcome], stage: Stage) -> None:
    """Replace what stands between the marks of docs/benchmarks.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = (
        f"{os.cpu_count()} cores, Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    )
    draw(outcomes, PLOT)
    parts = [
        f"![seconds, by contestant]({PLOT.name})",
        f"Run of {today}: {machine}; the large file has {stage.mebibytes} MiB, {stage.rounds} rounds.",
    ]
    parts.append(f"### The goals\n\n{goals_table(outcomes)}")
    titles: set[str] = set()
    for outcome in outcomes:
        if outcome.row.title not in titles:
            parts.append(f"### {outcome.row.title}")
            titles.add(outcome.row.title)
        parts.append(table(outcome, stage))
    body = "\n\n".join(parts)
    PAGE.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}", encoding="utf-8")


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw a panel for each setting of the rows that are drawn, by matplotlib in the peers' environment."""
    panels = []
    for outcome in outcomes:
        if outcome.row.name not in DRAWN or not outcome.results:
            continue
        bars = []
        for name, runs in sorted(outcome.results.items(), key=lambda item: _middle(item[1], "seconds")):
            seconds = [run.seconds for run in runs]
            bar = {"name": name, "median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}
            bars.append({**bar, "ours": name == OURS, "limit": name in outcome.needed and name != OURS})
        panels.append({"title": f"{outcome.row.name}, {outcome.setting.label}", "bars": bars})
    if not panels:
        return
    subprocess.run(
        Environment.LIBRARIES.module("drawing", str(path)),
        input=json.dumps(panels),
        text=True,
        env={**os.environ, "PYTHONPATH": module_path()},
        check=True,
    )


def _middle(runs: Sequence[Measurement], what: str) -> float:
    return statistics.median(float(getattr(run, what)) for run in runs)


def _spread(runs: Sequence[Measurement]) -> str:
    seconds = sorted(run.seconds for run in runs)
    return f"{_figure(statistics.median(seconds))} ({_figure(seconds[0])}..{_figure(seconds[-1])})"


def _figure(seconds: float, key: str = "") -> str:
    if key == "share":
        return f"{seconds:.0f} %"
    if seconds >= 10:
        return f"{seconds:.0f} s"
    if seconds >= 0.1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.2f} ms" if seconds >= 0.0001 else f"{seconds * 1e6:.1f} us"


def _aligned(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    aligned = []
    for line in lines:
        rule = line[0].startswith(":--")
        aligned.append(
            [
                (":" + "-" * (width - 1) if column == 0 else "-" * (width - 1) + ":")
                if rule
                else (cell.ljust(width) if column == 0 else cell.rjust(width))
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
        )
    return aligned
