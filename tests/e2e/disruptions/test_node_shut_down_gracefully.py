"""The machine is about to be shut down and its kubelet knows: what a GKE spot node's last seconds look like.

The kubelet is real and so is its way of learning it (a logind's PrepareForShutdown); only the logind is ours.
"""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.harm import Victim
from tests.e2e.disruptions.trio import ON_SIGTERM, STOPPED, Json, Trio, preempted
from tests.e2e.scene import Scene
from tests.e2e.tasks import stepping, task
from waypost.contract import Outcome

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(360, func_only=True)]

GRACE = {"shutdownGracePeriod": "20s", "shutdownGracePeriodCriticalPods": "10s"}


def test_tasks_of_a_node_that_shuts_down_go_on_elsewhere(trio: Trio) -> None:
    with trio.scene.stage.cluster.shutdown_switch(trio.victim, GRACE) as shut_down:
        trio.start()
        trio.hits()
        shut_down()
        trio.judge("graceful node shutdown", preempted("TerminationByKubelet"), STOPPED)
    nodes = {life.node for name in ON_SIGTERM for life in trio.scene.history().lives(name)[1:]}
    assert trio.victim not in nodes


def test_a_task_that_a_node_in_shutdown_turns_away_counts_as_preempted(scene: Scene, victim: Victim) -> None:
    body = task(scene, "late", stepping(scene, "late", steps=4, every=2))
    body["spec"]["template"]["spec"]["nodeName"] = victim.name
    with victim.cluster.shutdown_switch(victim.name, GRACE) as shut_down:
        shut_down()
        victim.wait("the node to be not ready", lambda: victim.ready() == "False", 30)
        scene.apply(body)
        first = scene.wait("a verdict on the first attempt", lambda: verdict(scene))
        assert (first["outcome"], first["rule"]) == (Outcome.PREEMPTED, "RejectedByNodeShutdown")
    status = scene.wait_finished("late")
    assert scene.outcome("late") == "Succeeded"
    assert status["counts"].get("failures", 0) == 0
    assert [run.resumed_at for run in scene.ledger("late").runs] == [0]
    assert scene.history().broken_promises() == []


def verdict(scene: Scene) -> Json | None:
    attempts: list[Json] = scene.status("late").get("attempts", [])
    return attempts[0] if attempts and "outcome" in attempts[0] else None
