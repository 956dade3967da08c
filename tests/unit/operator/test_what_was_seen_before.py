"""An order to stop counts also when the pod's last state no longer shows it, as far as an earlier state did.

Each captured history is told with one more state at its end, in which every trace of the order is wiped. The verdict
must be that of the table all the same; without the earlier states, as after a restart, it is what the last state tells.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.unit.operator import captured
from tests.unit.operator.test_how_ends_are_judged import judge
from tests.unit.operator.verdicts import ROWS
from waypost.contract import Outcome
from waypost_operator.model.earlier import CONDITIONS_KEPT, NOTHING_EARLIER, Earlier
from waypost_operator.model.raw import Json, condition, moment, timestamp
from waypost_operator.model.spec import FailureRule

OF_A_TRACE = sorted(name for name, row in ROWS.items() if row.rule in ("Disruption", "PodDeleted"))
EXITED = [name for name in OF_A_TRACE if captured.history(name)[-1].pod.ended is not None]
OTHERS = sorted(set(ROWS) - set(OF_A_TRACE))


def wiped(raw: Json) -> Json:
    """The same pod without any trace of an order to stop."""
    bare = copy.deepcopy(raw)
    bare["metadata"].pop("deletionTimestamp", None)
    bare["status"].pop("reason", None)
    bare["status"]["conditions"] = [one for one in bare["status"]["conditions"] if one["type"] != "DisruptionTarget"]
    return bare


def told(*states: Json) -> Earlier:
    """What is remembered beside the last of these states."""
    earlier = NOTHING_EARLIER
    for older, newer in itertools.pairwise(states):
        earlier = earlier.then(older, newer)
    return earlier


def wiped_at_the_end(name: str, *, remembered: bool = True) -> captured.Seen:
    """The captured history with one more state, in which the traces are wiped."""
    history = captured.history(name)
    last = wiped(history[-1].pod.raw)
    earlier = told(*(seen.pod.raw for seen in history), last) if remembered else NOTHING_EARLIER
    return dataclasses.replace(history[-1], pod=dataclasses.replace(history[-1].pod, raw=last, earlier=earlier))


@pytest.mark.parametrize("name", OF_A_TRACE)
def test_an_order_that_an_earlier_state_showed_is_judged_like_one_that_still_stands(name: str) -> None:
    verdict, row = judge(wiped_at_the_end(name)), ROWS[name]
    assert (verdict.outcome, verdict.rule, verdict.evidence) == (row.outcome, row.rule, row.evidence)


@pytest.mark.parametrize("name", EXITED)
def test_without_the_earlier_states_the_last_one_alone_is_judged(name: str) -> None:
    assert judge(wiped_at_the_end(name, remembered=False)).rule in ("ExitCode", "Vanished")


@pytest.mark.parametrize("name", OTHERS)
def test_what_was_seen_before_changes_no_verdict_that_the_last_state_gives(name: str) -> None:
    history, row = captured.history(name), ROWS[name]
    earlier = told(*(seen.pod.raw for seen in history))
    verdict = judge(dataclasses.replace(history[-1], pod=dataclasses.replace(history[-1].pod, earlier=earlier)))
    assert (verdict.outcome, verdict.rule) == (row.outcome, row.rule)


def test_a_condition_that_was_taken_back_is_no_evidence() -> None:
    """The disruption controller does so when no deletion has followed: the program went on and failed by itself."""
    last = captured.history("exit1-a")[-1]
    marked, taken_back = target(last.pod.raw, "True"), target(last.pod.raw, "False")
    earlier = told(marked, taken_back, wiped(taken_back))
    assert earlier == NOTHING_EARLIER
    for end, remembered in ((taken_back, told(marked, taken_back)), (wiped(taken_back), earlier)):
        pod = dataclasses.replace(last.pod, raw=end, earlier=remembered)
        assert judge(dataclasses.replace(last, pod=pod)).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("before_the_end", "outcome"),
    [
        (timedelta(seconds=-20), Outcome.PREEMPTED),
        (timedelta(seconds=1), Outcome.PREEMPTED),
        (timedelta(seconds=100), Outcome.PREEMPTED),
        (timedelta(hours=1), Outcome.FAILED),
        (timedelta(hours=-1), Outcome.FAILED),
    ],
)
def test_a_condition_that_was_wiped_ended_only_what_ended_soon_after(
    before_the_end: timedelta, outcome: Outcome
) -> None:
    last = captured.history("exit1-a")[-1]
    assert last.pod.ended is not None
    assert last.pod.ended.finished is not None
    marked = target(last.pod.raw, "True", at=last.pod.ended.finished - before_the_end)
    pod = dataclasses.replace(last.pod, earlier=told(marked, last.pod.raw))
    assert judge(dataclasses.replace(last, pod=pod)).outcome is outcome


def test_a_user_s_rule_on_a_condition_sees_the_earlier_states_too() -> None:
    rule = FailureRule.model_validate(
        {"name": "outranked", "action": "Fail", "onConditions": [{"type": "DisruptionTarget"}]}
    )
    assert judge(wiped_at_the_end("preempt-b"), rules=(rule,)).rule == "outranked"


def test_however_many_conditions_come_and_go_few_are_kept_and_no_more_of_each_than_is_judged() -> None:
    states: list[Json] = []
    for number in range(200):
        one = {"type": f"example.com/c{number}", "status": "True", "message": "x" * 10_000}
        states.append({"metadata": {}, "status": {"conditions": [one]}})
    earlier = told(*states)
    assert len(earlier.conditions) == CONDITIONS_KEPT
    assert len(str(earlier)) < 200 * CONDITIONS_KEPT
    assert condition(earlier.conditions, "example.com/c198")


def target(raw: Json, status: str, *, at: datetime | None = None) -> dict[str, Any]:
    """The pod with a DisruptionTarget condition of that status, as the eviction API sets it; by default at its end."""
    ended = moment(raw["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"])
    assert ended is not None
    since = timestamp(at or ended)
    found = {
        "type": "DisruptionTarget",
        "status": status,
        "reason": "EvictionByEvictionAPI",
        "lastTransitionTime": since,
    }
    bare = wiped(raw)
    bare["status"]["conditions"].append(found)
    return bare
