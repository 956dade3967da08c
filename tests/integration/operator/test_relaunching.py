"""What becomes of a task whose pod ends, by the operator on a real API server."""

from __future__ import annotations

import statistics
import time

import pytest

from .kubelet import Kubelet, document
from .process import OperatorProcess
from .stage import Stage, condition

pytestmark = pytest.mark.integration


async def test_a_preempted_task_gets_its_next_pod_within_moments(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    await stage.apply("train")
    waits = []
    for attempt in range(1, 13):
        pod = await stage.pod(f"train-{attempt}")
        await kubelet.start(pod)
        await stage.status("train", lambda status: status.get("state") == "Running", "is running")
        await kubelet.evict(pod, document(attempt, step=10 * attempt, sequence=attempt))
        ended = time.monotonic()
        await stage.pod(f"train-{attempt + 1}", seconds=10)
        waits.append(1000 * (time.monotonic() - ended))
        await kubelet.remove(pod)
    status = await stage.status("train", lambda status: status.get("attempt") == 13, "attempt 13")
    assert status["counts"]["preemptions"] == 12
    assert status["counts"]["failures"] == 0
    assert status["progress"]["step"] == 120
    with capsys.disabled():
        print(
            f"\nfrom the terminal state to the next pod, {len(waits)} preemptions: "
            f"median {statistics.median(waits):.0f} ms, worst {max(waits):.0f} ms"
        )


async def test_a_recoverable_exit_resumes(stage: Stage, kubelet: Kubelet, operator: OperatorProcess) -> None:
    await stage.apply("train")
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await kubelet.end(pod, "exit75-a", document(1, step=5))
    second = await stage.pod("train-2")
    environment = {entry["name"]: entry.get("value") for entry in second["spec"]["containers"][0]["env"]}
    assert environment["WAYPOST_ATTEMPT"] == "2"
    status = await stage.status("train", lambda status: status.get("attempt") == 2, "attempt 2")
    assert status["counts"]["failures"] == 0


async def test_a_failure_beyond_the_budget_fails_the_task(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    quick = {"initialSeconds": 1, "maxSeconds": 1}
    await stage.apply("train", failurePolicy={"maxFailures": 1, "backoff": quick})
    for attempt in (1, 2):
        pod = await stage.pod(f"train-{attempt}")
        await kubelet.start(pod)
        await kubelet.end(pod, "exit1-a")
    verdict = await stage.condition("train", "Succeeded", "MaxFailuresExceeded")
    assert verdict["status"] == "False"
    assert sorted(await stage.pods()) == ["train-1", "train-2"]
    await stage.until(
        "a user is told", lambda: stage.events("train"), lambda events: "Failed" in [e["reason"] for e in events]
    )


async def test_a_program_that_ran_to_its_end_succeeds(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await stage.apply("train")
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await kubelet.end(pod, "exit0-a", document(1, step=9, completed=True))
    status = await stage.status("train", lambda status: status.get("state") == "Succeeded", "succeeded")
    assert condition(status, "Succeeded")["status"] == "True"
    assert sorted(await stage.pods()) == ["train-1"]


async def test_an_eviction_that_the_program_answers_with_exit_0_is_no_success(
    stage: Stage, kubelet: Kubelet, operator: OperatorProcess
) -> None:
    await stage.apply("train")
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "train-1"}}
    await stage.call("POST", stage.path("pods", "train-1", "eviction"), eviction)
    await kubelet.end(pod, "exit0-a")
    await kubelet.remove(pod)
    await stage.pod("train-2")


async def test_a_pod_that_is_forced_away_is_replaced(stage: Stage, kubelet: Kubelet, operator: OperatorProcess) -> None:
    await stage.apply("train")
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await stage.status("train", lambda status: status.get("state") == "Running", "is running")
    await kubelet.remove(pod)
    await stage.pod("train-2")


async def test_what_was_told_to_the_user(stage: Stage, kubelet: Kubelet, operator: OperatorProcess) -> None:
    await stage.apply("train")
    pod = await stage.pod("train-1")
    await kubelet.start(pod)
    await kubelet.evict(pod, document(1, step=5))
    await stage.pod("train-2")
    events = await stage.until(
        "all Events are there",
        lambda: stage.events("train"),
        lambda events: [event["reason"] for event in events].count("AttemptStarted") == 2,
    )
    assert [event["reason"] for event in events] == ["AttemptStarted", "Preempted", "AttemptStarted"]
    assert all(event["reportingController"] == "waypost-operator" for event in events)
