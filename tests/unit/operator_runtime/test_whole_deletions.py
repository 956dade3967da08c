"""Tasks that are deleted with their checkpoints, through random histories of one or two whole operators.

The same mischief as in test_whole_operators, but every task begins with deletionPolicy Delete, and users delete more.
What must hold is asked of the world, not of an operator: the store is deleted while no pod of the task may run, the
task goes after it, other people's finalizers stay, nothing is created for it but its clean-up, and it goes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

import pytest

from .histories import Histories

pytestmark = pytest.mark.usefixtures("no_errors")

SEEDS = range(100)
ACTIONS = 240


class Deletions(Histories):
    """One random history at whose end there is nothing left."""

    actions: ClassVar[Mapping[str, int]] = {**Histories.actions, "delete_task": 3}
    delete_odds = 1.0

    def wake_operators(self) -> None:
        if not self.deleting(self.uid):
            self.world.ask_to_delete_task()
        super().wake_operators()

    def at_rest(self) -> bool:
        return self.world.task is None and super().at_rest()


@pytest.mark.parametrize("seed", SEEDS)
def test_every_deletion_keeps_the_promises(seed: int) -> None:
    Deletions(seed).play(ACTIONS)


def test_the_histories_see_what_they_should() -> None:
    """A check of the check."""
    seen: Counter[str] = Counter()
    for seed in range(60):
        history = Deletions(seed)
        history.play(ACTIONS)
        seen += history.seen
    released = {f"released: {reason}" for reason in ("Retain", "never started", "store deleted", "namespace goes")}
    assert released | {"clean-up ended 0", "clean-up ended 1"} <= set(seen), seen
