"""The tables, on the terminal and between the marks of docs/benchmarks.md."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.contest import OURS, Outcome
from tests.bench.measuring import Measurement
from tests.bench.plots import draw_bars, draw_curves

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- written by make bench: begin -->", "<!-- written by make bench: end -->"
BARS, CURVES = PAGE.with_name("benchmarks.svg"), PAGE.with_name("benchmarks-growth.svg")
_MIB = 1 << 20


def table(outcome: Outcome) -> str:
    """One row of the benchmark under one setting, fastest first; what grows, by its number."""
    row = outcome.row
    heading = [f"{row.name}, {outcome.setting.label}", "time (least..most)", "of Waypost's"]
    counted = any(run.requests for runs in outcome.results.values() for run in runs)
    heading += ["MiB/s"] if outcome.moved else []
    heading += [*row.columns.values(), "CPU s", "memory MiB"]
    heading += ["requests", "MiB sent", "MiB received"] if counted else []
    ours = next((runs for name, runs in outcome.results.items() if name.startswith(OURS)), None)
    lines = [heading, [":---", *["---:"] * (len(heading) - 1)]]
    for name, runs in sorted(outcome.results.items(), key=_number if row.grows else _seconds):
        seconds = _middle(runs, "seconds")
        cells = [f"**{name}**" if name.startswith(OURS) else name, _spread(runs, outcome.circumstances.rounds)]
        cells.append(f"{seconds / _middle(ours, 'seconds'):.2f}" if ours else "")
        if outcome.moved:
            cells.append(f"{outcome.moved / _MIB / seconds:.0f}")
        for key in row.columns:
            values = [run.extra[key] for run in runs if key in run.extra]
            cells.append(_figure(statistics.median(values), key) if values else "")
        uploader = f" ({_middle(runs, 'child_mib'):.0f})" if name.startswith(OURS) else ""
        cells += [f"{_middle(runs, 'cpu_seconds'):.2f}", f"{_middle(runs, 'peak_mib'):.0f}{uploader}"]
        if counted:
            cells.append(f"{_middle(runs, 'total_requests'):.0f}")
            # What the server received is what the client sent.
            cells += [f"{_middle(runs, what) / _MIB:.1f}" for what in ("received", "sent")]
        lines.append(cells)
    lines += [[name, "failed", *[""] * (len(heading) - 2)] for name in outcome.failures]
    return markdown(lines)


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
    return markdown(lines)


def write_page(outcomes: Sequence[Outcome], *, plots: bool) -> None:
    """Replace what stands between the marks of docs/benchmarks.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if plots:
        draw_bars(outcomes, BARS)
        draw_curves(outcomes, CURVES)
    PAGE.write_text(f"{before}{BEGIN}\n{body(outcomes)}\n{END}{after}", encoding="utf-8")


def body(outcomes: Sequence[Outcome]) -> str:
    """The goals, then row by row: against the sink, what grows with a number, and against a real server."""
    # The usual circumstances are said once; a row that was measured under others says so itself.
    usual = Counter(str(one.circumstances) for one in outcomes if not one.setting.real).most_common(1)
    usually = usual[0][0] if usual else ""
    parts = [f"Measured {usually}, unless a row says otherwise.", f"### The goals\n\n{goals_table(outcomes)}"]
    same_work = [one for one in outcomes if not one.setting.real and not one.row.grows]
    growing = [one for one in outcomes if one.row.grows]
    real = [one for one in outcomes if one.setting.real]
    for heading, plot, some in (
        ("The same work, side by side", f"![seconds, by contestant]({BARS.name})", same_work),
        ("Growth", f"![time and memory, by number]({CURVES.name})", growing),
        ("Against a real server: versitygw", "", real),
    ):
        if some:
            parts.append(f"### {heading}")
            parts += [plot] if plot else []
            parts += _tables(some, usually)
    return "\n\n".join(parts)


def _tables(outcomes: Sequence[Outcome], usually: str) -> Iterator[str]:
    title = ""
    for outcome in outcomes:
        if outcome.row.title != title:
            title = outcome.row.title
            yield f"#### {title}"
        if str(outcome.circumstances) != usually:
            yield f"(Measured {outcome.circumstances}.)"
        yield table(outcome)


def _middle(runs: Sequence[Measurement], what: str) -> float:
    return statistics.median(float(getattr(run, what)) for run in runs)


def _seconds(item: tuple[str, Sequence[Measurement]]) -> float:
    return _middle(item[1], "seconds")


def _number(item: tuple[str, Sequence[Measurement]]) -> float:
    return item[1][0].extra["count"]


def _spread(runs: Sequence[Measurement], rounds: int) -> str:
    """The median, with the least and the most, and how many runs there were when they are fewer than the rounds."""
    seconds = sorted(run.seconds for run in runs)
    fewer = f"; {len(runs)} run{'s' * (len(runs) > 1)}" if len(runs) < rounds else ""
    return f"{_figure(statistics.median(seconds))} ({_figure(seconds[0])}..{_figure(seconds[-1])}{fewer})"


def _figure(seconds: float, key: str = "") -> str:
    if key == "share":
        return f"{seconds:.0f} %"
    if seconds >= 10:
        return f"{seconds:.0f} s"
    if seconds >= 0.1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.2f} ms" if seconds >= 0.0001 else f"{seconds * 1e6:.1f} us"


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table of a heading, a rule (`:---` or `---:` for each column), and lines."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in _aligned(lines))


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
