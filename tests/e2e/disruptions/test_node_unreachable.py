"""A node that no longer answers while its containers run on: zombies with a network, which may write for ever.

Kubernetes marks their pods for deletion and can't end them, so they may still run, and no second one is started beside
them, until one of two things happens. An administrator (or the cloud's controller) vouches with the out-of-service
taint that the machine is off: the objects go, and the tasks resume elsewhere. Here that word is broken: the old
processes still run. Or nobody says anything, and `replaceUnreachableAfterSeconds` passes: the tasks go on beside the
old pods, and later the machine is back. Either way the fence has to hold the old processes off the store.
"""

from __future__ import annotations

import time
from functools import partial

import pytest

from tests.e2e.disruptions.harm import Victim
from tests.e2e.disruptions.trio import NO_EXIT_CODES, ON_SIGTERM, Traces, Trio, preempted
from waypost.contract import DocumentReason

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(480, func_only=True)]

UNREACHABLE_SECONDS = 90.0
"""A node is given 40 s without a word of its kubelet before it counts as unknown."""
TERMINATING_SECONDS = 90.0
"""The default toleration of the unreachable taint that Waypost's pods get is 30 s."""
ALONE_SECONDS = 15.0
LOOK_AGAIN_SECONDS = 2.0
SILENT_SECONDS = 60
"""spec.replaceUnreachableAfterSeconds here: well behind the end of toleration and grace."""


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
        # Whether it took a step beside its successor depends on which was quicker: its next save ends it.
        assert _refused(trio, name), "the old process was no zombie that came to a save"


def test_tasks_go_on_beside_the_pods_of_a_node_that_stays_silent_and_its_zombies_come_back_fenced(
    trio: Trio, victim: Victim
) -> None:
    scene = trio.scene
    trio.spec = {"replaceUnreachableAfterSeconds": SILENT_SECONDS}
    trio.start()
    trio.hits()
    victim.kill_kubelet()
    victim.wait("the node to be unreachable", lambda: victim.ready() == "Unknown", UNREACHABLE_SECONDS)
    silent_since = victim.unknown_since()

    def zombies_come_back() -> None:
        for name in ON_SIGTERM:
            scene.wait(f"the zombie of {name} to come to a save", partial(_refused, trio, name), 30)
            assert trio.lives(name)[0].ended is None, "the old pod's object was removed by force"
        victim.bring_kubelet_back()
        for pod in trio.firsts:
            scene.wait_ended(pod, 90)
        for name in ON_SIGTERM:
            said = trio.lives(name)[0].document
            assert said is not None, f"the zombie of {name} left no word"
            assert said.reason == DocumentReason.FENCED

    traces = Traces(exit_codes=NO_EXIT_CODES, told=False, zombies=True, left_behind=True)
    left_behind = preempted("nothing was heard of node", rule="NodeUnreachable")
    trio.judge("silent node", left_behind, traces, seconds=180, meanwhile=zombies_come_back)
    for name in ON_SIGTERM:
        first, second = trio.lives(name)
        assert second.created - silent_since >= SILENT_SECONDS
        assert second.node != first.node
        assert _refused(trio, name)


def _refused(trio: Trio, name: str) -> bool:
    """The first attempt came to a save, and nobody has confirmed it for a while."""
    before = trio.scene.ledger(name).runs[0]
    time.sleep(LOOK_AGAIN_SECONDS)
    first = trio.scene.ledger(name).runs[0]
    return before.saving[-1] == first.saving[-1] and first.saving[-1] not in first.saved
