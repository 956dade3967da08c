"""A NoExecute taint, by which interruption handlers empty a spot node before it is taken."""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.harm import Victim
from tests.e2e.disruptions.trio import STOPPED, Trio, preempted

pytestmark = pytest.mark.matrix


def test_a_noexecute_taint_moves_the_tasks_and_costs_no_failure(trio: Trio, victim: Victim) -> None:
    trio.start()
    trio.hits()
    victim.taint("spot-reclaim=true:NoExecute")
    trio.judge("NoExecute taint", preempted("DeletionByTaintManager"), STOPPED)
