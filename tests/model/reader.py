"""A reader without a fence: it lists, takes the newest, and fetches pack after pack (rule 7)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.model.appending import Role, Step
from tests.model.world import Broken, Pack, World, survey


class Reader(Role):
    """`waypost checkpoints pull`, or FROM's end of another task."""

    def steps(self, world: World, index: int) -> Iterator[Step]:
        process = world.processes[index]
        if process.at in ("outside", "starting over"):
            yield "lists", partial(self._lists, world, index)
        elif process.at == "fetching":
            yield "", partial(self._fetches, world, index)

    def _lists(self, world: World, index: int) -> World:
        process, known = world.processes[index], survey(world)
        if not known.live:
            return world.become(index, process._replace(at="outside"))
        return self._begins(world.become(index, process._replace(known=known)), index, known.newest)

    @staticmethod
    def _begins(world: World, index: int, number: int) -> World:
        wanted = tuple(sorted(world.log[number].packs))
        process = world.processes[index]._replace(at="fetching", candidate=number, condemned=wanted)
        return world.become(index, process)

    def _fetches(self, world: World, index: int) -> World:
        process = world.processes[index]
        pack, left = process.condemned[0], process.condemned[1:]
        assert isinstance(pack, Pack)
        if pack in world.packs:
            return world.become(index, process._replace(condemned=left, at="fetching" if left else "has it"))
        live = survey(world).live
        if process.candidate in live:
            raise Broken(f"R1 a reader misses a pack of the live checkpoint {process.candidate}")
        if self.rules.reader_looks_again:
            return world.become(index, process._replace(at="starting over", condemned=()))
        older = [number for number in process.known.live if number < process.candidate]
        if not older:
            raise Broken(f"R2 a reader says that no checkpoint is whole, while {live[-1]} is")
        if world.whole(older[-1]):
            raise Broken(f"R3 a reader gets {older[-1]} without a word, though {live[-1]} is newer and whole")
        return self._begins(world, index, older[-1])
