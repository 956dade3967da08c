"""What a writer or the CLI prunes: pure functions of what is known of the log (rules 6, 8 and 16)."""

from __future__ import annotations

from tests.model.rules import Rules
from tests.model.world import CHECKPOINT, FENCE, NOBODY, UNREADABLE, UNSETTLED, Known, Pack, World


def outdated(
    rules: Rules, world: World, known: Known, keep: int, base: int, upcoming: int | None = None
) -> frozenset[int]:
    """What need not live behind `known`; `upcoming` is the parent of a checkpoint about to stand there."""
    spared = set(known.pinned)
    if rules.keep_base:
        spared.add(base)
    if upcoming is not None:
        keep -= 1
    return frozenset(known.live) - spared - _newest(rules, world, known, keep, upcoming)


def _newest(rules: Rules, world: World, known: Known, keep: int, upcoming: int | None) -> frozenset[int]:
    if keep == 0:
        return frozenset()
    if rules.retention == "number":
        return frozenset(known.live[-keep:])
    number = known.newest if upcoming is None else upcoming
    kept: set[int] = set()
    while number >= 0 and len(kept) < keep:
        if number in known.live:
            kept.add(number)
        number = world.log[number].parent
    return frozenset(kept)


def condemned(world: World, pruned: frozenset[int], known: Known) -> tuple[Pack | int, ...]:
    """The packs that pruned checkpoints name and no live one does."""
    return tuple(sorted(world.named_by(tuple(pruned)) - world.named_by(known.live)))


def base_of_the_running(rules: Rules, world: World, known: Known) -> int | None:
    """What the newest fence's attempt resumed from, as the log tells; None while it may have been anything."""
    if known.fence == NOBODY or known.completed or rules.cli_base == "unknown":
        return UNSETTLED
    base = None
    for number in range(known.seen, -1, -1):
        entry = world.standing(number)
        if entry is None or entry.kind == UNREADABLE:  # this may have been the FENCE, or its first CHECKPOINT
            return None
        if entry.kind == CHECKPOINT and entry.writer == known.fence:
            base = entry.parent
        elif entry.kind == FENCE:
            break
    return UNSETTLED if base is None and rules.cli_base == "committed" else base


def collected(rules: Rules, world: World, index: int, known: Known) -> tuple[Pack | int, ...]:
    """The packs that nobody needs: named by no live checkpoint, under a fence lower than the collector's.

    Writers of lower fences can never commit again, and nobody may name a pack again that isn't live: so this takes
    what was never named, and what a killed pruner left, whether or not the collector still holds the store.
    """
    loose = world.packs - world.named_by(known.live)
    if rules.collect == "everything":
        return tuple(sorted(loose))
    lower = {entry.writer for entry in world.log[: known.seen] if entry.kind == FENCE and entry.writer != index}
    return tuple(sorted(pack for pack in loose if pack.fence in lower))
