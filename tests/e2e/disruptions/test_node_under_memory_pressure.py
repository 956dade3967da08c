"""A node that runs out of memory evicts its pods, one after the other, with one second of grace each."""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.harm import Victim
from tests.e2e.disruptions.trio import EXIT_CODES, Traces, Trio, preempted

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(480, func_only=True)]

MEBI = 2**20
SPARE_MIB, TAKEN_MIB = 500, 1000
"""How far the node is from pressure, and what each pod takes: any one of them alone keeps it under pressure, also
when others on the machine have given some memory back meanwhile."""


def test_tasks_of_a_node_under_memory_pressure_go_on_elsewhere(trio: Trio, victim: Victim) -> None:
    threshold = victim.available_bytes() // MEBI - SPARE_MIB
    victim.restart_kubelet(
        {
            "evictionHard": {"memory.available": f"{threshold}Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "evictionPressureTransitionPeriod": "10s",
        }
    )
    trio.start()
    trio.hits()
    for pod in trio.firsts:
        trio.scene.order(pod, f"memory:{TAKEN_MIB}")
    trio.judge(
        "memory pressure",
        preempted("TerminationByKubelet"),
        Traces(exit_codes=EXIT_CODES, hurried=True),
        seconds=240,
    )
