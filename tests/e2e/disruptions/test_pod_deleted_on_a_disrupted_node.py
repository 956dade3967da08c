"""A pod deleted from a node that is on its way out, as Karpenter does when a node's own grace runs out.

Karpenter itself was not tried: its documentation says that it taints the node and then deletes the pods before their
time, which leaves no DisruptionTarget on them. The taint is all that tells this from a deletion by a person.
"""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.harm import Victim
from tests.e2e.disruptions.trio import STOPPED, Trio, preempted

pytestmark = pytest.mark.matrix


def test_a_pod_deleted_from_a_node_that_is_being_disrupted_counts_as_preempted(trio: Trio, victim: Victim) -> None:
    trio.start()
    victim.taint("karpenter.sh/disrupted=:NoSchedule")
    trio.hits()
    trio.scene.kubectl("delete", "pod", *trio.firsts, "--wait=false")
    trio.judge("delete, node disrupted", preempted("karpenter.sh/disrupted", rule="PodDeleted"), STOPPED)
