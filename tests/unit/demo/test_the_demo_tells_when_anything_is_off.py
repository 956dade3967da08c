"""The demo's exit status is worth something: each promise that its ledger shows broken becomes a complaint."""

from __future__ import annotations

import json
from typing import Any

import pytest

from examples.demo import pi
from examples.demo.__main__ import check_pi, expected_result
from tests.witness import ledger

Line = dict[str, Any]


class PlayedScene:
    """What `check_pi` asks of a scene, with a ledger and a status that a test writes."""

    def __init__(self, lines: list[Line], outcome: str = "Succeeded", preemptions: int = 1, failures: int = 0) -> None:
        self.text = "".join(json.dumps({**line, "number": number}) + "\n" for number, line in enumerate(lines))
        self.ended = outcome
        self.counts = {"preemptions": preemptions, "failures": failures}

    def ledger(self, task: str) -> ledger.Verdict:
        return ledger.judge(self.text)

    def status(self, task: str) -> dict[str, Any]:
        return {"counts": self.counts}

    def outcome(self, task: str) -> str:
        return self.ended


def run(attempt: int, resumed: int, until: int, *, finished: bool = False) -> list[Line]:
    fixed = {"run": f"run-{attempt}", "attempt": attempt, "pod": f"pi-{attempt}", "at": float(attempt)}
    words: list[Line] = [{"word": "started"}, {"word": "resumed", "step": resumed}]
    for step in range(resumed + 1, until + 1):
        words.append({"word": "done", "step": step})
        if step % pi.SAVE_EVERY == 0:
            words.append({"word": "saved", "step": step})
    if finished:
        words.append({"word": "finished", "step": until})
    return [{**fixed, **word} for word in words]


WELL = [*run(1, 0, 15), *run(2, 15, pi.STEPS, finished=True)]


def test_a_run_as_promised_has_no_complaint() -> None:
    assert check_pi(PlayedScene(WELL), expected_result()) == []


@pytest.mark.parametrize(
    ("scene", "result", "words"),
    [
        (
            PlayedScene([*run(1, 0, 15), *run(2, 0, pi.STEPS, finished=True)]),
            None,
            "resumed at step 0 although step 15",
        ),
        (PlayedScene([*run(1, 0, 12), *run(2, 15, pi.STEPS, finished=True)]), None, "never done, but resumed behind"),
        (PlayedScene(WELL, outcome="Failed"), None, "the task ended Failed"),
        (PlayedScene(WELL, preemptions=0, failures=1), None, "one preemption and no failure were due"),
        (PlayedScene(run(1, 0, pi.STEPS, finished=True)), None, "two attempts were due"),
        (PlayedScene(WELL), "3.14", "the result is 3.14"),
    ],
    ids=["lost", "skipped", "failed", "counted as a failure", "never preempted", "wrong result"],
)
def test_whatever_is_off_is_told(scene: PlayedScene, result: str | None, words: str) -> None:
    complaints = check_pi(scene, result or expected_result())
    assert any(words in complaint for complaint in complaints), complaints
