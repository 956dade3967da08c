"""Deleting a store (rule 14): a FENCE that no attempt can pass, then packs, then the log, oldest first.

It may be killed anywhere. Writers that were overtaken go on as they do after any FENCE; what they put meanwhile at
numbers already deleted succeeds, and must not count for anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.model import server
from tests.model.appending import Step
from tests.model.world import DELETED, FENCE, Entry, Pack, World
from tests.model.writer import Writer


class Deleter(Writer):
    """Deletes the whole store."""

    def steps(self, world: World, index: int) -> Iterator[Step]:
        process = world.processes[index]
        match process.at:
            case "outside":
                yield "lists", partial(self._lists, world, index, 0)
            case "putting":
                yield from self.appending(world, index)
            case "unknown":
                yield "looks", partial(self.looking, world, index)
            case "deleting":
                yield from self._deletes(world, index)

    def judge_start(self, world: World, index: int) -> World:
        known = world.processes[index].known
        if known.attempt == DELETED:
            return self.stands(world, index, world.log[known.seen])
        return self.begin(world, index, Entry(FENCE, DELETED, index, -1, known.live, known.pinned))

    def stands(self, world: World, index: int, entry: Entry) -> World:
        """List everything, and begin."""
        numbers: list[Pack | int] = [n for n in world.on_lists() if world.log[n].attempt != DELETED]
        if self.rules.deletion_fence == "goes last":
            numbers.append(world.processes[index].known.seen)
        targets = (*sorted(world.packs), *numbers)
        return world.become(
            index, world.processes[index]._replace(at="deleting" if targets else "done", condemned=targets)
        )

    def _deletes(self, world: World, index: int) -> Iterator[Step]:
        process = world.processes[index]
        left = process.condemned[1:]
        then = world.become(index, process._replace(condemned=left, at="deleting" if left else "done"))
        yield "deletes", partial(server.delete, then, process.condemned[0])
