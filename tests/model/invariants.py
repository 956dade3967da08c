"""What must hold in every world that can be reached, whatever the order of steps.

I1  every live CHECKPOINT has all its packs          I9  from every world a fresh attempt alone goes on, no repair
I1r a restore never misses a pack                    I10 what an entry says is live is what is live
I2  one entry per number, for ever                   I11 nothing pinned is pruned
I3  nothing of a writer after another's FENCE        I12 a CHECKPOINT's parts are of one execution and one save
I4  a confirmed save stands in the log               I13 a fall-back never leaves the lineage
I4b a save told as failed doesn't                    I14 the newest `keep` of the lineage are live
I5  parent = newest live at the FENCE, or the own    I15 a fall-back never passes a whole ancestor
I6  nothing after COMPLETE                           I16 no save names a broken pack that its writer never read
I7  no gap                                           I17 nobody starts from zero where there was something
I8  the newest is never pruned, by nobody            I18 what the running attempt resumed from stays live
I19 the CLI never prunes the last whole checkpoint
I20 nobody is fenced but by a FENCE
R1-R3 a reader never gets "corrupt" or an older state while the newest is whole
I21 a store that was deleted never gives a checkpoint again
"""

from __future__ import annotations

from tests.model.rules import Rules
from tests.model.world import (
    CHECKPOINT,
    COMPLETE,
    FENCE,
    PRUNE,
    UNREADABLE,
    ZERO,
    Broken,
    Entry,
    World,
    lineage,
)


def check_append(rules: Rules, world: World) -> None:
    """The newest entry may stand where it stands."""
    *earlier, entry = world.log
    number = len(earlier)
    blind = any(world.changed_to_unreadable(position) for position in range(number))
    fences = [other for other in earlier if other.kind == FENCE]
    holder = fences[-1] if fences else None
    role = world.processes[entry.writer].role
    by_writer = entry.kind in (CHECKPOINT, COMPLETE) or (entry.kind == PRUNE and entry.attempt > 0)
    if by_writer and (holder is None or holder.writer != entry.writer):
        raise Broken(
            f"I3 {entry.kind} of writer {entry.writer} at {number}, after a FENCE of {holder and holder.writer}"
        )
    if entry.kind == FENCE and holder is not None and holder.attempt > entry.attempt and not blind:
        raise Broken(f"I3 FENCE of attempt {entry.attempt} at {number}, after one of attempt {holder.attempt}")
    completed = any(other.kind == COMPLETE for other in earlier) and not blind
    if completed and entry.kind in (CHECKPOINT, FENCE, COMPLETE) and role != "deleter":
        raise Broken(f"I6 {entry.kind} at {number}, after COMPLETE")
    if entry.kind == CHECKPOINT:
        _check_parent(rules, world, entry, earlier)
        if entry.parts_of not in (-1, entry.writer):
            raise Broken(
                f"I12 the CHECKPOINT at {number} of writer {entry.writer} has a part of execution {entry.parts_of}"
            )
    if entry.prunes:
        _check_prunes(world, entry, number)
    if not blind and set(entry.live) != set(_truly_live(world)):
        raise Broken(f"I10 {entry.kind} at {number} says {entry.live} is live; {_truly_live(world)} is")
    if entry.kind == CHECKPOINT and rules.prunes == "inside" and not blind:
        _check_kept(rules, world, number)


def _check_parent(rules: Rules, world: World, entry: Entry, earlier: list[Entry]) -> None:
    own = [
        position for position, other in enumerate(earlier) if other.kind == CHECKPOINT and other.writer == entry.writer
    ]
    if own:
        wanted = own[-1]
    elif rules.mishaps or rules.any_restore or rules.origin != "none":
        wanted = world.processes[entry.writer].root
    else:
        fence = max(position for position, other in enumerate(earlier) if other.kind == FENCE)
        wanted = earlier[fence].live[-1] if earlier[fence].live else ZERO
    if entry.parent != wanted:
        raise Broken(f"I5 the CHECKPOINT at {len(earlier)} has the parent {entry.parent}; it should be {wanted}")
    began = lineage(world, len(earlier))[-1]
    if rules.origin != "none" and world.log[began].parent == ZERO:
        raise Broken(f"I17 writer {entry.writer} began from zero, though there is a FROM")
    if (
        rules.damages == "entries"
        and entry.parent == ZERO
        and any(other.kind == CHECKPOINT for other in earlier)
        and not own
    ):
        raise Broken(f"I17 writer {entry.writer} began from zero, though a checkpoint was saved before")


def _check_prunes(world: World, entry: Entry, number: int) -> None:
    checkpoints = [position for position in range(number + 1) if world.log[position].kind == CHECKPOINT]
    if checkpoints and checkpoints[-1] in entry.prunes:
        raise Broken(f"I8 the {entry.kind} at {number} prunes the newest checkpoint")
    pins = frozenset[int]().union(*(other.pinned for other in world.log[:number]))
    if pins & entry.prunes:
        raise Broken(f"I11 the {entry.kind} at {number} prunes {sorted(pins & entry.prunes)}, which is pinned")


def _truly_live(world: World) -> list[int]:
    pruned = frozenset[int]().union(*(entry.prunes for entry in world.log))
    return [number for number, entry in enumerate(world.log) if entry.kind == CHECKPOINT and number not in pruned]


def _check_kept(rules: Rules, world: World, number: int) -> None:
    live = _truly_live(world)
    ancestors = [other for other in lineage(world, number) if other in live]
    by_people = any(entry.kind == PRUNE for entry in world.log)
    if not by_people and len(ancestors) < min(rules.keep, len(lineage(world, number))):
        raise Broken(f"I14 behind {number} only {ancestors} of its lineage is live, though {rules.keep} are to be kept")


def check(rules: Rules, world: World) -> None:
    """This world may be."""
    live = world.log[-1].live if world.log else ()
    gone = frozenset[int]()
    if rules.damages == "entries":  # a lost PRUNE: what it pruned may be named as live by who couldn't read it
        gone = gone.union(*(entry.prunes for entry in world.log))
    deleted = any(process.role == "deleter" for process in world.processes)
    for number in live:
        missing = world.log[number].packs - world.packs
        if missing and number not in gone and not deleted:
            raise Broken(f"I1 the live CHECKPOINT {number} misses {sorted(missing)}")
    if rules.stubs != "no":
        for number in live:
            standing = world.standing(number)
            if standing is not None and standing.stub:
                raise Broken(f"I1 the live CHECKPOINT {number} is a stub")
    if rules.keep_base:
        _check_base(world, live)
    for index, process in enumerate(world.processes):
        _check_told(world, index, process.confirmed, process.failed)


def _check_base(world: World, live: tuple[int, ...]) -> None:
    holder = next((entry.writer for entry in reversed(world.log) if entry.kind == FENCE), None)
    if holder is not None and holder < len(world.processes):
        root = world.processes[holder].root
        if root >= 0 and root not in live and not any(entry.kind == COMPLETE for entry in world.log):
            raise Broken(f"I18 what the running attempt of writer {holder} resumed from ({root}) is pruned")


def _check_told(
    world: World, index: int, confirmed: frozenset[tuple[int, int]], failed: frozenset[tuple[int, int]]
) -> None:
    for append, step in confirmed:
        if not any(entry.writer == index and entry.append == append and entry.step == step for entry in world.log):
            raise Broken(f"I4 writer {index} was told that step {step} is saved; the log doesn't hold it")
    for append, step in failed:
        if any(entry.writer == index and entry.append == append for entry in world.log):
            raise Broken(f"I4b writer {index} was told that step {step} isn't saved; it stands in the log")


def check_fenced(world: World, index: int, standing: Entry) -> None:
    """This writer may stop for ever because of what stands at its number."""
    overtaken = any(entry.kind == FENCE and entry.writer != index for entry in world.log)
    if not overtaken and standing.kind not in (COMPLETE, UNREADABLE):
        raise Broken(f"I20 writer {index} is fenced by a {standing.kind}, though nobody has taken the store over")


def check_pruned_by_hand(world: World, live: tuple[int, ...], gone: frozenset[int]) -> None:
    """The CLI may prune this."""
    whole = {number for number in live if world.whole(number)}
    if whole and whole <= gone:
        raise Broken(f"I19 the CLI prunes {sorted(gone)}, and nothing whole is left")


def check_fallback(world: World, index: int, tip: int, number: int | None) -> None:
    """A restore that began at `tip` may end with this checkpoint, or without any."""
    if tip < 0:
        return
    chain = lineage(world, tip)
    if number is not None and number not in chain:
        raise Broken(f"I13 writer {index} falls back from {tip} to {number}, which is no ancestor of it")
    live = _truly_live(world)
    passed = chain if number is None else chain[: chain.index(number)]
    for other in passed:
        entry = world.log[other]
        sound = entry.packs <= world.packs and not (entry.packs & world.scarred)
        if sound and other in live and not world.changed_to_unreadable(other):
            raise Broken(f"I15 writer {index} falls back from {tip} past {other}, which is whole")
