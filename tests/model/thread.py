"""Two threads of one process: one saves, the other prunes, and both go by one knowledge of the log.

Without a lock the packs are checked against one `last_seen` and the entry is put behind another.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.model.appending import Step
from tests.model.world import UNSETTLED, Entry, Known, World
from tests.model.writer import Writer


class Saving(Writer):
    """The thread that starts, restores and saves."""

    def may_run(self, world: World, index: int, at: str) -> bool:
        """With the lock, one append at a time: packs checked, entry put, answer judged."""
        begins = at in ("committing", "idle")
        others = (p for p in world.processes if p.role == "pruning thread" and p.attempt == index)
        return not (self.rules.lock and begins and any(other.air is not None for other in others))

    def stands(self, world: World, index: int, entry: Entry) -> World:
        world = super().stands(world, index, entry)
        process = world.processes[index]
        return world.become(index, process._replace(at="idle")) if process.at == "pruning" else world


class Pruning(Writer):
    """The thread that prunes. As `attempt` it has the index of the process it belongs to."""

    after_deleting = "outside"

    def steps(self, world: World, index: int) -> Iterator[Step]:
        process, owner = world.processes[index], world.processes[self.me(world, index)]
        if process.at in ("outside", "pruning"):
            if owner.root != UNSETTLED and not (self.rules.lock and owner.air is not None):
                yield "prunes", partial(self._prunes, world, index)
        elif process.at != "idle":
            yield from super().steps(world, index)
        else:
            yield from self._rests(world, index)

    def _rests(self, world: World, index: int) -> Iterator[Step]:
        yield "looks whether there is more", partial(world.become, index, world.processes[index]._replace(at="outside"))

    def me(self, world: World, index: int) -> int:
        return world.processes[index].attempt

    def known(self, world: World, index: int) -> Known:
        return world.processes[self.me(world, index)].known

    def learn(self, world: World, index: int, known: Known) -> World:
        me = self.me(world, index)
        return world.become(me, world.processes[me]._replace(known=known))
