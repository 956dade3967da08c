"""Whatever happens, in whatever order: one pod at a time, no end counted twice, no task left alone, no false success.

Random histories (`mischief`) with a watch that lags, breaks or repeats nothing, and an operator that is killed before
or after any request or loses its answer. The operator here is the smallest that obeys `decide`'s contract; the whole
runtime meets the same in tests/unit/operator_runtime. A failing history is named by its seed:
`pytest -k 'history and 1234'` replays it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.unit.operator.mischief import Mischief
from tests.unit.operator.runtime import Killed, NoAnswerError, Runtime
from tests.unit.operator.tasks import UID
from waypost_operator.model.decision import DeletePod, Step, Wait

SEEDS = range(200)
ACTIONS = 120
FAULT_RATE = 0.08
SHORT_RETRY = timedelta(seconds=1)


class History(Mischief):
    """One random history of one operator."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.operator = Runtime(self.world, self.dice, FAULT_RATE)

    def happen(self) -> None:
        """One random action of anybody."""
        action, weight = zip(*self.ACTIONS, strict=True)
        chosen = self.dice.choices(action, weight)[0]
        self.trail.append(chosen.__name__)
        chosen(self)
        self.check()

    def operate(self) -> None:
        """The operator takes a few steps, and may die of any."""
        try:
            for _ in range(self.dice.randint(1, 6)):
                if isinstance(self.step_of_the_operator(), Wait):
                    break
        except Killed:
            self.restart()
        except NoAnswerError:
            self.operator.wake_at = self.world.now + SHORT_RETRY

    def step_of_the_operator(self) -> Step:
        """One step; whatever became of its answer, no pod was created beside one that may still run."""
        alive_before = self.alive()
        created_before = len(self.world.created)
        try:
            step = self.operator.step().step
            if isinstance(step, DeletePod) and step.uid == self.world.status.get("podUID"):
                current = self.world.status["attempts"][-1]
                assert {"stopping", "finished"} & set(current), f"{step.name} was deleted, and no order stands anywhere"
            return step
        finally:
            if len(self.world.created) > created_before:
                others = self.created_beside(alive_before)
                assert not others, f"created {self.world.created[-1]['metadata']['name']} while {others} may still run"

    def restart(self) -> None:
        """The next operator starts from a list that may be old."""
        faults = None if self.calm else self.dice
        late = self.operator.late
        self.operator = Runtime(self.world, faults, FAULT_RATE, behind=self.dice.choice([0, 0, 3, 12, 60]))
        self.operator.late = late

    def carry_out_late(self) -> None:
        """A request that got no answer is carried out after all, if it is a create of a pod whose name is free."""
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

    ACTIONS = (
        (operate, 30),
        (deliver, 14),
        (deliver_all, 6),
        (Mischief.move_on, 20),
        (Mischief.pass_time, 10),
        (Mischief.evict, 4),
        (Mischief.shut_down, 3),
        (Mischief.lose_sight, 2),
        (carry_out_late, 2),
        (Mischief.delete, 2),
        (Mischief.vanish, 2),
        (Mischief.collect_ended, 3),
        (break_watch, 2),
        (sweep, 2),
        (restart, 2),
        (Mischief.change_node, 1),
        (Mischief.cut_off, 4),
        (Mischief.hear_again, 1),
        (Mischief.refuse, 1),
        (Mischief.edit, 1),
        (Mischief.suspend_or_resume, 1),
    )

    def come_to_rest(self) -> None:
        """No more mischief: the task must reach its end, or run, without anything but time and the watch."""
        self.calm = True
        self.world.refuse_creates = None
        self.hear_again()
        self.operator.faults = None
        self.carry_out_late()
        if any(entry["reason"] == "TemplateInvalid" for entry in self.world.status.get("conditions", [])):
            self.world.edit_spec()
        self.operator.watch()
        if self.dice.random() < 0.5:
            self.restart()
        else:
            self.operator.sweep()
        for _ in range(400):
            self.operator.watch()
            self.operator.settle()
            self.check()
            if self.world.status.get("state") in ("Succeeded", "Failed") and not self.world.alive(UID):
                return
            if self.world.status.get("state") == "Suspended" and not self.world.alive(UID):
                self.world.edit_spec(suspend=False)
                continue
            self.not_alone()
            self.strays_are_on_their_way_out()
            self.kubelets()
            self.move_on()
            self.check()
            if self.operator.read == len(self.world.log):
                self.world.now = max(self.operator.wake_at or self.world.now, self.world.now + SHORT_RETRY)
        raise AssertionError(f"no end in sight: {self.world.status}")

    def strays_are_on_their_way_out(self) -> None:
        """Once all was told, what may still run and isn't the current attempt's has been asked to stop."""
        if self.operator.read == len(self.world.log):
            for name in set(self.world.alive(UID)) - {f"train-{self.world.status.get('attempt')}"}:
                assert "deletionTimestamp" in self.world.pods[name]["metadata"], f"{name} is left running"

    def not_alone(self) -> None:
        """An unfinished task has a pod, or a time at which it is looked at again."""
        wake_at: datetime | None = self.operator.wake_at
        caught_up = self.operator.read == len(self.world.log)
        assert self.world.alive(UID) or wake_at is not None or not caught_up, f"left alone: {self.world.status}"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_history_keeps_the_promises(seed: int) -> None:
    history = History(seed)
    try:
        for _ in range(ACTIONS):
            history.happen()
        history.come_to_rest()
    except AssertionError as error:
        trail = " ".join(history.trail[-40:])
        raise AssertionError(f"seed {seed}: {error}\nlast actions: {trail}") from error


def test_the_histories_reach_every_kind_of_end() -> None:
    """A check of the check: histories that never saw a thing prove nothing about it."""
    outcomes: set[str] = set()
    states: set[str] = set()
    beside = 0
    for seed in range(150):
        history = History(seed)
        for _ in range(ACTIONS):
            history.happen()
        beside += len(history.left_behind)
        for _, _, status in history.world.written:
            outcomes |= {entry["outcome"] for entry in status["attempts"] if "outcome" in entry}
            states.add(status["state"])
    wanted = {"Completed", "Preempted", "Recoverable", "Failed", "StorageUnavailable", "Deleted", "Unknown"}
    assert wanted | {"Suspended", "DeadlineExceeded"} <= outcomes
    assert {"Pending", "Running", "BackingOff", "Suspended", "Succeeded", "Failed"} <= states
    assert beside >= 3, "no pod was ever left behind"
