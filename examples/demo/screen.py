"""The last screen of the demo: what happened to the task, and the counts that an independent witness gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.e2e.scene import Scene
from tests.witness.ledger import Run, Verdict

WIDTH = 100
ENDS = {
    "Completed": "ran to its end",
    "Preempted": "preempted: its machine was wanted back",
    "Recoverable": "asked to be relaunched (exit 75)",
    "Failed": "failed",
}


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns as wide as their widest cell; the first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(f"  {line}" for line in [lines[0], "-" * len(lines[0]), *lines[1:]])


def attempts(status: dict[str, Any], told: Verdict) -> str:
    """The table of attempts: the operator's verdicts beside the ledger's steps."""
    rows = [("attempt", "node", "why it ended", "resumed at", "steps done")]
    runs = {run.attempt: run for run in told.runs}
    for one in status["attempts"]:
        run = runs.get(one["attempt"])
        rows.append(
            (
                str(one["attempt"]),
                str(one.get("node", "?")),
                ENDS.get(one["outcome"], one["outcome"]),
                "-" if run is None else f"step {run.resumed_at}",
                _steps(run),
            )
        )
    return table(rows)


def _steps(run: Run | None) -> str:
    if run is None or not run.done:
        return "none"
    return f"{run.done[0]} to {run.done[-1]}"


def pi(scene: Scene, result: str, expected: str, seconds: float) -> str:
    """The screen for the task `pi`."""
    status, told = scene.status("pi"), scene.ledger("pi")
    same = "the same, to the last bit, as without any preemption" if result == expected else f"EXPECTED {expected}"
    rows = [
        ("Steps lost", str(told.lost), "every save that was confirmed was resumed from"),
        ("Steps repeated", str(len(told.redone) + len(told.repeated)), "done again because no save covered them yet"),
        ("Preemptions", str(status["counts"]["preemptions"]), "none of them counts as a failure"),
        ("Failures", str(status["counts"]["failures"]), ""),
        ("Result", result, same),
    ]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"  {name.ljust(widths[0])}   {value.ljust(widths[1])}   {why}".rstrip() for name, value, why in rows]
    return "\n".join(
        [
            f"Task pi: {scene.outcome('pi')}, {seconds:.0f} s after it was applied",
            "",
            attempts(status, told),
            "",
            *lines,
            "",
            f"  Checkpoints      {status['checkpoint']['uri']}",
            "  Counted from     an append-only ledger that the program writes without Waypost",
        ]
    )


def use_checkpoint(scene: Scene, words: dict[str, str]) -> str:
    """The screen for Flyte's example: what each attempt printed, and how it ended."""
    status = scene.status("use-checkpoint")
    rows = [("attempt", "why it ended", "what it printed at its start")]
    for one in status["attempts"]:
        said = [line for line in words.get(one.get("pod", ""), "").splitlines() if " at iteration " in line]
        rows.append((str(one["attempt"]), ENDS.get(one["outcome"], one["outcome"]), said[0] if said else "nothing"))
    heading = f"Task use-checkpoint (the example of Flyte's documentation): {scene.outcome('use-checkpoint')}"
    return f"{heading}\n\n{table(rows)}"
