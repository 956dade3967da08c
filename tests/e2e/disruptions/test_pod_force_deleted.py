"""A force delete removes the object within a moment, while the process still runs: nobody learns how it ended.

The kubelet gives it about two seconds, so the replacement may have resumed before. What the old process saves then is
refused by the fence.
"""

from __future__ import annotations

from tests.e2e.disruptions.trio import NO_EXIT_CODES, Judged, Traces, Trio
from waypost.contract import Outcome


def test_a_force_deleted_pod_is_replaced_and_its_last_gasp_is_fenced_off(trio: Trio) -> None:
    trio.start()
    trio.hits()
    trio.scene.kubectl("delete", "pod", *trio.firsts, "--wait=false", "--force", "--grace-period=0")
    trio.judge(
        "force delete",
        Judged(outcome=Outcome.UNKNOWN, rule="Vanished", budget="freeRetries"),
        Traces(exit_codes=NO_EXIT_CODES, hurried=True, zombies=True),
    )
