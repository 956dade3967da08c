"""The node object goes, as a cloud's controller deletes it when the machine is gone: the pods follow a minute later."""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.harm import Victim
from tests.e2e.disruptions.trio import NO_EXIT_CODES, Traces, Trio, preempted

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(420, func_only=True)]


def test_tasks_of_a_deleted_node_go_on_elsewhere(trio: Trio, victim: Victim) -> None:
    trio.start()
    trio.hits()
    victim.delete()
    # Its kubelet lives, and ends the containers only when it sees its pods gone: the new ones may be faster.
    traces = Traces(exit_codes=NO_EXIT_CODES, hurried=True, zombies=True)
    trio.judge("node deleted", preempted("DeletionByPodGC"), traces, seconds=180)
