"""Several ranks of one execution (rule 12): each publishes its part, rank 0 commits one CHECKPOINT of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from tests.model.appending import Role, Step
from tests.model.world import CHECKPOINT, FENCE, PACKS, Pack, Part, Request, World
from tests.model.writer import Writer

_RANKS: Final = "rank "
"""How the content of other ranks begins."""


class Leader(Writer):
    """Rank 0: a writer that waits for the other rank's part before it commits."""

    def steps(self, world: World, index: int) -> Iterator[Step]:
        if world.processes[index].at == "waiting":
            part = self._part(world, index)
            if part is not None:
                yield "finds the part", partial(self._finds, world, index, part)
        else:
            yield from super().steps(world, index)

    def _uploads(self, world: World, index: int) -> World:
        world = super()._uploads(world, index)
        return world.become(index, world.processes[index]._replace(at="waiting"))

    def _part(self, world: World, index: int) -> Part | None:
        process = world.processes[index]
        by_fence = self.rules.part_names == "fence"
        name = (index, process.saves + 1) if by_fence else (process.attempt, process.step + 1)
        return next((part for part in world.parts if (part.fence, part.ordinal) == name), None)

    def _reusable(self, world: World, index: int) -> frozenset[Pack]:
        """Rank 0 uploads all of its own anew, so that the check is about the other rank's packs alone."""
        return PACKS

    def checked(self, world: World, index: int) -> frozenset[Pack]:
        packs = super().checked(world, index)
        if self.rules.checks_parts:
            return packs
        return frozenset(pack for pack in packs if not pack.content.startswith(_RANKS))

    def _finds(self, world: World, index: int, part: Part) -> World:
        process = world.processes[index]
        return world.become(
            index, process._replace(at="committing", packs=process.packs | part.packs, parts_of=part.made_by)
        )

    def rebuild(self, world: World, index: int) -> World:
        world = super().rebuild(world, index)
        process = world.processes[index]
        if process.at == "idle":  # a pack of another rank can't be uploaded again from here: this save has failed
            return world.become(index, process._replace(saves=process.saves + 1))
        if process.air is not None and process.air.kind == CHECKPOINT:
            return world.become(index, process._replace(air=process.air._replace(parts_of=process.parts_of)))
        return world


class Rank(Role):
    """A rank above 0. As `attempt` it has the index of its rank 0."""

    def steps(self, world: World, index: int) -> Iterator[Step]:
        process = world.processes[index]
        leader = process.attempt
        match process.at:
            case "outside":
                fences = [entry.writer for entry in world.log if entry.kind == FENCE]
                if fences and fences[-1] == leader:
                    yield "joins", partial(self._joins, world, index)
            case "idle" if process.saves < self.rules.saves:
                yield "chooses", partial(self._chooses, world, index)
            case "uploading":
                yield "", partial(self._uploads, world, index)
            case "publishing":
                yield "publishes", partial(self._publishes, world, index, hangs=False)
                if world.delays:
                    yield "publishing hangs", partial(self._publishes, world, index, hangs=True)

    def _joins(self, world: World, index: int) -> World:
        live = world.log[-1].live
        step = world.log[live[-1]].step if live else 0
        return world.become(index, world.processes[index]._replace(at="idle", step=step))

    def _chooses(self, world: World, index: int) -> World:
        process = world.processes[index]
        content = f"{_RANKS}{process.step % 2}"
        live = world.named_by(world.log[-1].live) if self.rules.reuse == "live" else PACKS
        again = sorted(pack for pack in live if pack.content == content)
        pack = again[0] if again else Pack(content, process.attempt, 100 + process.saves)
        return world.become(index, process._replace(at="uploading", packs=frozenset({pack})))

    def _uploads(self, world: World, index: int) -> World:
        process = world.processes[index]
        fresh = frozenset(
            pack for pack in process.packs if pack.upload == 100 + process.saves and pack.fence == process.attempt
        )
        return world._replace(packs=world.packs | fresh).become(index, process._replace(at="publishing"))

    def _publishes(self, world: World, index: int, *, hangs: bool) -> World:
        process = world.processes[index]
        leader = process.attempt
        name = (leader, process.saves + 1)
        if self.rules.part_names == "attempt":
            name = (world.processes[leader].attempt, process.step + 1)
        part = Part(*name, process.packs, made_by=leader)
        world = world.become(
            index, process._replace(at="idle", packs=PACKS, saves=process.saves + 1, step=process.step + 1)
        )
        return world.launch(Request("part", part=part)) if hangs else world.publish(part)
