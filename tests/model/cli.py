"""`waypost checkpoints prune` and `pin`: anybody who read the log up to its end may append these (rule 6)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.model import invariants, retaining
from tests.model.appending import Step
from tests.model.world import PIN, PRUNE, ZERO, Entry, Known, World, survey
from tests.model.writer import Writer


class Cli(Writer):
    """Prunes everything but the newest whole checkpoint, what is pinned, and the running attempt's base."""

    after_deleting = "done"

    def steps(self, world: World, index: int) -> Iterator[Step]:
        process = world.processes[index]
        match process.at:
            case "outside":
                yield "lists", partial(self.rebuild, world, index)
            case "putting":
                yield "answers", partial(self._answers, world, index)
                if world.delays:
                    yield "hangs", partial(self._hangs_and_dies, world, index)
            case "deleting":
                yield "deletes", partial(self._deletes, world, index)

    def rebuild(self, world: World, index: int) -> World:
        known = survey(world)
        world = self.learn(world, index, known)
        entry = self.wanted(world, index, known)
        if entry is None:
            return world.become(index, world.processes[index]._replace(at="outside", air=None))
        return self.begin(world, index, entry)

    def wanted(self, world: World, index: int, known: Known) -> Entry | None:
        """What to append now; None when there is nothing to do."""
        base = retaining.base_of_the_running(self.rules, world, known)
        if base is None:
            return None
        kept = {known.newest, base, *known.pinned}
        if self.rules.cli_verifies:
            kept.add(next((number for number in reversed(known.live) if world.whole(number)), ZERO))
        gone = frozenset(known.live) - kept
        invariants.check_pruned_by_hand(world, known.live, gone)
        live = tuple(number for number in known.live if number not in gone)
        return Entry(PRUNE, 0, index, -1, live, known.pinned, prunes=gone) if gone else None

    def looking(self, world: World, index: int) -> World:
        """The number is taken: list again."""
        return world.become(index, world.processes[index]._replace(at="outside", air=None))

    def stands(self, world: World, index: int, entry: Entry) -> World:
        return self.condemn(world, index, entry.prunes)

    def _hangs_and_dies(self, world: World, index: int) -> World:
        world = self._hangs(world, index)
        return world.become(index, world.processes[index]._replace(at="done"))

    def _deletes(self, world: World, index: int) -> World:
        return next(iter(self.deleting(world, index)))[1]()


class Pinner(Cli):
    """Pins a checkpoint that isn't pinned yet."""

    def wanted(self, world: World, index: int, known: Known) -> Entry | None:
        loose = [number for number in known.live if number not in known.pinned]
        if not loose:
            return None
        return Entry(PIN, 0, index, -1, known.live, known.pinned | {loose[0]})

    def stands(self, world: World, index: int, entry: Entry) -> World:
        return world.become(index, world.processes[index]._replace(at="done"))
