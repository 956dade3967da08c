"""Somebody deletes the pod: no preemption, no failure, and nothing but the deletionTimestamp tells."""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.trio import STOPPED, Judged, Trio
from waypost.contract import Outcome

pytestmark = pytest.mark.matrix


def test_a_deleted_pod_is_replaced_and_uses_no_budget(trio: Trio) -> None:
    trio.start()
    trio.hits()
    trio.scene.kubectl("delete", "pod", *trio.firsts, "--wait=false")
    trio.judge("delete", Judged(outcome=Outcome.DELETED, rule="PodDeleted", budget="freeRetries"), STOPPED)
