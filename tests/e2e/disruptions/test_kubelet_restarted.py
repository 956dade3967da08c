"""A kubelet that is restarted, politely or not, is nothing that a task may notice."""

from __future__ import annotations

import pytest

from tests.e2e.disruptions.harm import Victim
from tests.e2e.disruptions.trio import Trio

pytestmark = pytest.mark.matrix


def test_tasks_do_not_notice_that_their_kubelet_was_restarted(trio: Trio, victim: Victim) -> None:
    trio.start()
    victim.restart_kubelet({})
    victim.kill_kubelet()
    victim.cluster.start_kubelet(victim.name)
    trio.judge_untouched(seconds=30)
