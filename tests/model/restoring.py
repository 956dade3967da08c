"""How an attempt restores: the newest checkpoint that is whole, along the parents, and never by a guess (rules 7, 8).

A checkpoint is read at one moment. When something of it is missing, the log is read again at a later one, and only
then is it called damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.model import invariants
from tests.model.appending import Role, Step
from tests.model.world import DELETED, FENCE, UNSETTLED, ZERO, Broken, World, read_on, survey

FROM = -10
"""The parent of a checkpoint that began from FROM's checkpoint k is FROM - k."""


class Restoring(Role):
    """The part of a writer between its FENCE and its first save."""

    def restoring(self, world: World, index: int) -> Iterator[Step]:
        process = world.processes[index]
        if process.at == "looking again":
            yield "", partial(self._looks_again, world, index)
        elif self.rules.restores == "list":
            for lag in (0, 1, 2):
                yield f"lists, {lag} behind", partial(self._resumes, world, index, survey(world, lag).newest)
        elif self.rules.any_restore and process.candidate == UNSETTLED and process.known.live:
            for number in process.known.live:
                yield f"reads {number}", partial(self._reads, world, index, number)
        elif self.rules.origin != "none" and not process.known.live:
            yield from self._from_origin(world, index)
        else:
            number = process.known.newest if process.candidate == UNSETTLED else process.candidate
            yield f"reads {number}", partial(self._reads, world, index, number)

    def _reads(self, world: World, index: int, number: int) -> World:
        process = world.processes[index]
        if number == ZERO or world.whole(number):
            return self._resumes(world, index, number)
        if not self.rules.restore_looks_again:
            raise Broken(f"I1r writer {index} restores {number} and finds packs gone")
        tip = number if process.candidate == UNSETTLED else process.tip
        return world.become(index, process._replace(at="looking again", candidate=number, tip=tip))

    def _looks_again(self, world: World, index: int) -> World:
        process = world.processes[index]
        known, met = read_on(world, process.known)
        fences = [entry for entry in met if entry.kind == FENCE]
        if fences:
            ended = "store deleted" if fences[-1].attempt == DELETED else "fenced"
            return world.become(index, process._replace(at=ended, candidate=UNSETTLED))
        if process.candidate not in known.live:
            return world.become(index, process._replace(at="restoring", candidate=known.newest, tip=known.newest))
        if not self.rules.mishaps and not world.changed:
            raise Broken(f"I1r writer {index} restores {process.candidate} and finds packs gone, though it is live")
        number = self._next_candidate(world, process.candidate, known.live)
        if number == ZERO:
            invariants.check_fallback(world, index, process.tip, None)
            return world.become(index, process._replace(at="corrupt"))
        return world.become(index, process._replace(at="restoring", candidate=number))

    def _next_candidate(self, world: World, number: int, live: tuple[int, ...]) -> int:
        if self.rules.falls_back == "older":
            return max((other for other in live if other < number), default=ZERO)
        while number >= 0:
            entry = world.standing(number)
            if entry is None or entry.kind != "CHECKPOINT":  # its lineage can't be read: the next lower live one
                number = max((other for other in live if other < number), default=ZERO)
            else:
                number = entry.parent
            if number in live:
                return number
        return ZERO

    def _resumes(self, world: World, index: int, number: int) -> World:
        process = world.processes[index]
        tip = number if process.candidate == UNSETTLED else process.tip
        invariants.check_fallback(world, index, tip, number)
        step = world.log[number].step if number >= 0 else 0
        then = "collecting" if self.rules.collect != "no" and self.rules.collect_when == "restored" else "idle"
        if self.rules.restores == "list":
            then = "idle"
        return world.become(
            index, process._replace(at=then, base=number, root=number, step=step, candidate=UNSETTLED, tip=ZERO)
        )

    def _from_origin(self, world: World, index: int) -> Iterator[Step]:
        process = world.processes[index]
        assert world.origin is not None
        if self.rules.origin == "first attempt" and process.attempt > 1:
            yield "knows no FROM", partial(self._resumes, world, index, ZERO)
        elif not world.origin.reachable:
            if self.rules.origin_error_is_zero:
                yield "FROM fails", partial(self._resumes, world, index, ZERO)
            else:
                yield "FROM fails", partial(world.become, index, process._replace(at="storage error"))
        elif process.candidate == UNSETTLED:
            yield "lists FROM", partial(world.become, index, process._replace(candidate=world.origin.live[-1]))
        elif process.candidate in world.origin.live:
            chosen = world.become(index, process._replace(candidate=UNSETTLED))
            yield "reads FROM", partial(self._resumes, chosen, index, FROM - process.candidate)
        else:
            yield "FROM's was pruned", partial(world.become, index, process._replace(candidate=UNSETTLED))
