"""One schedule: who takes the next step, and what becomes of each request, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Final

from tests.simulator.actors import Actor, Fate
from tests.simulator.casts import Cast
from tests.simulator.picking import Bursts, Priorities
from tests.simulator.place import LOG
from tests.simulator.scene import Scene, hushed
from tests.simulator.town import SHAPES
from waypost.store.calls import Budget
from waypost.store.format import Mode

MOST_STEPS: Final = 500
BUDGETS: Final = (Budget(seconds=0.0), Budget(seconds=0.3, first_pause=0.25, longest_pause=0.25))
"""One try, or two."""
WRITES: Final = (Fate.FAILED, Fate.LOST, Fate.LOST, Fate.HUNG, Fate.HUNG, Fate.TWICE)
FATES: Final = {
    "put_new": WRITES,
    "put": WRITES,
    "delete": WRITES,
    "get": (Fate.FAILED,),
    "read_range": (Fate.FAILED,),
    "list": (Fate.FAILED, Fate.LAGGED_1, Fate.LAGGED_2),
}
"""What can become of each request but an answer."""
CONSISTENT: Final = FATES | {"list": (Fate.FAILED,)}
"""The same where the store depends on listings that show every write at once."""
_SOLO_RATE: Final = 0.25
"""Of the schedules, how many end with the test of I9, which takes as many requests as a third of a schedule."""


def fates_of(cast: Cast) -> Mapping[str, Sequence[Fate]]:
    """What can become of this cast's requests."""
    return FATES if cast.mode is Mode.CONDITIONAL else CONSISTENT


class Schedule:
    """A cast, on the order and the faults of one seed."""

    def __init__(self, seed: int, cast: Cast) -> None:
        chance = self._chance = random.Random(seed)
        self.scene = Scene(cast, chance.choice(SHAPES), chance.choice(BUDGETS))
        self._fault_rate = chance.choice((0.0, 0.03, 0.08, 0.2))
        self._death_rate = chance.choice((0.0, 0.0, 0.02))
        self._fates = fates_of(cast)
        self._damage_rate = 0.03 if cast.damages else 0.0
        self._damages = cast.damages
        self._snapshot_rate = 0.05 if cast.snapshots else 0.0
        self._pick = chance.choice((Bursts, Priorities))(chance, len(cast.roles))
        self._waits_rate = 0.95 if any(getattr(role, "group", None) for role in cast.roles) else 0.0
        pace = chance.choice((0, 6, 12))
        arrivals = [(chance.randrange(pace * number + 1), number) for number in range(len(cast.roles))]
        self._coming = sorted(arrivals, reverse=True)
        """At which step each starts: all at once, or mostly one after the other, or anything between."""

    def run(self) -> Scene:
        """Run until everybody has ended or died, then now and then a fresh attempt alone (I9)."""
        scene, chance = self.scene, self._chance
        with hushed():
            self._run()
            if chance.random() < 0.5:
                while scene.place.hanging and scene.judge.verdict is None:
                    scene.carry_out(chance.randrange(len(scene.place.hanging)))
            scene.end()
            if scene.judge.verdict is None and chance.random() < _SOLO_RATE:
                scene.go_on_alone()
        return scene

    def _run(self) -> None:
        scene, chance, coming = self.scene, self._chance, self._coming
        hanging = scene.place.hanging
        alive: list[Actor] = []
        for step in range(MOST_STEPS):
            while coming and (not alive or coming[-1][0] <= step):
                actor = scene.actors[coming.pop()[1]]
                if scene.goes_on(actor):
                    alive.append(actor)
            if not alive or scene.judge.verdict is not None:
                return
            if self._damage_rate and chance.random() < self._damage_rate:
                self._damage()
            if self._snapshot_rate and chance.random() < self._snapshot_rate:
                self._snapshot(alive)
            chosen = self._pick(self._ready(alive), bool(hanging))
            if chosen is None:
                scene.carry_out(chance.randrange(len(hanging)))
                continue
            if self._death_rate and chance.random() < self._death_rate:
                scene.kill(chosen)
            else:
                scene.step(chosen, self._fate(chosen))
            if chosen.request is None:
                alive.remove(chosen)

    def _ready(self, alive: list[Actor]) -> list[Actor]:
        """Ranks wait for each other by asking again and again: mostly somebody else has his turn then, if there is."""
        if not self._waits_rate or self._chance.random() > self._waits_rate:
            return alive
        return [actor for actor in alive if not actor.waits] or alive

    def _fate(self, actor: Actor) -> Fate:
        if self._fault_rate and self._chance.random() < self._fault_rate:
            assert actor.request is not None
            return self._chance.choice(self._fates[actor.request.operation])
        return Fate.ANSWERED

    def _damage(self) -> None:
        able = self.scene.able_to_be_damaged(self._damages)
        if able:
            key = self._chance.choice(able)
            self.scene.damage(key, lost=self._damages != LOG and self._chance.random() < 0.5)

    def _snapshot(self, alive: list[Actor]) -> None:
        self._snapshot_rate = 0.0  # one is enough
        copy = self.scene.restore_snapshot(self._chance.choice(alive))
        if copy is not None:
            alive.append(copy)
