"""Random histories of one or two whole operator processes: `Mischief` whose operators are moved request by request."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar

from tests.unit.operator.mischief import ACTIONS, Mischief
from tests.unit.operator.promises import Told
from tests.unit.operator.server import START
from waypost_operator.model.pace import SLACK
from waypost_operator.runtime.client import REQUEST_SECONDS, Accepted, Refused
from waypost_operator.steps.situation import CONFIRMED_FOR

from .stepped import NO_ANSWER, Process, Request

FAULT_RATE = 0.06
TIMEOUT = timedelta(seconds=REQUEST_SECONDS)
ABOUT_THE_TASK = ("GET task", "PUT status", "PATCH finalizers", "DELETE task")


class Histories(Mischief):
    """One random history."""

    actions: ClassVar[Mapping[str, int]] = {**ACTIONS, "operate": 120, "race": 8, "rival": 3}
    looked_within = 2 * SLACK * TIMEOUT
    told_within = max(CONFIRMED_FOR, SLACK * TIMEOUT)  # each answer may take as long as can be

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.processes: list[Process] = [Process(self.world)]
        self.told: dict[int, Told | None] = {}
        """What the API server last told each process about its task."""
        self.on_its_way: dict[int, Told | None] = {}
        """The same, of an answer that is not heard yet."""
        self.hanging: list[Request] = []
        """Creates that were given up without an answer, and may be carried out yet."""

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
        request = process.request
        if request is None:
            return process.wake()
        fate = 1.0 if self.calm else self.dice.random()
        if fate < FAULT_RATE / 4:
            self.replace(process)
        elif process.answer is not None:
            lost = fate < FAULT_RATE or self.world.now - request.sent > TIMEOUT
            if not lost and request.verb in ABOUT_THE_TASK:
                self.hear_of_the_task(process)
            process.hear(NO_ANSWER if lost else None)
        elif fate < FAULT_RATE / 2:
            if request.verb == "POST pod":
                self.hanging.append(request)
            process.hear(NO_ANSWER)
        else:
            self.carry_out(process, request)
        return True

    def hear_of_the_task(self, process: Process) -> None:
        """A conflict tells nothing; that there is no task is told as well."""
        answer = process.answer
        if isinstance(answer, Accepted) or (isinstance(answer, Refused) and answer.status == 404):
            self.told[id(process)] = self.on_its_way.get(id(process))

    def carry_out(self, process: Process, request: Request) -> None:
        """The request takes effect, and is judged by the truth of this moment."""
        before = len(self.world.created)
        if request.verb == "DELETE pod":
            self.check_order(request.name, request.uid)
        process.carry_out()
        if isinstance(process.answer, Refused) and process.answer.status == 409:
            self.seen[f"409: {request.verb}"] += 1
        if len(self.world.created) > before:
            self.check_created(self.told.get(id(process)), request.sent)
        if request.verb in ABOUT_THE_TASK:
            self.on_its_way[id(process)] = self.tell()

    def carry_out_late(self) -> None:
        for request in self.hanging:
            before = len(self.world.created)
            request.act()
            if len(self.world.created) > before:
                self.late.add(self.world.created[-1]["metadata"]["uid"])
        self.hanging.clear()

    def replace(self, process: Process) -> None:
        """It is killed, and another one starts."""
        self.kill(process)
        self.start()

    def kill(self, process: Process) -> None:
        process.kill()
        self.told.pop(id(process), None)
        self.processes.remove(process)

    def start(self) -> None:
        self.processes.append(Process(self.world, behind=self.dice.choice([0, 0, 3, 12, 60])))

    def restart(self) -> None:
        self.replace(self.one())

    def rival(self) -> None:
        """A second process acts as well, or one of two ends."""
        if len(self.processes) < 2:
            self.start()
        else:
            self.kill(self.one())

    def deliver(self) -> None:
        self.one().watch(self.dice.randint(1, 4))

    def deliver_all(self) -> None:
        self.one().watch()

    def break_watch(self) -> None:
        self.one().skip_events()

    def sweep(self) -> None:
        self.one().sweep()

    # --- the end ---------------------------------------------------------------------------------------------
    def wake_operators(self) -> None:
        for process in self.processes:
            self.run_dry(process)
            process.sweep()

    def let_operators_work(self) -> None:
        for process in self.processes:
            process.watch()
            self.run_dry(process)

    def run_dry(self, process: Process) -> None:
        """Let it do all there is to do now."""
        for _ in range(1000):
            if not self.small_step(process):
                return
            self.check()
        raise AssertionError(f"it never comes to rest: {process.request}")

    def caught_up(self) -> bool:
        return all(process.read == len(self.world.log) for process in self.processes)

    def next_due(self) -> datetime | None:
        dues = [due for process in self.processes if (due := process.queue.next_due()) is not None]
        return START + timedelta(seconds=min(dues)) if dues else None

    def kept_in_mind(self) -> bool:
        return any(process.cache.keys() for process in self.processes)
