"""The judge of `make chaos`: what it lets pass, and what it doesn't."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.judge import about_the_ledger, judge
from tests.witness import ledger
from tests.witness.ledger import Run

Json = dict[str, Any]


def run(attempt: int, ending: str | None = None, *, finished: bool = False) -> Run:
    return Run(f"run-{attempt}", attempt, "pod", float(attempt), ending=ending, finished=finished)


def status(*outcomes: str, **counts: int) -> Json:
    attempts = [{"attempt": number, "outcome": outcome} for number, outcome in enumerate(outcomes, 1)]
    return {"attempts": attempts, "counts": {"attempts": len(outcomes), **counts}}


def test_what_was_done_is_what_is_counted() -> None:
    said = status("Preempted", "Deleted", "Recoverable", "Failed", "Completed", preemptions=1, failures=2)
    deeds = {"t-1": ["evict"], "t-2": ["delete"]}
    runs = [run(1), run(2), run(3, "exit:75"), run(4, "exit:1"), run(5, finished=True)]
    found = judge("t", said, deeds, runs)
    assert (found.complaints, found.apart) == ([], [])


@pytest.mark.parametrize(
    ("said", "deeds", "runs"),
    [
        pytest.param(status("Preempted", preemptions=1), {}, [run(1)], id="left alone, called preempted"),
        pytest.param(status("Failed", failures=1), {"t-1": ["evict"]}, [run(1)], id="evicted, called a failure"),
        pytest.param(status("Unknown"), {}, [run(1)], id="left alone, called unknown"),
        pytest.param(status("Completed"), {}, [run(1)], id="called complete, never finished"),
        pytest.param(status("Preempted", preemptions=1), {"t-1": ["evict"]}, [run(1, finished=True)], id="it finished"),
        pytest.param(status("Preempted", preemptions=2), {"t-1": ["evict"]}, [run(1)], id="counted twice"),
        pytest.param({**status(), "counts": {"attempts": 1}}, {}, [], id="an attempt is missing"),
    ],
)
def test_a_wrong_word_is_noticed(said: Json, deeds: dict[str, list[str]], runs: list[Run]) -> None:
    assert judge("t", said, deeds, runs).complaints


def test_an_end_that_nobody_saw_is_listed_apart() -> None:
    found = judge("t", status("Unknown", "Completed"), {"t-1": ["evict"]}, [run(1), run(2, finished=True)])
    assert (found.complaints, found.apart) == ([], ["t-1: evict"])


def test_a_store_out_of_reach_is_listed_apart_if_the_exit_code_was_seen() -> None:
    said = status("StorageUnavailable", "Completed")
    runs = [run(2, finished=True)]
    found = judge("t", said, {}, runs, {"t-1": 74, "t-2": 0})
    assert (found.complaints, found.apart) == ([], ["t-1: its store was out of reach"])
    assert judge("t", said, {}, runs, {"t-1": 1, "t-2": 0}).complaints, "the operator says so, the pod didn't"


def test_only_a_pod_deleted_by_force_may_do_a_step_after_its_successor_resumed() -> None:
    line = '{"at":%s,"number":%s,"run":"%s","attempt":%s,"pod":"p","word":"%s","step":%s}\n'
    text = "".join(
        line % row
        for row in [
            (1, 1, "a", 1, "resumed", 0),
            (2, 1, "b", 2, "started", 0),
            (3, 2, "b", 2, "resumed", 0),
            (4, 2, "a", 1, "done", 1),
        ]
    )
    told = ledger.judge(text)
    assert about_the_ledger("t", told, {"t-1": ["force"]}) == []
    assert about_the_ledger("t", told, {"t-1": ["evict"]}) == list(told.overtaken) != []
