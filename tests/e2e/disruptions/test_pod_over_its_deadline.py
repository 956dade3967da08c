"""`activeDeadlineSeconds` of the pod: the kubelet stops an attempt that takes too long."""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.trio import ON_SIGTERM, STOPPED, Json, Judged, Trio
from waypost import contract
from waypost.contract import Outcome

pytestmark = pytest.mark.matrix

DEADLINE_SECONDS = 20


def limit_time(pod: Json) -> None:
    pod["activeDeadlineSeconds"] = DEADLINE_SECONDS


def test_an_attempt_over_its_pods_deadline_is_retried_freely_if_it_has_saved(trio: Trio) -> None:
    trio.apply(limit_time)
    trio.hits()  # the table's times hold the deadline itself
    for pod in trio.firsts:
        trio.scene.wait_running(pod)
    for name in ON_SIGTERM:  # a changed template holds from the next attempt on
        trio.scene.kubectl(
            *("patch", contract.PLURAL, name, "--type=json", "-p"),
            '[{"op": "remove", "path": "/spec/template/spec/activeDeadlineSeconds"}]',
        )
    trio.wait_saved()
    trio.judge(
        "pod deadline",
        Judged(outcome=Outcome.RECOVERABLE, rule="PodDeadline", budget="freeRetries", evidence="DeadlineExceeded"),
        STOPPED,
    )
