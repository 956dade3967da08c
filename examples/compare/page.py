"""docs/comparison.md, made from what a run has shown."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "comparison.md"

_BEFORE = """# Beside Flyte

Flyte's intra-task checkpoints are where Waypost began: `read`, `write`, `save` and `restore` are theirs, and a program
written for them runs here with one import line changed. This page shows what differs when things go wrong. It is
written by `make compare`, which runs one program under both, unchanged but for that line
([program.py](../examples/compare/program.py)), and copies here what each said. Only local disks and a local S3 server
are used; no Flyte cluster runs. Each attempt of flytekit is started by `pyflyte-execute` with a checkpoint prefix of
its own and the prefix of the attempt before, which is what the Flyte v1 backend gives it; its verdict is the
`error.pb` that the backend reads. Each attempt of Waypost is started by `waypost run` under the operator's
environment; its verdict is the exit code and the document in the termination message.
"""

_AFTER = """
In Flyte v1 a `NON_RECOVERABLE` error ends the task whatever `retries` says. Waypost's exit 74 is retried without using
any budget, with a condition that names the storage.

## What this doesn't show, and what Flyte does well
- Flyte is a whole platform: typed workflows, a catalogue, caching of task results, a console, map tasks, plugins for
  dozens of engines. Waypost runs one task and keeps its progress; it has none of that, and doesn't want to.
- A Flyte checkpoint is plain files under a prefix: any tool can read it, with nothing to explain. Waypost's are packs
  and a log, readable by [a page of rules](format.md) or by `Checkpoints(uri).restore(folder)`.
- flytekit saves through fsspec, with no demands on the store. Waypost wants conditional writes to fence a zombie by,
  and says what is weaker without them.
- Flyte keeps two retry budgets, one for the system's failures, and can move the last run to on-demand machines.
- Flyte's own SDK 2 (`flyte`, not compared here) stages one archive per attempt, so it mixes no steps; it takes any
  `OSError` of a load for "nothing saved yet" (read in its source at 2.12.1, `_checkpoint.py`).
"""


@dataclass(frozen=True)
class Row:
    """One misfortune, and what each system made of it."""

    title: str
    story: str
    told: Mapping[str, str]


def write_page(rows: Sequence[Row], versions: str, day: datetime.date) -> None:
    """Write docs/comparison.md."""
    parts = [_BEFORE, f"\nRun of {day.isoformat()}: {versions}.\n"]
    for row in rows:
        parts.append(f"\n## {row.title}\n{row.story}\n\n| | |\n|---|---|\n")
        parts += [f"| {name} | {_cell(what)} |\n" for name, what in row.told.items()]
    PAGE.write_text("".join([*parts, _AFTER]), encoding="utf-8")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
