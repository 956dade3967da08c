"""A node that no longer answers while its containers run on: zombies with a network, which may write for ever.

Kubernetes marks their pods for deletion and can't end them, so they may still run, and no second one is started beside
them. Once an administrator (or the cloud's controller) vouches with the out-of-service taint that the machine is off,
the objects go, and the tasks resume elsewhere. Here that word is broken: the old processes still run, and the
fence has to hold them off the store.
"""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.harm import Victim
from tests.e2e.disruptions.trio import NO_EXIT_CODES, ON_SIGTERM, Traces, Trio, preempted

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(480, func_only=True)]

UNREACHABLE_SECONDS = 90.0
"""A node is given 40 s without a word of its kubelet before it counts as unknown."""
TERMINATING_SECONDS = 90.0
"""The default toleration of the unreachable taint that Waypost's pods get is 30 s."""
ALONE_SECONDS = 15.0


def test_tasks_of_an_unreachable_node_resume_when_it_is_out_of_service_and_its_zombies_are_fenced_off(
    trio: Trio, victim: Victim
) -> None:
    scene = trio.scene
    trio.start()
    trio.hits()
    victim.kill_kubelet()
    victim.wait("the node to be unreachable", lambda: victim.ready() == "Unknown", UNREACHABLE_SECONDS)

    def terminating() -> bool:
        return all((scene.pod(pod) or {}).get("metadata", {}).get("deletionTimestamp") for pod in trio.firsts)

    scene.wait("the pods to be marked for deletion", terminating, TERMINATING_SECONDS)
    trio.stays_alone(ALONE_SECONDS)
    victim.taint("node.kubernetes.io/out-of-service=nodeshutdown:NoExecute")
    traces = Traces(exit_codes=NO_EXIT_CODES, told=False, zombies=True)
    trio.judge("unreachable node", preempted("DeletionByTaintManager"), traces, seconds=120)
    for name in ON_SIGTERM:
        told = scene.ledger(name)
        assert told.overtaken, "the old process was no zombie, so nothing was shown"
        assert told.runs[0].saving[-1] not in told.runs[0].saved, "it never came to the save that had to be refused"
