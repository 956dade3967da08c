"""`kubectl drain` empties a node; the tasks go on elsewhere."""

from __future__ import annotations

from tests.e2e.disruptions.trio import ON_SIGTERM, STOPPED, Trio, preempted


def test_a_drained_node_loses_its_tasks_to_others_and_no_work(trio: Trio) -> None:
    trio.start()
    trio.hits()
    trio.scene.kubectl("drain", trio.victim, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
    trio.judge("drain", preempted("EvictionByEvictionAPI"), STOPPED)
    nodes = {life.node for name in ON_SIGTERM for life in trio.scene.history().lives(name)[1:]}
    assert trio.victim not in nodes
