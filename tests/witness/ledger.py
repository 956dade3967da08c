"""Judges the ledger that the witness program wrote: was anything lost, was anything done again that was saved.

    lost       a confirmed save was forgotten: a later attempt resumed below it
    skipped    an attempt resumed above work that was never done
    repeated   steps done again although a confirmed save covered them: must not happen
    redone     steps done again because no save covered them yet: the price of a preemption, bounded by save-every
    strayed    a state that differs from what the steps before it give: mixed, damaged or guessed
    overtaken  a step done by an earlier attempt after a later one had resumed: two at work at once
    unfenced   a save confirmed to an earlier attempt after a later one had resumed from a step below it

Only `redone` may be other than empty; and `overtaken` where the cluster took a pod for gone that still ran.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.witness import program


@dataclass
class Run:
    """One process of the program, which is one attempt unless a container was started twice."""

    run: str
    attempt: int
    pod: str
    started: float
    resumed_at: int | None = None
    resumed_time: float | None = None
    confirmed_before: int = 0
    done: list[int] = field(default_factory=list)
    saving: list[int] = field(default_factory=list)
    saved: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    redone: list[int] = field(default_factory=list)
    ending: str | None = None
    told_to_stop: bool = False
    finished: bool = False


@dataclass(frozen=True)
class Verdict:
    """What the ledger proves; `complaints` are sentences, empty when every promise was kept."""

    runs: tuple[Run, ...]
    lost: int
    skipped: tuple[int, ...]
    repeated: tuple[int, ...]
    redone: tuple[int, ...]
    strayed: tuple[int, ...]
    overtaken: tuple[str, ...]
    unfenced: tuple[str, ...]
    finished: bool

    @property
    def complaints(self) -> list[str]:
        """All of them; two at work at once among them."""
        return [*self.damage, *self.overtaken]

    @property
    def damage(self) -> list[str]:
        """What no zombie excuses."""
        sentences = []
        for run in self.runs:
            if run.resumed_at is not None and run.resumed_at < run.confirmed_before:
                sentences.append(
                    f"attempt {run.attempt} resumed at step {run.resumed_at} although step {run.confirmed_before} "
                    "had been confirmed as saved"
                )
        if self.skipped:
            sentences.append(f"steps never done, but resumed behind: {list(self.skipped)}")
        if self.repeated:
            sentences.append(f"steps done again although saved: {list(self.repeated)}")
        if self.strayed:
            sentences.append(f"steps whose state is not what the steps before give: {list(self.strayed)}")
        return [*sentences, *self.unfenced]


def read(path: Path) -> Verdict:
    """Judge a ledger file; a last line that is still being written is left out."""
    return judge(path.read_text(encoding="utf-8"))


def judge(*texts: str) -> Verdict:
    """Judge the text of one ledger, in its own order, or of several by their clocks (a file per node; lines of one
    process may stand in several of them, when nodes share a disk)."""
    lines = _lines(texts)
    if len(texts) > 1:
        lines.sort(key=lambda line: (line["at"], line["number"]))
    return _judge(lines)


_states = [""]
_lock = threading.Lock()


def state_after(step: int) -> str:
    """The program's state after `step` steps, worked out here from the first one on."""
    with _lock:
        while len(_states) <= step:
            _states.append(program.work(_states[-1], len(_states)))
    return _states[step]


def _lines(texts: Iterable[str]) -> list[dict[str, Any]]:
    unique: dict[tuple[str, int], dict[str, Any]] = {}
    for text in texts:
        for raw in text[: text.rfind("\n") + 1].splitlines():
            line = json.loads(raw)
            unique[line["run"], line["number"]] = line
    return list(unique.values())


def _judge(lines: list[dict[str, Any]]) -> Verdict:
    runs: dict[str, Run] = {}
    done: set[int] = set()
    skipped: set[int] = set()
    strayed: set[int] = set()
    overtaken: list[str] = []
    unfenced: list[str] = []
    confirmed = 0
    for line in lines:
        word, step = line["word"], line.get("step", 0)
        run = runs.setdefault(line["run"], Run(line["run"], line["attempt"], line["pod"], line["at"]))
        if "digest" in line and line["digest"] != state_after(step):
            strayed.add(step)
        match word:
            case "resumed":
                run.resumed_at, run.resumed_time, run.confirmed_before = step, line["at"], confirmed
                skipped |= set(range(1, step + 1)) - done
            case "done":
                later = [other for other in runs.values() if other.resumed_time and other.started > run.started]
                if later:
                    overtaken.append(
                        f"attempt {run.attempt} still did step {step} after attempt {later[0].attempt} had resumed"
                    )
                if step in done:
                    (run.repeated if step <= run.confirmed_before else run.redone).append(step)
                done.add(step)
                run.done.append(step)
            case "saving":
                run.saving.append(step)
            case "saved":
                unfenced += [
                    f"step {step} of attempt {run.attempt} was confirmed as saved although attempt {other.attempt} "
                    f"had resumed at step {other.resumed_at} before"
                    for other in runs.values()
                    if other.started > run.started and other.resumed_at is not None and other.resumed_at < step
                ]
                confirmed = max(confirmed, step)
                run.saved.append(step)
            case "ending":
                run.ending = line["how"]
            case "told to stop":
                run.told_to_stop = True
            case "finished":
                run.finished = True
    ordered = tuple(sorted(runs.values(), key=lambda run: run.started))
    return Verdict(
        runs=ordered,
        lost=sum(max(0, run.confirmed_before - run.resumed_at) for run in ordered if run.resumed_at is not None),
        skipped=tuple(sorted(skipped)),
        repeated=tuple(step for run in ordered for step in run.repeated),
        redone=tuple(step for run in ordered for step in run.redone),
        strayed=tuple(sorted(strayed)),
        overtaken=tuple(overtaken),
        unfenced=tuple(unfenced),
        finished=any(run.finished for run in ordered),
    )
