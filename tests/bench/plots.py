"""The plots of docs/benchmarks.md, by matplotlib in the peers' environment: the same work side by side, and growth."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.contest import OURS, Outcome
from tests.bench.environments import Environment, module_path
from tests.bench.measuring import Measurement

DRAWN = ("upload", "restore", "changed", "files", "files-back", "files-again")
"""The rows whose figure is a time for the same work."""


def draw_bars(outcomes: Sequence[Outcome], path: Path) -> None:
    """A panel for each setting of the rows that are drawn."""
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
    _draw("bars", panels, path)


def draw_curves(outcomes: Sequence[Outcome], path: Path) -> None:
    """Time and memory of each row that grows with a number."""
    panels = []
    for outcome in outcomes:
        if not outcome.row.grows or not outcome.results:
            continue
        series = sorted(outcome.results.values(), key=lambda runs: runs[0].extra["count"])
        for what, unit in (("seconds", "seconds"), ("peak_mib", "MiB of memory")):
            figures = [[float(getattr(run, what)) for run in runs] for runs in series]
            panel: dict[str, Any] = {"title": outcome.row.name, "x": outcome.row.grows, "y": unit}
            panel["counts"] = [runs[0].extra["count"] for runs in series]
            panel["median"] = [statistics.median(one) for one in figures]
            panel["least"], panel["most"] = [min(one) for one in figures], [max(one) for one in figures]
            panels.append(panel)
    _draw("curves", panels, path)


def _draw(kind: str, panels: Sequence[dict[str, Any]], path: Path) -> None:
    if not panels:
        return
    subprocess.run(
        Environment.LIBRARIES.module("drawing", kind, str(path)),
        input=json.dumps(panels),
        text=True,
        env={**os.environ, "PYTHONPATH": module_path()},
        check=True,
    )


def _middle(runs: Sequence[Measurement], what: str) -> float:
    return statistics.median(float(getattr(run, what)) for run in runs)
