"""One schedule: who takes the next step, and what becomes of each request, drawn from a seed.

Uniform choices rarely lead far: the deep orders (a writer that sleeps in the middle of a commit while its successor
lives and dies) need one process to overtake the others by many steps. So half of the schedules go by bursts, and half
by priorities that change at a few random moments (probabilistic concurrency testing, Burckhardt et al. 2010: with d
changes, any order that depends on d orderings is found with a known probability). The network, which carries out what
hangs in it, takes its steps like a process.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tests.simulator.actors import Actor, Fate
from tests.simulator.casts import Cast
from tests.simulator.judge import Judge
from tests.simulator.place import Place
from tests.simulator.process import SIZES, Town, Writing
from waypost.log import logger
from waypost.store.calls import Budget

MOST_STEPS: Final = 500
BUDGETS: Final = (Budget(seconds=0.0), Budget(seconds=0.3, first_pause=0.25, longest_pause=0.25))
"""One try, or two."""
WRITES: Final = (Fate.FAILED, Fate.LOST, Fate.LOST, Fate.HUNG, Fate.HUNG, Fate.TWICE)
FATES: Final = {
    "put_new": WRITES,
    "put": WRITES,
    "delete": WRITES,
    "get": (Fate.FAILED,),
    "get_range": (Fate.FAILED,),
    "list": (Fate.FAILED, Fate.LAGGED_1, Fate.LAGGED_2),
}
NETWORK: Final = "network"
FORMAT: Final = b'{"waypost": "checkpoint store", "format": 1, "mode": "conditional"}'


_SOLO_RATE: Final = 0.25
"""Of the schedules, how many end with the test of I9, which takes as many requests as a third of a schedule."""


class Step(NamedTuple):
    """What happened: `distinct` schedules differ in this."""

    actor: str
    operation: str
    key: str
    outcome: str


class Schedule:
    """A cast, on the order and the faults of one seed."""

    def __init__(self, seed: int, cast: Cast) -> None:
        self._chance = random.Random(seed)
        self.judge = Judge()
        self.trace: list[Step] = []
        chance = self._chance
        self._place = Place(self.judge)
        self.judge.objects = self._place.objects
        if not cast.fresh:
            self._place.objects["format.json"] = FORMAT
        if cast.marked:
            self._place.objects["log/"] = b""
        self._town = Town(self._place, self.judge, chance.choice(SIZES), chance.choice(BUDGETS))
        self._fault_rate = chance.choice((0.0, 0.03, 0.08, 0.2))
        self._death_rate = chance.choice((0.0, 0.0, 0.02))
        self._pick = chance.choice((_Bursts, _Priorities))(chance, len(cast.roles))
        self._actors = [
            Actor(f"{number}", functools.partial(role.live, self._town)) for number, role in enumerate(cast.roles, 1)
        ]
        pace = chance.choice((0, 6, 12))
        self._arrivals = [chance.randrange(pace * number + 1) for number in range(len(self._actors))]
        """At which step each starts: all at once, or mostly one after the other, or anything between."""

    def run(self) -> None:
        """Run until everybody has ended or died, then now and then a fresh attempt alone (I9)."""
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)  # it would tell of every fault that was ordered
        try:
            self._run_all()
        finally:
            logger.setLevel(level)

    def _run_all(self) -> None:
        self._run(self._actors)
        if self._chance.random() < 0.5:
            while self._place.hanging and self.judge.verdict is None:
                self._network_steps()
        for actor in self._actors:
            actor.kill()
        if self.judge.verdict is None and self._chance.random() < _SOLO_RATE:
            self._go_on_alone()

    def fingerprint(self) -> int:
        """64 bits that stand for this order of steps and outcomes."""
        text = "\n".join(map("\t".join, self.trace))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    def _run(self, actors: list[Actor]) -> None:
        chance, judge, hanging = self._chance, self.judge, self._place.hanging
        coming = sorted(zip(self._arrivals, range(len(actors)), strict=True), reverse=True)
        alive: list[Actor] = []
        for step in range(MOST_STEPS):
            while coming and (not alive or coming[-1][0] <= step):
                alive.append(actors[coming.pop()[1]])
            if not alive or judge.verdict is not None:
                return
            chosen = self._pick(alive, bool(hanging))
            if chosen is None:
                self._network_steps()
                continue
            request = chosen.request
            assert request is not None
            if self._death_rate and chance.random() < self._death_rate:
                self.trace.append(Step(chosen.name, *request, "killed"))
                chosen.kill()
            else:
                fate = Fate.ANSWERED
                if self._fault_rate and chance.random() < self._fault_rate:
                    fate = chance.choice(FATES[request.operation])
                    judge.met[fate.value] += 1
                self.trace.append(Step(chosen.name, *request, fate.value))
                chosen.step(fate)
            if not self._goes_on(chosen):
                alive.remove(chosen)

    def _network_steps(self) -> None:
        hanging = self._place.hanging
        late = hanging.pop(self._chance.randrange(len(hanging)))
        self.trace.append(Step(NETWORK, late.operation, late.key, "late"))
        self.judge.met["carried out late"] += 1
        late.carry_out()

    def _goes_on(self, actor: Actor) -> bool:
        if actor.error is not None:
            self.judge.blame("crash", f"process {actor.name}: {actor.error!r}")
        return actor.request is not None

    def _go_on_alone(self) -> None:
        """I9: from any state a fresh attempt alone resumes from the newest and saves, or the task is complete."""
        entries, completed = len(self.judge.records), self.judge.completed
        successor = Writing(99, "successor", saves=1)
        actor = Actor("successor", functools.partial(successor.live, self._town))
        while actor.request is not None:
            actor.step(Fate.ANSWERED)
        self._goes_on(actor)
        last = self.judge.records[-1] if len(self.judge.records) > entries else {}
        if not completed and (last.get("type") != "CHECKPOINT" or last["attempt"] != 99):
            self.judge.blame("I9", f"a fresh attempt alone couldn't go on; the last entry is {last}")


_Pick = Callable[[Sequence[Actor], bool], Actor | None]


class _Bursts:
    """Somebody takes a few steps, then somebody else."""

    def __init__(self, chance: random.Random, actors: int) -> None:
        self._chance = chance
        self._left = 0
        self._current: Actor | None = None

    def __call__(self, alive: Sequence[Actor], network: bool) -> Actor | None:
        if self._left > 0 and self._current in alive:
            self._left -= 1
            return self._current
        chance = self._chance
        if network and chance.random() < 0.2:
            return None
        self._left = chance.choice((0, 0, 1, 3, 7, 15))
        self._current = chance.choice(alive)
        return self._current


class _Priorities:
    """The first in the order that can; now and then the first becomes the last."""

    def __init__(self, chance: random.Random, actors: int) -> None:
        order = [*map(str, range(1, actors + 1)), NETWORK]
        chance.shuffle(order)
        self._order = order
        self._changes = {chance.randrange(12 * actors) for _ in range(chance.randrange(1, 5))}
        self._step = 0

    def __call__(self, alive: Sequence[Actor], network: bool) -> Actor | None:
        by_name: dict[str, Actor | None] = {actor.name: actor for actor in alive}
        if network:
            by_name[NETWORK] = None
        first = next(name for name in self._order if name in by_name)
        if self._step in self._changes:
            self._order.remove(first)
            self._order.append(first)
            first = next(name for name in self._order if name in by_name)
        self._step += 1
        return by_name[first]
