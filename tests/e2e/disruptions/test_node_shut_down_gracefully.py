"""The machine is about to be shut down and its kubelet knows: what a GKE spot node's last seconds look like.

The kubelet is real and so is its way of learning it (a logind's PrepareForShutdown); only the logind is ours.
"""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.trio import STOPPED, Trio, preempted

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(360, func_only=True)]


def test_tasks_of_a_node_that_shuts_down_go_on_elsewhere(trio: Trio) -> None:
    cluster = trio.scene.stage.cluster
    grace = {"shutdownGracePeriod": "20s", "shutdownGracePeriodCriticalPods": "10s"}
    with cluster.shutdown_switch(trio.victim, grace) as shut_down:
        trio.start()
        trio.hits()
        shut_down()
        trio.judge("graceful node shutdown", preempted("TerminationByKubelet"), STOPPED)
    nodes = {life.node for name in ("saves", "exits", "deaf") for life in trio.scene.history().lives(name)[1:]}
    assert trio.victim not in nodes
