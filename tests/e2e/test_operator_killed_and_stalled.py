"""An operator that dies at the worst moments, over and over: tasks are relaunched and finish all the same.

An independent recorder watches every pod: never two of one task alive at once, and no unfinished task without one
for longer than its backoff + 30 s, although the operator spends most of this time dead or starting.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.scene import Scene
from tests.e2e.stage import Stage
from tests.e2e.tasks import stepping, task
from tests.e2e.under_fire import OperatorUnderFire
from tests.witness.apiproxy import Request

pytestmark = pytest.mark.timeout(600, func_only=True)
SEED = 20261123


@pytest.fixture(scope="module", autouse=True)
def alone(stage: Stage) -> Iterator[None]:
    """The operator in the cluster rests: these tests run their own."""
    with stage.without_operator():
        yield


@pytest.fixture
def operator(scene: Scene, tmp_path: Path) -> Iterator[OperatorUnderFire]:
    with OperatorUnderFire(scene.stage, scene.namespace, tmp_path) as operator:
        yield operator


def is_event(request: Request) -> bool:
    return "/events" in request.path


def changes_state(request: Request) -> bool:
    return not is_event(request)


@pytest.mark.parametrize("writes", ["state", "events"])
def test_killed_before_and_after_each_write_it_still_keeps_every_promise(
    scene: Scene, operator: OperatorUnderFire, writes: str
) -> None:
    operator.never_survive(changes_state if writes == "state" else is_event)
    scene.apply(task(scene, "train", stepping(scene, "train", "--end=15=exit:75@2", steps=20, every=5)))
    scene.wait_saved("train", 5, 120)
    scene.evict("train-1")
    status = scene.wait_finished("train", 400)

    print(f"{scene.namespace}: the operator lived {operator.life} times", *map(str, operator.deaths), sep="\n  ")
    assert operator.unexpected_ends == []
    _promises_kept(scene, "train", [0, None, 15])
    evicted, recoverable, completed = (one["outcome"] for one in status["attempts"])
    # An evicted pod is gone a second after its end: if no operator lived in that second, nobody knows how it ended.
    assert evicted in ("Preempted", "Unknown")
    assert (recoverable, completed) == ("Recoverable", "Completed")
    assert status["counts"]["failures"] == 0
    struck = {
        when: {_what(death.write) for death in operator.deaths if death.when == when} for when in ("before", "after")
    }
    assert struck["before"] == struck["after"], "a write was met on one side only"
    assert struck["before"] >= ({"write status", "create pods"} if writes == "state" else {"create events"})


def test_twenty_random_kills_and_stalls_leave_no_trace(scene: Scene, operator: OperatorUnderFire) -> None:
    ends = [f"--end={step}=exit:75@{attempt}" for attempt, step in enumerate(range(10, 70, 10), start=1)]
    for name in ("left", "right"):
        scene.apply(task(scene, name, stepping(scene, name, *ends, steps=75, every=5, pace=0.3)))
    # This one takes its whole grace to go, again and again: time enough to create its successor too early.
    deaf = stepping(scene, "deaf", "--on-sigterm=deaf", steps=40, every=4, pace=0.3)
    scene.apply(task(scene, "deaf", deaf, grace=3))
    with ThreadPoolExecutor(1) as pool:
        fire = pool.submit(operator.random_fire, 20, SEED, longest_life=6.0, longest_stall=3.0)
        for attempt in (1, 2, 3):
            _wait_for_a_save(scene, "deaf", attempt)
            scene.evict(f"deaf-{attempt}")
        fire.result()
    for name in ("left", "right"):
        status = scene.wait_finished(name, 300)
        assert [one["outcome"] for one in status["attempts"]] == ["Recoverable"] * 6 + ["Completed"]
        _promises_kept(scene, name, [0, 10, 20, 30, 40, 50, 60])
    assert scene.wait_finished("deaf", 300)["counts"]["failures"] == 0
    _promises_kept(scene, "deaf", [0, None, None, None])
    assert len(operator.deaths) == 20
    assert operator.unexpected_ends == []


def test_a_reply_that_never_arrives_is_not_taken_for_a_refusal(scene: Scene, operator: OperatorUnderFire) -> None:
    lost: list[str] = []

    def lose_each_reply_once(request: Request, when: str) -> bool:
        what = f"{request.method} {request.path}"
        if when == "after" and changes_state(request) and what not in lost:
            lost.append(what)
            return False
        return True

    operator.proxy.on_write = lose_each_reply_once
    scene.apply(task(scene, "train", stepping(scene, "train", "--end=5=exit:75@1", steps=10, every=5)))
    scene.wait_finished("train", 120)
    assert {what.split()[0] for what in lost} >= {"POST", "PUT"}
    _promises_kept(scene, "train", [0, 5])
    assert operator.life == 1, "it is no reason to die"


def _wait_for_a_save(scene: Scene, name: str, attempt: int) -> None:
    def has_saved() -> bool:
        return any(run.saved for run in scene.ledger(name).runs if run.attempt == attempt)

    scene.wait(f"a confirmed save of attempt {attempt} of {name}", has_saved, 120)


def _promises_kept(scene: Scene, name: str, resumed: list[int | None]) -> None:
    assert scene.outcome(name) == "Succeeded"
    told = scene.ledger(name)
    assert told.complaints == []
    assert told.finished
    assert len(told.runs) == len(resumed), "an attempt ran twice, or not at all"
    for run, step in zip(told.runs, resumed, strict=True):
        assert step is None or run.resumed_at == step
    assert scene.history().broken_promises() == []
    assert [life.name for life in scene.history().lives(name)] == [f"{name}-{run.attempt}" for run in told.runs]


def _what(write: Request | None) -> str:
    """`create pods`, `write status`, `create events` ..."""
    if write is None:
        return "nothing"
    if write.path.endswith("/status"):
        return "write status"
    kind = next(kind for kind in ("pods", "events") if f"/{kind}" in write.path)
    return f"{'create' if write.method == 'POST' else write.method.lower()} {kind}"
