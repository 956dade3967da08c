"""The whole operator, once or twice at a time, through random histories: what it promises holds at every request.

The same mischief as in tests/unit/operator/test_random_histories.py, but the real runtime acts (cache, queue, sweep,
worker, applier), its requests are carried out and answered apart from each other, and a second process may act beside
the first all the time, as if both led: election makes that rare, it can't make it impossible. The invariants are
checked against the server's truth after each request. A history is named by its seed.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import datetime, timedelta

import pytest

from tests.unit.operator.mischief import Mischief
from tests.unit.operator.server import START
from tests.unit.operator.tasks import UID
from waypost_operator.model.pace import SLACK
from waypost_operator.model.pod import Pod
from waypost_operator.runtime.client import REQUEST_SECONDS, Refused
from waypost_operator.steps.situation import CONFIRMED_FOR

from .stepped import NO_ANSWER, Process, Request

pytestmark = pytest.mark.usefixtures("no_errors")

SEEDS = range(100)
ACTIONS = 150
FAULT_RATE = 0.06
TIMEOUT = timedelta(seconds=REQUEST_SECONDS)
TOLD_WITHIN = max(CONFIRMED_FOR, SLACK * TIMEOUT)
"""How old the word of the API server may be by which a pod is created, where each answer takes as long as can be."""


@dataclasses.dataclass
class Confirmed:
    """The truth when the API server last told a process about its task."""

    at: datetime
    attempt: int
    pod_uid: str | None
    beside: list[str]
    """Pods that might run then and might not be left behind."""


class Histories(Mischief):
    """One random history of one or two operator processes."""

    looked_within = 2 * SLACK * TIMEOUT

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.processes: list[Process] = [Process(self.world)]
        self.confirmed: dict[int, Confirmed] = {}
        self.hanging: list[Request] = []
        """Creates that were given up without an answer, and may be carried out yet."""
        self.overtaken = 0
        """Creates that were right when they were sent, and wrong when they arrived: a rival was quicker."""
        self.conflicts: Counter[str] = Counter()
        """409s, by what was asked."""

    def happen(self) -> None:
        """One random action of anybody."""
        action, weight = zip(*self.ACTIONS, strict=True)
        chosen = self.dice.choices(action, weight)[0]
        self.trail.append(chosen.__name__)
        chosen(self)
        self.check()

    def one(self) -> Process:
        return self.dice.choice(self.processes)

    # --- operators -------------------------------------------------------------------------------------------
    def operate(self) -> None:
        """A process goes a few small steps: asks, has its request carried out, hears the answer; it may die of any."""
        process = self.one()
        for _ in range(self.dice.randint(1, 16)):
            if process not in self.processes or not self.small_step(process):
                return
            self.check()

    def race(self) -> None:
        """Two leaders hear the same and act on it at the same time."""
        if len(self.processes) < 2:
            self.start()
        for process in self.processes:
            process.watch()
        for _ in range(self.dice.randint(10, 40)):
            self.small_step(self.one())
            self.check()

    def small_step(self, process: Process) -> bool:
        """One of them; False when there is nothing to do."""
        if process.request is None:
            return process.wake()
        fate = 1.0 if self.calm else self.dice.random()
        if fate < FAULT_RATE / 4:
            self.replace(process)
        elif process.answer is not None:
            too_late = self.world.now - process.request.sent > TIMEOUT
            process.hear(NO_ANSWER if fate < FAULT_RATE or too_late else None)
        elif fate < FAULT_RATE / 2:
            if process.request.verb == "POST pod":
                self.hanging.append(process.request)
            process.hear(NO_ANSWER)
        else:
            self.carry_out(process)
        return True

    def carry_out(self, process: Process) -> None:
        """The request takes effect; a pod may be created only if that was right by what its sender had been told."""
        request = process.request
        assert request is not None
        before, alive = len(self.world.created), self.alive()
        process.carry_out()
        if isinstance(process.answer, Refused) and process.answer.status == 409:
            self.conflicts[request.verb] += 1
        if len(self.world.created) > before:
            self.created(request, alive, self.confirmed.get(id(process)))
        if request.verb in ("GET task", "PUT status", "PATCH finalizers"):
            beside = [name for name in self.alive() if not self.may_be_left(self.pod(name))]
            status = self.world.status
            self.confirmed[id(process)] = Confirmed(
                self.world.now, status.get("attempt", 0), status.get("podUID"), beside
            )

    def created(self, request: Request, others: list[str], told: Confirmed | None) -> None:
        """A pod was created: alone, under the current number, before that one had a UID, or overtaken on its way."""
        number = int(request.name.rpartition("-")[2])
        status = self.world.status
        beside = self.created_beside(others)
        right = not beside and status.get("attempt") == number and not status.get("podUID")
        if right:
            return
        assert told is not None, f"created {request.name} beside {beside}, never having asked"
        # A pod of the very name would have kept the request from succeeding: it is gone by now.
        was_right = told.attempt == number and not told.pod_uid and set(told.beside) <= {request.name}
        assert was_right, f"created {request.name} beside {beside}; it was told: {told}"
        assert request.sent - told.at <= TOLD_WITHIN, f"created {request.name} by what it was told at {told.at}"
        self.overtaken += 1
        self.late.add(self.world.created[-1]["metadata"]["uid"])

    def carry_out_late(self) -> None:
        """A create that was given up long ago is carried out after all, if its name is free."""
        for request in self.hanging:
            before = len(self.world.created)
            request.act()
            if len(self.world.created) > before:
                self.late.add(self.world.created[-1]["metadata"]["uid"])
        self.hanging.clear()

    def replace(self, process: Process) -> None:
        """It is killed, and another one starts."""
        process.kill()
        self.confirmed.pop(id(process), None)
        self.processes.remove(process)
        self.start()

    def start(self) -> None:
        self.processes.append(Process(self.world, behind=self.dice.choice([0, 0, 3, 12, 60])))

    def restart(self) -> None:
        self.replace(self.one())

    def rival(self) -> None:
        """A second process acts as well, or one of two ends."""
        if len(self.processes) < 2:
            self.start()
        else:
            process = self.one()
            process.kill()
            self.processes.remove(process)

    def deliver(self) -> None:
        self.one().watch(self.dice.randint(1, 4))

    def deliver_all(self) -> None:
        self.one().watch()

    def break_watch(self) -> None:
        self.one().skip_events()

    def sweep(self) -> None:
        self.one().sweep()

    ACTIONS = (
        (operate, 80),
        (race, 6),
        (deliver, 14),
        (deliver_all, 6),
        (Mischief.move_on, 20),
        (Mischief.pass_time, 10),
        (Mischief.evict, 4),
        (Mischief.shut_down, 3),
        (Mischief.lose_sight, 2),
        (carry_out_late, 2),
        (Mischief.delete, 2),
        (Mischief.vanish, 1),
        (Mischief.collect_ended, 3),
        (break_watch, 2),
        (sweep, 2),
        (restart, 2),
        (rival, 3),
        (Mischief.change_node, 1),
        (Mischief.cut_off, 4),
        (Mischief.hear_again, 1),
        (Mischief.refuse, 1),
        (Mischief.edit, 1),
        (Mischief.suspend_or_resume, 1),
    )

    # --- the end ---------------------------------------------------------------------------------------------
    def come_to_rest(self) -> None:
        """No more mischief: the task must reach its end by nothing but time, the watch and the periodic list."""
        self.calm = True
        self.world.refuse_creates = None
        self.hear_again()
        self.world.nodes["node-1"] = "ready"
        self.carry_out_late()
        if any(entry["reason"] == "TemplateInvalid" for entry in self.world.status.get("conditions", [])):
            self.world.edit_spec()
        for process in self.processes:
            self.run_dry(process)
            process.sweep()
        for _ in range(400):
            for process in self.processes:
                process.watch()
                self.run_dry(process)
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
            if all(process.read == len(self.world.log) for process in self.processes):
                self.world.now = max(self.next_due() or self.world.now, self.world.now + timedelta(seconds=1))
        raise AssertionError(f"no end in sight: {self.world.status}")

    def run_dry(self, process: Process) -> None:
        """Let it do all there is to do now."""
        for _ in range(1000):
            if not self.small_step(process):
                return
            self.check()
        raise AssertionError(f"it never comes to rest: {process.request}")

    def next_due(self) -> datetime | None:
        dues = [due for process in self.processes if (due := process.queue.next_due()) is not None]
        return START + timedelta(seconds=min(dues)) if dues else None

    def not_alone(self) -> None:
        """An unfinished task has a pod, or a time at which somebody looks at it again."""
        caught_up = all(process.read == len(self.world.log) for process in self.processes)
        assert self.world.alive(UID) or self.next_due() or not caught_up, f"left alone: {self.world.status}"

    def strays_are_on_their_way_out(self) -> None:
        """Once all was told, what may still run and isn't the current attempt's has been asked to stop."""
        if all(process.read == len(self.world.log) for process in self.processes):
            for name in set(self.world.alive(UID)) - {f"train-{self.world.status.get('attempt')}"}:
                assert self.pod(name).deletion, f"{name} is left running"

    def pod(self, name: str) -> Pod:
        return Pod(self.world.pods[name], self.world.now)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_history_keeps_the_promises(seed: int) -> None:
    history = Histories(seed)
    try:
        for _ in range(ACTIONS):
            history.happen()
        history.come_to_rest()
    except AssertionError as error:
        trail = " ".join(history.trail[-40:])
        raise AssertionError(f"seed {seed}: {error}\nlast actions: {trail}") from error


def test_the_histories_are_as_bad_as_they_should_be() -> None:
    """A check of the check: two leaders in each other's way, pods left behind, all outcomes."""
    outcomes: set[str] = set()
    conflicts: Counter[str] = Counter()
    beside = 0
    for seed in range(60):
        history = Histories(seed)
        for _ in range(ACTIONS):
            history.happen()
        beside += len(history.left_behind)
        conflicts += history.conflicts
        for _, _, status in history.world.written:
            outcomes |= {entry["outcome"] for entry in status["attempts"] if "outcome" in entry}
    wanted = {"Completed", "Preempted", "Recoverable", "Failed", "StorageUnavailable", "Deleted", "Unknown"}
    assert wanted | {"Suspended", "DeadlineExceeded"} <= outcomes
    assert beside >= 3, "no pod was ever left behind"
    assert conflicts["PUT status"] >= 20, "two leaders never came into each other's way"
    assert conflicts["POST pod"] >= 3
