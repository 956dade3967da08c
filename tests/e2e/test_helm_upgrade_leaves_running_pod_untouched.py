"""Upgrading the operator, or taking it away for a while, is nothing a running task notices."""

from __future__ import annotations

from tests.e2e.scene import Scene
from tests.e2e.stage import RELEASE, SYSTEM
from tests.e2e.tasks import stepping, task


def test_the_pod_runs_on_through_an_upgrade_and_the_new_operator_takes_over(scene: Scene) -> None:
    command = stepping(scene, "train", "--end=60=exit:75@1", steps=70, every=5, pace=0.25)
    scene.apply(task(scene, "train", command))
    before = scene.wait_running("train-1")
    operator_before = _operator_pods(scene)
    scene.stage.helm_upgrade("--set", "operator.workers=3")
    assert not _operator_pods(scene) & operator_before, "the upgrade did not replace the operator"
    after = scene.pod("train-1")
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"], "the upgrade touched the pod"
    assert after["status"]["phase"] == "Running", "the program was too short to be upgraded around"

    status = scene.wait_finished("train")
    assert [one["outcome"] for one in status["attempts"]] == ["Recoverable", "Completed"]
    assert status["counts"]["failures"] == 0
    told = scene.ledger("train")
    assert told.complaints == []
    assert [run.resumed_at for run in told.runs] == [0, 60]
    assert scene.history().broken_promises() == []


def test_what_ended_while_there_was_no_operator_is_judged_when_it_is_back(scene: Scene) -> None:
    command = stepping(scene, "train", "--end=10=exit:75@1", steps=15, every=5, pace=0.2)
    scene.apply(task(scene, "train", command))
    scene.wait_running("train-1")
    with scene.stage.without_operator():
        scene.wait_ended("train-1")
    scene.wait_finished("train")
    assert scene.outcome("train") == "Succeeded"
    assert scene.ledger("train").complaints == []


def _operator_pods(scene: Scene) -> set[str]:
    selector = f"app.kubernetes.io/instance={RELEASE}"
    return set(scene.stage.cluster.kubectl("-n", SYSTEM, "get", "pods", "-l", selector, "-o", "name").split())
