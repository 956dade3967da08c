"""Whatever happens, in whatever order: one pod at a time, no end counted twice, no task left alone, no false success.

Random histories (`mischief`) with a watch that lags, breaks or repeats nothing, and an operator that is killed before
or after any request or loses its answer. The operator here is the smallest that obeys `decide`'s contract; the whole
runtime meets the same in tests/unit/operator_runtime. A failing history is named by its seed:
`pytest -k 'history and 1234'` replays it.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import pytest

from tests.unit.operator.mischief import Mischief
from tests.unit.operator.promises import Told
from tests.unit.operator.runtime import Killed, NoAnswerError, Runtime
from waypost_operator.model.decision import DeletePod, DeleteTask, LookAtTask, Wait, WriteFinalizers, WriteStatus

SEEDS = range(200)
ACTIONS = 200
FAULT_RATE = 0.08
SHORT_RETRY = timedelta(seconds=1)


class History(Mischief):
    """One random history of one operator."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.operator = Runtime(self.world, self.dice, FAULT_RATE)
        self.told: Told | None = None

    def operate(self) -> None:
        try:
            for _ in range(self.dice.randint(1, 6)):
                if self.operator.task is None or not self.step_of_the_operator():
                    break
        except Killed:
            self.restart()
        except NoAnswerError:
            self.operator.wake_at = self.world.now + SHORT_RETRY

    def step_of_the_operator(self) -> bool:
        """One step, judged by the truth whatever became of its answer; False when there was nothing to do."""
        deciding = self.operator.next_step()
        if isinstance(deciding, DeletePod):
            self.check_order(deciding.name, deciding.uid)
        created_before = len(self.world.created)
        try:
            step = self.operator.step().step
        finally:
            if len(self.world.created) > created_before:
                self.check_created(self.told, self.world.now)
        if isinstance(step, LookAtTask | WriteStatus | WriteFinalizers | DeleteTask):
            self.told = self.tell()
        return not isinstance(step, Wait)

    def restart(self) -> None:
        faults = None if self.calm else self.dice
        late = self.operator.late
        self.operator = Runtime(self.world, faults, FAULT_RATE, behind=self.dice.choice([0, 0, 3, 12, 60]))
        self.operator.late = late
        self.told = None

    def carry_out_late(self) -> None:
        for request in self.operator.late:
            before = len(self.world.created)
            request()
            if len(self.world.created) > before:
                self.late.add(self.world.created[-1]["metadata"]["uid"])
        self.operator.late.clear()

    def deliver(self) -> None:
        self.operator.watch(self.dice.randint(1, 4))

    def deliver_all(self) -> None:
        self.operator.watch()

    def break_watch(self) -> None:
        self.operator.skip_events()

    def sweep(self) -> None:
        self.operator.sweep()

    # --- the end ---------------------------------------------------------------------------------------------
    def wake_operators(self) -> None:
        self.operator.faults = None
        self.operator.watch()
        if self.dice.random() < 0.5:
            self.restart()
        else:
            self.operator.sweep()

    def let_operators_work(self) -> None:
        self.operator.watch()
        for _ in range(50):
            if self.operator.task is None or not self.step_of_the_operator():
                return
        raise AssertionError(f"it never comes to rest: {[one.why for one in self.operator.decisions[-10:]]}")

    def caught_up(self) -> bool:
        return self.operator.read == len(self.world.log)

    def next_due(self) -> datetime | None:
        return self.operator.wake_at

    def kept_in_mind(self) -> bool:
        return self.operator.task is not None


@pytest.mark.parametrize("seed", SEEDS)
def test_every_history_keeps_the_promises(seed: int) -> None:
    History(seed).play(ACTIONS)


def test_the_histories_reach_every_kind_of_end() -> None:
    """A check of the check: histories that never saw a thing prove nothing about it."""
    outcomes: set[str] = set()
    states: set[str] = set()
    seen: Counter[str] = Counter()
    beside = 0
    for seed in range(150):
        history = History(seed)
        for _ in range(ACTIONS):
            history.happen()
        beside += len(history.left_behind)
        seen += history.seen
        for write in history.world.written:
            outcomes |= {entry["outcome"] for entry in write.after["attempts"] if "outcome" in entry}
            states.add(write.after["state"])
    wanted = {"Completed", "Preempted", "Recoverable", "Failed", "StorageUnavailable", "Deleted", "Unknown"}
    assert wanted | {"Suspended", "DeadlineExceeded"} <= outcomes
    assert {"Pending", "Running", "BackingOff", "Suspended", "Deleting", "Succeeded", "Failed"} <= states
    assert beside >= 3, "no pod was ever left behind"
    assert seen["expired"] >= 3, seen
    assert seen["namesake while a pod of the old task may run"] >= 10, seen
