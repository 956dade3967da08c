"""Who goes next: two ways of leading schedules far from the middle of the road.

Uniform choices rarely lead far: the deep orders (a writer that sleeps in the middle of a commit while its successor
lives and dies) need one process to overtake the others by many steps. Bursts do that, and so do priorities that change
at a few random moments (probabilistic concurrency testing, Burckhardt et al. 2010: an order that depends on d orderings
is found with a known probability). The network, which carries out what hangs in it, takes its steps like a process.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from tests.simulator.actors import Actor

NETWORK: Final = "network"


class Bursts:
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


class Priorities:
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
        self._order += [name for name in by_name if name not in self._order]
        first = next(name for name in self._order if name in by_name)
        if self._step in self._changes:
            self._order.remove(first)
            self._order.append(first)
            first = next(name for name in self._order if name in by_name)
        self._step += 1
        return by_name[first]
