"""All that may happen to a task, and to those that take its place under its name, at random.

Accidents, users and operators, each action a method, drawn from one table by a seed. Which operator acts on the world,
the decisions alone or the whole runtime, is the business of who inherits; so is how often what happens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from random import Random
from typing import ClassVar

from tests.unit.operator.users import Users
from waypost_operator.model.raw import condition, items, mapping

ACTIONS: Mapping[str, int] = {
    # operators
    "operate": 40,
    "deliver": 12,
    "deliver_all": 16,
    "break_watch": 2,
    "sweep": 2,
    "restart": 2,
    "carry_out_late": 3,
    # pods and nodes
    "move_on": 40,
    "pass_time": 24,
    "evict": 8,
    "shut_down": 3,
    "lose_sight": 3,
    "delete": 2,
    "vanish": 1,
    "collect_ended": 3,
    "change_node": 1,
    "cut_off": 5,
    "hear_again": 3,
    "refuse": 1,
    # users
    "edit": 3,
    "suspend_or_resume": 2,
    "change_ttl": 2,
    "change_policy": 1,
    "delete_task": 1,
    "replace_task": 2,
    "delete_namespace": 1,
}
"""How often what happens, in parts of them all; each is a method."""
OVER = ("Succeeded", "Failed")


class Mischief(Users, ABC):
    """One history of one name."""

    actions: ClassVar[Mapping[str, int]] = ACTIONS

    def __init__(self, seed: int) -> None:
        super().__init__(Random(seed))
        self.trail: list[str] = []

    def happen(self) -> None:
        """One random action of anybody."""
        over = self.world.status.get("state") in OVER
        if self.dice.random() < (0.2 if self.world.task is None else 0.015 if over else 0.0):
            self.replace_task()  # or most of a history would tell of what is over
        action = self.dice.choices(list(self.actions), list(self.actions.values()))[0]
        self.trail.append(action)
        getattr(self, action)()
        self.check()

    def play(self, actions: int) -> None:
        """A whole history; what breaks a promise says what came before it."""
        try:
            for _ in range(actions):
                self.happen()
            self.come_to_rest()
        except AssertionError as error:
            error.add_note(f"last actions: {' '.join(self.trail[-40:])}")
            raise

    # --- the end -----------------------------------------------------------------------------------------------
    def come_to_rest(self) -> None:
        """No more mischief: the task must reach its end by nothing but time, the watch and the periodic list."""
        self.calm = True
        self.world.refuse_creates = None
        self.hear_again()
        self.world.nodes["node-1"] = "ready"
        self.carry_out_late()
        self.wake_operators()
        for _ in range(400):
            self.let_operators_work()
            self.check()
            if self.at_rest():
                return
            if self.waits_for_its_user():
                self.change_spec(suspend=False)
            if self.caught_up() and not self.deleting(self.uid):
                self.not_alone()
                self.strays_are_on_their_way_out()
            self.kubelets()
            self.move_on()
            self.check()
            if self.caught_up():
                self.world.now = max(self.next_due() or self.world.now, self.world.now + timedelta(seconds=1))
            else:
                self.world.now += timedelta(seconds=0.05)  # two leaders may contradict each other all the time
        raise AssertionError(f"no end in sight: {self.world.task}, {list(self.world.pods)}")

    def at_rest(self) -> bool:
        """The task is over and stays, or it is gone and forgotten; nothing of it, or of those before it, may run."""
        if self.world.may_run or not self.caught_up():
            return False
        if self.world.task is None:
            assert not self.kept_in_mind(), "an operator keeps what it knows of a task that is gone"
            return True
        return self.stays() and not self.deleting(self.uid)

    def stays(self) -> bool:
        """It is over, and nobody asked for its end."""
        limit = mapping(self.world.task or {}, "spec").get("ttlSecondsAfterFinished")
        return limit is None and self.world.status.get("state") in OVER

    def waits_for_its_user(self) -> bool:
        """It is suspended, or its template was refused."""
        state, conditions = self.world.status.get("state"), items(self.world.status, "conditions")
        if self.deleting(self.uid) or self.world.alive(self.uid) or state in OVER:
            return False
        created, generation = (
            condition(conditions, "PodCreated") or {},
            (self.world.task or {})["metadata"]["generation"],
        )
        refused = (created.get("reason"), created.get("observedGeneration")) == ("TemplateInvalid", generation)
        return state == "Suspended" or refused

    def not_alone(self) -> None:
        """A task that isn't over for good has a pod, or a time at which somebody looks at it again."""
        assert self.stays() or self.world.alive(self.uid) or self.next_due(), f"left alone: {self.world.status}"

    def strays_are_on_their_way_out(self) -> None:
        """Once all was told, what may still run and isn't the current attempt's has been asked to stop."""
        for name in set(self.world.alive(self.uid)) - {f"train-{self.world.status.get('attempt')}"}:
            assert self.pod(name).deletion, f"{name} is left running"

    # --- operators ---------------------------------------------------------------------------------------------
    @abstractmethod
    def operate(self) -> None:
        """An operator takes a few steps, and may die of any."""

    @abstractmethod
    def deliver(self) -> None:
        """The watch tells a little."""

    @abstractmethod
    def deliver_all(self) -> None:
        """The watch tells all there is to tell."""

    @abstractmethod
    def break_watch(self) -> None:
        """What happened meanwhile is never told."""

    @abstractmethod
    def sweep(self) -> None:
        """An operator lists everything."""

    @abstractmethod
    def restart(self) -> None:
        """The next operator starts from a list that may be old."""

    @abstractmethod
    def carry_out_late(self) -> None:
        """A create that got no answer is carried out after all, if its name is free."""

    @abstractmethod
    def wake_operators(self) -> None:
        """Faults end; every operator looks at everything once."""

    @abstractmethod
    def let_operators_work(self) -> None:
        """Tell them everything, and let them do all there is to do now."""

    @abstractmethod
    def caught_up(self) -> bool:
        """All was told to all of them."""

    @abstractmethod
    def next_due(self) -> datetime | None:
        """When one of them looks at the task again by itself."""

    @abstractmethod
    def kept_in_mind(self) -> bool:
        """Whether any of them still keeps something of a task of this name."""
