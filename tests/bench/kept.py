"""What runs have measured, kept beside the page that is made of it: docs/benchmarks.json.

Whoever measures one row again replaces that row's figures and keeps the others, and a run that is cut loses no more
than the row that it was at. An outcome has a line for each measurement, so that a diff shows what was measured anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.contest import Circumstances, Outcome, Row
from tests.bench.measuring import Measurement

KEPT = Path(__file__).parents[2] / "docs" / "benchmarks.json"
_DIGITS = 6


def read(rows: Sequence[Row], path: Path = KEPT) -> list[Outcome]:
    """What is kept of these rows under the settings that they still have, in the order of both."""
    if not path.exists():
        return []
    told = {(one["row"], one["setting"]): one for one in json.loads(path.read_text(encoding="utf-8"))}
    outcomes = []
    for row in rows:
        for setting in row.settings:
            if (one := told.get((row.name, setting.label))) is None:
                continue
            results = {name: [Measurement(**run) for run in runs] for name, runs in one["results"].items()}
            circumstances = Circumstances(**one["circumstances"])
            needed = frozenset(one["needed"])
            outcomes.append(Outcome(row, setting, results, one["failures"], needed, circumstances, one["moved"]))
    return outcomes


def keep(outcome: Outcome, rows: Sequence[Row], path: Path = KEPT) -> bool:
    """Put it in the place of what is kept of that row under that setting, unless it failed and the old one did not.

    False when the old one was left.
    """
    before = read(rows, path)
    mine = (outcome.row.name, outcome.setting)
    if not outcome.sound and any(old.sound for old in before if (old.row.name, old.setting) == mine):
        return False
    outcomes = [old for old in before if (old.row.name, old.setting) != mine] + [outcome]
    partial = path.with_suffix(".partial")
    partial.write_text("[\n" + ",\n".join(map(_lines, outcomes)) + "\n]\n", encoding="utf-8")
    partial.rename(path)
    return True


def _lines(outcome: Outcome) -> str:
    head = {
        "row": outcome.row.name,
        "setting": outcome.setting.label,
        "circumstances": asdict(outcome.circumstances),
        "moved": outcome.moved,
        "needed": sorted(outcome.needed),
        "failures": {name: text.strip().splitlines()[-1] for name, text in outcome.failures.items()},
    }
    contestants = []
    for name, runs in outcome.results.items():
        lines = ",\n".join(f"  {json.dumps(_rounded(asdict(run)))}" for run in runs)
        contestants.append(f" {json.dumps(name)}: [\n{lines}\n ]")
    return json.dumps(head)[:-1] + ', "results": {\n' + ",\n".join(contestants) + "\n}}"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return round(value, _DIGITS) if isinstance(value, float) else value
