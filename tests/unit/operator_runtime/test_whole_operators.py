"""The whole operator, once or twice at a time, through random histories: what it promises holds at every request.

The same mischief as in tests/unit/operator/test_random_histories.py, but the real runtime acts (cache, queue, sweep,
worker, applier), its requests are carried out and answered apart from each other, and a second process may act beside
the first all the time, as if both led: election makes that rare, it can't make it impossible. The invariants are
checked against the server's truth after each request. A history is named by its seed.
"""

from __future__ import annotations

from collections import Counter

import pytest

from .histories import Histories

pytestmark = pytest.mark.usefixtures("no_errors")

SEEDS = range(100)
ACTIONS = 240


@pytest.mark.parametrize("seed", SEEDS)
def test_every_history_keeps_the_promises(seed: int) -> None:
    Histories(seed).play(ACTIONS)


def test_the_histories_are_as_bad_as_they_should_be() -> None:
    """A check of the check: two leaders in each other's way, pods left behind, namesakes, all outcomes."""
    outcomes: set[str] = set()
    seen: Counter[str] = Counter()
    beside = 0
    for seed in range(60):
        history = Histories(seed)
        for _ in range(ACTIONS):
            history.happen()
        beside += len(history.left_behind)
        seen += history.seen
        for write in history.world.written:
            outcomes |= {entry["outcome"] for entry in write.after["attempts"] if "outcome" in entry}
    wanted = {"Completed", "Preempted", "Recoverable", "Failed", "StorageUnavailable", "Deleted", "Unknown"}
    assert wanted | {"Suspended", "DeadlineExceeded"} <= outcomes
    assert beside >= 3, "no pod was ever left behind"
    assert seen["409: PUT status"] >= 20, "two leaders never came into each other's way"
    assert seen["409: POST pod"] >= 3
    assert seen["namesake while a pod of the old task may run"] >= 10, seen
    assert seen["expired"] >= 3, seen
