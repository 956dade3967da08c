"""A pod that the Eviction API is asked for, as every autoscaler and rebalancer does, is replaced at once."""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.trio import STOPPED, Trio, preempted

pytestmark = pytest.mark.matrix


def test_an_evicted_pod_is_replaced_at_once_and_costs_no_failure(trio: Trio) -> None:
    trio.start()
    trio.hits()
    for pod in trio.firsts:
        trio.scene.evict(pod)
    trio.judge("eviction", preempted("EvictionByEvictionAPI"), STOPPED)
