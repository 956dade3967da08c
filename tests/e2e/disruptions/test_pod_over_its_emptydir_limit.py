"""A pod that fills an emptyDir beyond its sizeLimit is evicted for a fault of its own.

The kubelet measures volumes once a minute, gives one second whatever the pod's grace, and puts no DisruptionTarget
on the pod. A program that exits 0 then leaves no trace of the eviction at all, so all that can be known is that it was
told to stop: it counts as preempted, never as complete.
"""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.trio import DEAF, EXIT_CODES, EXITS, SAVES, Json, Judged, Traces, Trio, preempted
from waypost.contract import Outcome

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(420, func_only=True)]

FAILED = Judged(outcome=Outcome.FAILED, rule="Evicted", budget="failures", evidence="exceeds the limit")


def add_scratch(pod: Json) -> None:
    pod["volumes"].append({"name": "scratch", "emptyDir": {"sizeLimit": "4Mi"}})
    pod["containers"][0]["volumeMounts"].append({"name": "scratch", "mountPath": "/scratch"})


def test_a_pod_over_the_limit_of_its_emptydir_fails_and_resumes(trio: Trio) -> None:
    trio.start(add_scratch)
    trio.hits()
    for pod in trio.firsts:
        trio.scene.order(pod, "file:8:/scratch/junk")
    judged = {SAVES: preempted("told to stop", rule="StopRequested"), EXITS: FAILED, DEAF: FAILED}
    trio.judge("emptyDir limit", judged, Traces(exit_codes=EXIT_CODES, hurried=True), seconds=150)
