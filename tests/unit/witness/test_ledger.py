"""The judge of the program's ledger: each fault it names is shown to it once."""

from __future__ import annotations

import json
from typing import Any

from tests.witness import ledger


def run_lines(
    attempt: int, at: float, resumed: int, done: range, saved: tuple[int, ...] = (), **last: Any
) -> list[dict[str, Any]]:
    """The lines of one process: resumed, the steps it did, the saves confirmed right behind their steps."""
    words: list[dict[str, Any]] = [{"word": "started"}, _state("resumed", resumed)]
    for step in done:
        words += [{"word": "begin", "step": step}, _state("done", step)]
        if step in saved:
            words += [{"word": "saving", "step": step}, {"word": "saved", "step": step}]
    if last:
        words.append(last)
    fixed = {"run": f"run-{attempt}-{at}", "attempt": attempt, "pod": f"train-{attempt}"}
    return [{"at": at + number / 100, "number": number, **fixed, **word} for number, word in enumerate(words)]


def _state(word: str, step: int) -> dict[str, Any]:
    return {"word": word, "step": step, "digest": ledger.state_after(step)}


def text(*runs: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for run in runs for line in run)


def test_a_preempted_run_that_goes_on_from_its_last_save_has_no_complaint() -> None:
    verdict = ledger.judge(
        text(
            run_lines(1, 1.0, 0, range(1, 9), saved=(5,)),
            run_lines(2, 10.0, 5, range(6, 11), saved=(10,), word="finished", step=10),
        )
    )
    assert verdict.complaints == []
    assert (verdict.lost, verdict.repeated, verdict.redone) == (0, (), (6, 7, 8))
    assert verdict.finished
    assert [run.resumed_at for run in verdict.runs] == [0, 5]


def test_a_confirmed_save_that_a_later_attempt_did_not_get_back_is_lost() -> None:
    verdict = ledger.judge(
        text(run_lines(1, 1.0, 0, range(1, 8), saved=(5,)), run_lines(2, 10.0, 0, range(1, 4), saved=()))
    )
    assert verdict.lost == 5
    assert verdict.repeated == (1, 2, 3)
    assert "resumed at step 0 although step 5 had been confirmed" in verdict.complaints[0]
    assert "steps done again although saved" in verdict.complaints[1]


def test_a_save_two_attempts_ago_is_not_forgotten_either() -> None:
    verdict = ledger.judge(
        text(
            run_lines(1, 1.0, 0, range(1, 6), saved=(5,)),
            run_lines(2, 10.0, 5, range(6, 7)),
            run_lines(3, 20.0, 3, range(4, 5)),
        )
    )
    assert verdict.lost == 2


def test_resuming_at_a_save_that_landed_though_it_was_never_confirmed_is_fine() -> None:
    verdict = ledger.judge(text(run_lines(1, 1.0, 0, range(1, 6)), run_lines(2, 10.0, 5, range(6, 8))))
    assert verdict.complaints == []
    assert verdict.redone == ()


def test_resuming_behind_work_that_nobody_did_is_a_guess() -> None:
    verdict = ledger.judge(text(run_lines(1, 1.0, 0, range(1, 4)), run_lines(2, 10.0, 5, range(6, 8))))
    assert verdict.skipped == (4, 5)
    assert "never done" in verdict.complaints[0]


def test_a_state_that_the_steps_do_not_give_is_noticed() -> None:
    second = run_lines(2, 10.0, 3, range(4, 6))
    second[1]["digest"] = ledger.state_after(2)
    verdict = ledger.judge(text(run_lines(1, 1.0, 0, range(1, 4), saved=(3,)), second))
    assert verdict.strayed == (3,)
    assert verdict.complaints


def test_an_earlier_attempt_still_at_work_after_the_next_has_resumed_is_reported() -> None:
    first, second = run_lines(1, 1.0, 0, range(1, 5), saved=(2,)), run_lines(2, 1.05, 2, range(3, 6))
    lines = sorted([*first, *second], key=lambda line: line["at"])
    verdict = ledger.judge(text(lines))
    assert "attempt 1 still did step" in verdict.overtaken[0]


def test_a_save_confirmed_to_an_attempt_that_has_been_replaced_is_reported_even_where_a_zombie_is_excused() -> None:
    first, second = run_lines(1, 1.0, 0, range(1, 5), saved=(2, 4)), run_lines(2, 1.08, 2, range(3, 6))
    verdict = ledger.judge(text(sorted([*first, *second], key=lambda line: line["at"])))
    assert verdict.unfenced == (
        "step 4 of attempt 1 was confirmed as saved although attempt 2 had resumed at step 2 before",
    )
    assert verdict.damage == list(verdict.unfenced)


def test_a_save_that_the_successor_resumed_from_may_be_confirmed_late() -> None:
    first, second = run_lines(1, 1.0, 0, range(1, 5), saved=(4,)), run_lines(2, 1.11, 4, range(5, 7))
    assert ledger.judge(text(sorted([*first, *second], key=lambda line: line["at"]))).damage == []


def test_a_line_that_is_still_being_written_is_left_out() -> None:
    whole = text(run_lines(1, 1.0, 0, range(1, 4)))
    assert ledger.judge(whole + '{"at": 1.0, "wor').runs[0].done == [1, 2, 3]


def test_lines_that_stand_in_the_files_of_two_nodes_count_once() -> None:
    first, second = text(run_lines(1, 1.0, 0, range(1, 6), saved=(5,))), text(run_lines(2, 10.0, 5, range(6, 8)))
    verdict = ledger.judge(second, first + second)
    assert verdict.complaints == []
    assert [run.done for run in verdict.runs] == [[1, 2, 3, 4, 5], [6, 7]]
