"""An attempt's life: start (rule 4), restore, then save, prune and delete, and COMPLETE at the end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.model import retaining, server
from tests.model.appending import Appender, Step
from tests.model.restoring import Restoring
from tests.model.world import (
    CHECKPOINT,
    COMPLETE,
    DELETED,
    FENCE,
    PACKS,
    PRUNE,
    Broken,
    Entry,
    Known,
    Pack,
    Request,
    World,
    survey,
)


class Writer(Restoring, Appender):
    """One process of an attempt."""

    def steps(self, world: World, index: int) -> Iterator[Step]:
        process = world.processes[index]
        if not self.may_run(world, index, process.at):
            return
        match process.at:
            case "outside":
                for lag in (0, 1, 2) if self.rules.list_lags else (0,):
                    yield f"lists, {lag} behind", partial(self._lists, world, index, lag)
            case "putting":
                yield from self.appending(world, index)
            case "unknown":
                yield "looks", partial(self.looking, world, index)
                if process.air is not None and process.air.kind == CHECKPOINT:
                    yield "gives up", partial(self._gives_up, world, index)
            case "restoring" | "looking again":
                yield from self.restoring(world, index)
            case "collecting":
                yield "", partial(self._collects, world, index)
            case "idle":
                yield from self._idle(world, index)
            case "uploading":
                yield "", partial(self._uploads, world, index)
            case "committing":
                yield "", partial(self.rebuild, world, index)
            case "pruning":
                yield "", partial(self._prunes, world, index)
            case "deleting":
                yield from self.deleting(world, index)

    def may_run(self, world: World, index: int, at: str) -> bool:
        """Whether no other thread of the process holds the lock around this step."""
        return True

    # --- Start ---------------------------------------------------------------------------------------------------
    def _lists(self, world: World, index: int, lag: int) -> World:
        if world.log and not world.on_lists():
            return world.become(index, world.processes[index]._replace(at="new store"))
        known = survey(world, lag)
        if known.attempt != DELETED and any(entry.attempt == DELETED for entry in world.log):
            raise Broken(f"I21 the store was deleted, and a LIST finds {known}")
        return self.judge_start(self.learn(world, index, known), index)

    def judge_start(self, world: World, index: int) -> World:
        process = world.processes[index]
        known = process.known
        if known.attempt == DELETED:
            return world.become(index, process._replace(at="store deleted", air=None))
        if known.completed and self.rules.complete_ends:
            return world.become(index, process._replace(at="already complete", air=None))
        if known.attempt > process.attempt:
            return world.become(index, process._replace(at="refused", air=None))
        if known.blind >= 0 and not known.live and not self.rules.zero_past_unreadable:
            return world.become(index, process._replace(at="corrupt", air=None))
        return self.begin(world, index, self._entry(world, index, FENCE, known))

    # --- Save ----------------------------------------------------------------------------------------------------
    def _idle(self, world: World, index: int) -> Iterator[Step]:
        process = world.processes[index]
        if process.saves < self.rules.saves:
            yield "chooses", partial(self._chooses, world, index)
        elif self.rules.completes:
            yield "completes", partial(self._completes, world, index)
            return
        if self.rules.collect != "no" and self.rules.collect_when == "idle" and not process.collected:
            yield "collects", partial(self._collects, world, index)

    def _completes(self, world: World, index: int) -> World:
        return self.begin(world, index, self._entry(world, index, COMPLETE, self.known(world, index)))

    def _chooses(self, world: World, index: int) -> World:
        process = world.processes[index]
        wanted = ["odd" if process.step % 2 == 0 else "even"] + (["shared"] if self.rules.shared_pack else [])
        packs = frozenset(self._name(world, index, content) for content in wanted)
        return world.become(index, process._replace(at="uploading", packs=packs))

    def _name(self, world: World, index: int, content: str) -> Pack:
        """A pack of this content that may be named again, or a new one."""
        if self.rules.names == "content":
            return Pack(content)
        for pack in sorted(self._reusable(world, index)) + (sorted(world.packs) if self.rules.reuse == "head" else []):
            if pack.content == content:
                return pack
        return Pack(content, index, world.processes[index].nonces)

    def _reusable(self, world: World, index: int) -> frozenset[Pack]:
        """The packs that may be named again: of live checkpoints, and not of every one (H17, H20)."""
        process, known = world.processes[index], self.known(world, index)
        own = tuple(number for number in known.live if world.log[number].writer == self.me(world, index))
        match self.rules.reuse:
            case "nothing":
                return PACKS
            case "own":
                return world.named_by(own)
            case "lineage":
                return world.named_by(tuple({*own, process.root} & {*known.live}))
        return world.named_by(known.live)

    def _uploads(self, world: World, index: int) -> World:
        process = world.processes[index]
        if self.rules.reuse == "head":
            missing = process.packs - world.packs  # "size and checksum are right"
        else:
            missing = process.packs - self._reusable(world, index)
        born_broken = (process.packs - missing) & world.broken
        if born_broken and self.rules.reuse == "live":
            raise Broken(
                f"I16 writer {index} names {sorted(born_broken)} again, which is broken and which it never read"
            )
        world = world._replace(packs=world.packs | missing)
        return world.become(index, process._replace(at="committing"))

    def rebuild(self, world: World, index: int) -> World:
        """Make the append for the number behind `known`: the packs are checked now, immediately before the PUT."""
        process, known = world.processes[index], self.known(world, index)
        air = process.air
        if air is not None and air.kind == PRUNE:
            return self._prunes(world, index)
        if air is not None and air.kind == COMPLETE:
            complete = self._entry(world, index, COMPLETE, known)._replace(nonce=air.nonce, append=air.append)
            return world.become(index, process._replace(at="putting", air=complete))
        if air is not None and self.rules.recheck and process.at != "committing":
            return world.become(index, process._replace(at="committing"))
        if self.rules.recheck and not self.may_name(world, index):
            # uploaded again under fresh names
            return world.become(index, process._replace(at="idle", air=None, packs=PACKS))
        entry = self._checkpoint(world, index, known)
        if air is None:
            world = self.begin(world, index, entry)
            return self._deletes_early(world, index, entry) if self.rules.deletes == "sent" else world
        if not self.rules.recompute:
            entry = entry._replace(prunes=air.prunes, live=air.live)
        return world.become(
            index, process._replace(at="putting", air=entry._replace(nonce=air.nonce, append=air.append))
        )

    def _deletes_early(self, world: World, index: int, entry: Entry) -> World:
        """The hole: what an entry prunes is deleted as soon as the entry is sent."""
        if self.rules.stubs != "no":
            early = [Request("stub", number=number) for number in sorted(entry.prunes)]
        else:
            behind = world.processes[index].known._replace(live=entry.live)
            loose = world.named_by(tuple(entry.prunes)) - world.named_by(behind.live[:-1]) - entry.packs
            early = [Request("delete", pack=pack) for pack in sorted(loose)]
        return world._replace(flying=tuple(sorted((*world.flying, *early), key=repr)))

    def may_name(self, world: World, index: int) -> bool:
        """Rule 5: live at the number before, or uploaded by this fence and named by none before."""
        known = self.known(world, index)
        strangers = self.checked(world, index) - world.named_by(known.live)
        named = world.named_by(tuple(range(known.seen + 1)))
        me = self.me(world, index)
        return all(pack.fence == me and pack not in named for pack in strangers)

    def checked(self, world: World, index: int) -> frozenset[Pack]:
        """The packs that the check is about."""
        return world.processes[index].packs

    def _checkpoint(self, world: World, index: int, known: Known) -> Entry:
        process = world.processes[index]
        prunes = frozenset[int]()
        if self.rules.prunes == "inside":
            prunes = retaining.outdated(self.rules, world, known, self.rules.keep, process.root, process.base)
        live = tuple(number for number in known.live if number not in prunes)
        return self._entry(world, index, CHECKPOINT, known)._replace(
            live=(*live, known.seen + 1), step=process.step + 1, packs=process.packs, parent=process.base, prunes=prunes
        )

    def _entry(self, world: World, index: int, kind: str, known: Known) -> Entry:
        me = self.me(world, index)
        return Entry(kind, world.processes[me].attempt, me, -1, known.live, known.pinned)

    def _gives_up(self, world: World, index: int) -> World:
        process = world.processes[index]
        assert process.air is not None
        failed = process.failed
        if self.rules.told_failed:
            failed |= {(process.air.append, process.air.step)}
        removed: tuple[Pack | int, ...] = ()
        if self.rules.clean_after_failure:
            removed = tuple(sorted(process.packs - world.named_by(process.known.live)))
        process = process._replace(air=None, packs=PACKS, saves=process.saves + 1, failed=failed)
        return world.become(index, process._replace(at="deleting" if removed else "idle", condemned=removed))

    # --- What follows an append ----------------------------------------------------------------------------------
    def stands(self, world: World, index: int, entry: Entry) -> World:
        process, known = world.processes[index], self.known(world, index)
        match entry.kind:
            case "FENCE":
                if self.rules.list_after_fence and (known.seen != len(world.log) - 1 or world.log[known.seen] != entry):
                    return world.become(index, process._replace(at="outside", known=Known()))
                return world.become(index, process._replace(at="restoring"))
            case "CHECKPOINT":
                if world.changed and world.log[known.seen] != entry:
                    if any(other.attempt == DELETED for other in world.log):
                        return world.become(index, process._replace(at="saved into a deleted store"))
                    raise Broken(f"I2 a CHECKPOINT is confirmed at {known.seen}, which was taken and deleted")
                process = process._replace(
                    confirmed=process.confirmed | {(entry.append, entry.step)},
                    saves=process.saves + 1,
                    step=entry.step,
                    base=known.seen,
                    packs=PACKS,
                )
                if self.rules.prunes == "inside":
                    return self.condemn(world.become(index, process), index, entry.prunes)
                return world.become(index, process._replace(at="pruning"))
            case "PRUNE":
                return self.condemn(world, index, entry.prunes)
        return world.become(index, process._replace(at="complete"))

    def _prunes(self, world: World, index: int) -> World:
        process, known = world.processes[index], self.known(world, index)
        gone = retaining.outdated(self.rules, world, known, self.rules.keep, process.root)
        if not gone:
            return world.become(index, process._replace(at="idle", air=None))
        live = tuple(number for number in known.live if number not in gone)
        return self.begin(world, index, self._entry(world, index, PRUNE, known)._replace(live=live, prunes=gone))

    def condemn(self, world: World, index: int, pruned: frozenset[int]) -> World:
        """What these checkpoints named is to be deleted."""
        process, known = world.processes[index], self.known(world, index)
        gone = retaining.condemned(world, pruned, known)
        if pruned and self.rules.stubs != "no":
            gone = tuple(sorted(pruned))
        if pruned and self.rules.trim == "careful":
            dead = (
                number
                for number in range(known.seen)
                if (entry := world.log[number]).kind in (CHECKPOINT, PRUNE)
                and world.standing(number) is entry
                and number not in known.live
                and (self.rules.trim_foreign or world.processes[entry.writer].role == "writer")
            )
            gone = (*gone, *dead)
        elif pruned and self.rules.trim == "prefix":
            gone = (*gone, *(n for n in range(max(pruned) + 1) if world.standing(n) is not None))
        return world.become(index, process._replace(at="deleting" if gone else self.after_deleting, condemned=gone))

    after_deleting = "idle"

    def deleting(self, world: World, index: int) -> Iterator[Step]:
        """One DELETE (or stub): carried out now, or hanging in the network."""
        process = world.processes[index]
        target, left = process.condemned[0], process.condemned[1:]
        gone_on = world.become(index, process._replace(condemned=left, at="deleting" if left else self.after_deleting))
        if self.rules.stubs != "no" and isinstance(target, int):
            yield "writes a stub", partial(server.overwrite_by_stub, gone_on, target)
            request = Request("stub", number=target)
        else:
            yield "deletes", partial(server.delete, gone_on, target)
            request = Request("delete", pack=target) if isinstance(target, Pack) else Request("delete", number=target)
        if world.delays:
            yield "a delete hangs", partial(gone_on.launch, request)

    def _collects(self, world: World, index: int) -> World:
        process = world.processes[index]
        gone = retaining.collected(self.rules, world, index, self.known(world, index))
        return world.become(index, process._replace(at="deleting" if gone else "idle", condemned=gone, collected=True))
