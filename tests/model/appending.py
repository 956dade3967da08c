"""Appending, rule 3: at exactly the next number, and a verdict on whatever stands there instead.

The one place where writers, the CLI and a store's deletion do the same thing. What differs is what an append means to
whom, so each role says what to do when its entry stands, and how to rebuild it for the next number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tests.model import invariants, server
from tests.model.rules import Rules
from tests.model.world import CHECKPOINT, COMPLETE, FENCE, PIN, PRUNE, UNREADABLE, Entry, Known, Process, Request, World

Step = tuple[str, Callable[[], World]]


class Role:
    """One kind of process."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def steps(self, world: World, index: int) -> Iterator[Step]:
        """What this process may do next: a label, and the world then. Raises Broken inside the step."""
        raise NotImplementedError


class Appender(Role):
    """A process that appends entries."""

    def stands(self, world: World, index: int, entry: Entry) -> World:
        """The append in the air stands at the number behind what was known; `known` has it already."""
        raise NotImplementedError

    def rebuild(self, world: World, index: int) -> World:
        """Another's entry was adopted: make the append anew for the next number."""
        raise NotImplementedError

    def judge_start(self, world: World, index: int) -> World:
        """A FENCE met an entry: judge whether it may still start."""
        raise NotImplementedError

    def known(self, world: World, index: int) -> Known:
        """What this process knows of the log."""
        return world.processes[index].known

    def me(self, world: World, index: int) -> int:
        """The process whose fence and nonces this one goes by."""
        return index

    def learn(self, world: World, index: int, known: Known) -> World:
        """This process knows more now."""
        return world.become(index, world.processes[index]._replace(known=known))

    def begin(self, world: World, index: int, entry: Entry) -> World:
        """An append gets its nonce and goes on its way."""
        process = world.processes[index]
        nonce = process.nonces if self.rules.nonce == "append" else 0
        return world.become(
            index,
            process._replace(
                at="putting", air=entry._replace(nonce=nonce, append=process.nonces), nonces=process.nonces + 1
            ),
        )

    def appending(self, world: World, index: int) -> Iterator[Step]:
        """The PUT: it answers, loses its answer, hangs, or is carried out twice."""
        yield "answers", partial(self._answers, world, index)
        if world.delays:
            yield "answer lost", partial(self._answer_lost, world, index)
            yield "hangs", partial(self._hangs, world, index)
        if world.duplicates:
            yield "twice", partial(self._twice, world, index)

    def looking(self, world: World, index: int) -> World:
        """GET the number, because it is taken or the outcome is unknown, and judge."""
        process, me = world.processes[index], self.me(world, index)
        assert process.air is not None
        number = self.known(world, index).seen + 1
        standing, air = world.standing(number), process.air
        if standing is None:
            return world.become(index, process._replace(at="putting"))  # absent: the same PUT again
        if (
            standing is not world.log[number]
            and self.rules.trim == "careful"
            and air.kind == FENCE
            and standing.writer != me
        ):
            return world.become(index, process._replace(at="outside", air=None))  # a dead writer's garbage: LIST again
        if standing.writer == me and standing.nonce == air.nonce:
            return self._stands(world, index, air)
        if air.kind == FENCE:
            return self.judge_start(self.learn(world, index, self.known(world, index).after(number, standing)), index)
        if not self._stepped_over(process, me, standing):
            invariants.check_fenced(world, me, standing)
            return world.become(index, process._replace(at="fenced", air=None, condemned=()))
        world = self.learn(world, index, self.known(world, index).after(number, standing))
        if standing.writer == me and standing.kind == CHECKPOINT and air.kind == CHECKPOINT:
            # (b) an earlier save of mine stands after all: it is the parent now
            process = world.processes[index]
            world = world.become(index, process._replace(base=number, air=air._replace(parent=number)))
        return self.rebuild(world, index)

    def _stepped_over(self, process: Process, me: int, standing: Entry) -> bool:
        if standing.kind == UNREADABLE:
            return self.rules.unreadable_is == "stepped over"
        if standing.kind == COMPLETE and self.rules.complete_ends:
            return False
        if standing.kind in (PRUNE, PIN) and self.rules.adopt_prune:
            return True
        if self.rules.identity == "attempt":
            return standing.attempt == process.attempt
        return standing.writer == me

    def _stands(self, world: World, index: int, entry: Entry) -> World:
        known = self.known(world, index)
        world = self.learn(world, index, known.after(known.seen + 1, entry))
        world = world.become(index, world.processes[index]._replace(air=None))
        return self.stands(world, index, entry)

    def _put(self, world: World, index: int) -> tuple[World, bool]:
        air = world.processes[index].air
        assert air is not None
        return server.put_new(self.rules, world, self.known(world, index).seen + 1, air)

    def _answers(self, world: World, index: int) -> World:
        world, put = self._put(world, index)
        air = world.processes[index].air
        assert air is not None
        return self._stands(world, index, air) if put else self.looking(world, index)

    def _answer_lost(self, world: World, index: int) -> World:
        world, _ = self._put(world, index)
        return world.become(index, world.processes[index]._replace(at="unknown"))._replace(delays=world.delays - 1)

    def _hangs(self, world: World, index: int) -> World:
        process = world.processes[index]
        request = Request("put", number=self.known(world, index).seen + 1, entry=process.air)
        return world.become(index, process._replace(at="unknown")).launch(request)

    def _twice(self, world: World, index: int) -> World:
        request = Request("put", number=self.known(world, index).seen + 1, entry=world.processes[index].air)
        world = self._answers(world, index)
        return world._replace(flying=tuple(sorted((*world.flying, request), key=repr)), duplicates=world.duplicates - 1)
