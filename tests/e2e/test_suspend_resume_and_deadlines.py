"""What the operator ends itself, with real kubelets: it asks first, with SIGTERM, and the program saves what it has."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.scene import Scene
from tests.e2e.tasks import quick, stepping, task
from waypost import contract
from waypost.contract import ConditionReason, ConditionType, EventReason, Outcome, Placement

Json = dict[str, Any]
NOBODY_HAS = {"waypost.dev/test": "no-such-node"}


def limited(scene: Scene, name: str, command: list[str], **spec: Any) -> Json:
    """A task that bears no failure, with more fields of its spec."""
    body = task(scene, name, command, policy=quick(failures=0))
    body["spec"] |= spec
    return body


def unschedulable(body: Json) -> Json:
    """The same task, for a node that doesn't exist."""
    body["spec"]["template"]["spec"]["nodeSelector"] = NOBODY_HAS
    return body


def suspend(scene: Scene, name: str, value: bool) -> None:
    patch = json.dumps({"spec": {"suspend": value}})
    scene.kubectl("patch", f"{contract.PLURAL}.{contract.GROUP}", name, "--type=merge", "-p", patch)


def reason(scene: Scene, name: str, kind: ConditionType) -> str:
    condition = scene.condition(name, kind)
    return "" if condition is None else str(condition["reason"])


def test_a_suspended_task_saves_leaves_no_pod_counts_nothing_and_goes_on_from_that_save(scene: Scene) -> None:
    command = stepping(scene, "train", "--on-sigterm=save", steps=25, every=1000)
    scene.apply(limited(scene, "train", command))
    scene.wait_running("train-1")
    scene.wait("some work", lambda: any(len(run.done) >= 5 for run in scene.ledger("train").runs))
    suspend(scene, "train", True)
    scene.wait(
        "the task to be suspended",
        lambda: reason(scene, "train", ConditionType.PROGRESSING) == ConditionReason.SUSPENDED,
    )
    status = scene.status("train")
    assert status["state"] == "Suspended"
    assert status["attempts"][0]["outcome"] == Outcome.SUSPENDED
    assert status["counts"] == {"attempts": 1, "preemptions": 0, "failures": 0, "freeRetries": 0}
    scene.wait("the pod to be gone", lambda: scene.pod("train-1") is None)
    assert scene.kubectl("get", "pods", "-o", "name") == ""
    saved = scene.ledger("train").runs[0].saved[-1]
    assert status["lastCheckpoint"]["step"] == saved
    suspend(scene, "train", False)
    status = scene.wait_finished("train")

    assert scene.outcome("train") == "Succeeded"
    told = scene.ledger("train")
    assert told.complaints == []
    assert told.redone == ()
    assert told.runs[0].told_to_stop
    assert [run.resumed_at for run in told.runs] == [0, saved]
    assert [one["outcome"] for one in status["attempts"]] == [Outcome.SUSPENDED, Outcome.COMPLETED]
    assert (status["counts"]["preemptions"], status["counts"]["failures"]) == (0, 0)
    assert scene.history().broken_promises() == []
    for told_of in (EventReason.STOPPING, EventReason.SUSPENDED, EventReason.RESUMED):
        scene.wait_event("train", told_of)


def test_each_limit_of_time_ends_what_it_is_for_and_says_so(scene: Scene) -> None:
    endless = stepping(scene, "active", "--on-sigterm=save", steps=10_000, every=1000)
    long = stepping(scene, "attempt", "--on-sigterm=save", steps=40, every=1000, pace=0.4)
    short = stepping(scene, "overlay", steps=5, pace=0.05)
    overlay = {"onDemand": {"nodeSelector": {"kubernetes.io/os": "linux"}}}
    scene.apply(
        limited(scene, "active", endless, activeDeadlineSeconds=8),
        limited(scene, "attempt", long, attemptDeadlineSeconds=10),
        unschedulable(limited(scene, "pending", short, pendingDeadlineSeconds=3)),
        unschedulable(limited(scene, "overlay", short, pendingDeadlineSeconds=15, preemptionPolicy=overlay)),
    )
    active, attempt, pending, on_demand = (
        scene.wait_finished(name) for name in ("active", "attempt", "pending", "overlay")
    )

    assert scene.outcome("active") == "Failed"
    assert reason(scene, "active", ConditionType.SUCCEEDED) == ConditionReason.DEADLINE_EXCEEDED
    assert active["attempts"][-1]["rule"] == "ActiveDeadline"
    assert active["counts"]["failures"] == 0
    stopped = scene.ledger("active")
    assert stopped.complaints == []
    assert stopped.runs[-1].told_to_stop
    assert active["lastCheckpoint"]["step"] == stopped.runs[-1].done[-1], "what it had when it was told to stop"

    assert scene.outcome("attempt") == "Succeeded"
    rules = [one["rule"] for one in attempt["attempts"]]
    assert set(rules[:-1]) == {"AttemptDeadline"}
    assert attempt["counts"] == {**attempt["counts"], "failures": 0, "preemptions": 0, "freeRetries": len(rules) - 1}
    resumed = scene.ledger("attempt")
    assert resumed.complaints == []
    assert resumed.redone == ()
    assert [run.resumed_at for run in resumed.runs[1:]] == [run.done[-1] for run in resumed.runs[:-1]]

    assert scene.outcome("pending") == "Failed"
    verdict = scene.condition("pending", ConditionType.SUCCEEDED)
    assert verdict is not None
    assert verdict["reason"] == ConditionReason.PENDING_DEADLINE_EXCEEDED
    assert "nodes are available" in verdict["message"], "the scheduler's own words are missing"
    assert pending["counts"]["failures"] == 0

    assert scene.outcome("overlay") == "Succeeded"
    assert on_demand["attempts"][-1]["placement"] == Placement.ON_DEMAND
    assert scene.history().broken_promises() == []
