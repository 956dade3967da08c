"""A machine that is taken without a word, with its kubelet and everything that ran on it.

Mostly nobody comes in its place, and a cloud's controller deletes the node object (AKS). Some clouds bring up a new
machine under the same name (GKE's instance groups): its kubelet finds pods bound to it of which it knows nothing.
"""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.harm import Victim
from tests.e2e.disruptions.trio import NO_EXIT_CODES, Judged, Traces, Trio, preempted
from waypost.contract import Outcome

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(480, func_only=True)]


def test_tasks_of_a_machine_that_vanished_go_on_elsewhere_once_its_node_is_deleted(trio: Trio, victim: Victim) -> None:
    trio.start()
    trio.hits()
    victim.power_off()
    victim.delete()
    traces = Traces(exit_codes=NO_EXIT_CODES, told=False)
    trio.judge("machine lost", preempted("DeletionByPodGC"), traces, seconds=180)


def test_tasks_of_a_machine_that_came_back_empty_under_its_name_go_on(trio: Trio, victim: Victim) -> None:
    trio.start()
    trio.hits()
    victim.power_off()
    victim.power_on()
    trio.judge(
        "machine replaced",
        Judged(outcome=Outcome.UNKNOWN, rule="Vanished", budget="freeRetries"),
        Traces(exit_codes=None, told=False),
        seconds=180,
    )
