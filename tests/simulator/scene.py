"""A cast on its store: what can happen next, one step at a time, and the record of what did."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import logging
from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.simulator.actors import Actor, Fate
from tests.simulator.casts import Cast
from tests.simulator.judge import Judge
from tests.simulator.picking import NETWORK
from tests.simulator.place import OTHER, Place
from tests.simulator.process import Writing
from tests.simulator.scoped_judge import ScopedJudge
from tests.simulator.town import Lives, Shape, Town
from waypost.log import logger
from waypost.store.calls import Budget
from waypost.store.format import Mode

FORMAT: Final = b'{"waypost": "checkpoint store", "format": 1, "mode": "%s"}'


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Without the store's log, which would tell of every fault that was ordered."""
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


class Step(NamedTuple):
    """What happened: distinct schedules differ in this."""

    actor: str
    operation: str
    key: str
    outcome: str


class Scene:
    """Everybody's next request, and the store."""

    def __init__(self, cast: Cast, shape: Shape, budget: Budget) -> None:
        conditional = cast.mode is Mode.CONDITIONAL
        self.judge = Judge() if conditional else ScopedJudge()
        self.trace: list[Step] = []
        founded = _found(cast.before, shape, "") if cast.before else None
        if founded is not None:
            self.judge = founded.judge.copy()
        self.place = Place(self.judge, conditional=conditional)
        self.judge.objects = self.place.objects
        if founded is not None:
            self.place.take_over(founded.place)
        if not cast.fresh:
            self.place.objects["format.json"] = FORMAT % cast.mode.encode()
        if cast.marked:
            self.place.objects["log/"] = b""
        self._town = Town(self.place, self.judge, shape, budget, cast.mode)
        if cast.source is not None:
            self._found_source(cast.source)
        self.actors = [
            Actor(f"{number}", functools.partial(role.live, self._town)) for number, role in enumerate(cast.roles, 1)
        ]

    def _found_source(self, lives: Lives) -> None:
        """The store that the task starts from."""
        founded = _found(lives, self._town.shape, OTHER)
        judge = self.judge.source = founded.judge.copy(self.judge)
        place = Place(judge, OTHER, self.place.hanging)
        place.take_over(founded.place)
        judge.objects = place.objects
        self._town.source = Town(place, judge, self._town.shape, self._town.budget)
        self._town.source.steps = itertools.count(1 + max(judge.saves, default=0))

    def able_to_be_damaged(self, where: str) -> list[str]:
        """The keys that begin with this."""
        town = self._town.source if where.startswith(OTHER) else self._town
        assert town is not None
        named = [town.place.name + key for key, data in town.place.objects.items() if data]
        return [key for key in named if key.startswith(where)]

    def step(self, actor: Actor, fate: Fate) -> None:
        """A process sends its request, which meets this fate, and runs up to its next one."""
        assert actor.request is not None
        self.trace.append(Step(actor.name, *actor.request, fate.value))
        if fate is not Fate.ANSWERED:
            self.judge.met[fate.value] += 1
        actor.step(fate)
        self.goes_on(actor)

    def goes_on(self, actor: Actor) -> bool:
        """Whether it has another request."""
        if actor.error is not None:
            self.judge.blame("crash", f"process {actor.name}: {actor.error!r}")
        return actor.request is not None

    def kill(self, actor: Actor) -> None:
        """A process gets no more turns."""
        assert actor.request is not None
        self.trace.append(Step(actor.name, *actor.request, "killed"))
        actor.kill()

    def carry_out(self, index: int) -> None:
        """The server carries out what hangs in the network."""
        late = self.place.hanging.pop(index)
        self.trace.append(Step(NETWORK, late.operation, late.key, "late"))
        self.judge.met["carried out late"] += 1
        late.carry_out()

    def damage(self, key: str, *, lost: bool) -> None:
        """An object is lost, or altered, behind everybody's back."""
        self.trace.append(Step("damage", "lose" if lost else "alter", key, "done"))
        town = self._town.source if key.startswith(OTHER) else self._town
        assert town is not None
        plain = key.removeprefix(town.place.name)
        town.judge.damage(plain)
        town.place.damage(plain, lost=lost)

    def restore_snapshot(self, actor: Actor) -> Actor | None:
        """A second process with the memory of this one; None if it ends at once."""
        self.trace.append(Step(actor.name, "snapshot", "", "restored"))
        self.judge.met["snapshots"] += 1
        self.judge.copies = self.judge.muted = True
        copy = actor.copy()
        self.judge.muted = False
        self.actors.append(copy)
        return copy if self.goes_on(copy) else None

    def end(self) -> None:
        """Nobody gets another turn."""
        for actor in self.actors:
            actor.kill()

    def go_on_alone(self) -> None:
        """I9: from any state a fresh attempt alone resumes from the newest and saves, or the task is complete."""
        entries, completed = len(self.judge.records), self.judge.completed
        if not self.judge.live and self.judge.source is not None and not self.judge.source.may_be_started_from:
            return
        actor = Actor("successor", functools.partial(Writing(99, "successor", saves=1).live, self._town))
        _run(actor)
        self.goes_on(actor)
        last = self.judge.records[-1] if len(self.judge.records) > entries else {}
        if not completed and not self.judge.damaged and (last.get("type") != "CHECKPOINT" or last["attempt"] != 99):
            self.judge.blame("I9", f"a fresh attempt alone couldn't go on; the last entry is {last}")

    def fingerprint(self) -> int:
        """64 bits that stand for this order of steps and outcomes."""
        text = "\n".join(map("\t".join, self.trace))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _run(actor: Actor) -> None:
    """Its whole life, without trouble."""
    while actor.request is not None:
        actor.step(Fate.ANSWERED)


@functools.cache
def _found(lives: Lives, shape: Shape, name: str) -> Town:
    """A store that these have written to, without trouble: to be copied, for it is the same each time."""
    judge = Judge()
    place = Place(judge, name)
    judge.objects = place.objects
    town = Town(place, judge, shape, Budget())
    for number, together in enumerate(lives, 1):
        place.objects["format.json"] = FORMAT % Mode.CONDITIONAL.encode()
        actors = [
            Actor(f"{name}before-{number}-{index}", functools.partial(role.live, town))
            for index, role in enumerate(together)
        ]
        while any(actor.request is not None for actor in actors):
            for actor in actors:
                if actor.request is not None:
                    actor.step(Fate.ANSWERED)
        assert not any(actor.error for actor in actors)
    assert judge.verdict is None
    return town
