"""What nobody does and yet happens: data damaged or unreadable for a while, FROM's owner at work."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.model.appending import Step
from tests.model.rules import Rules
from tests.model.world import CHECKPOINT, LOST, Origin, World


def steps(rules: Rules, world: World) -> Iterator[Step]:
    """Everything that may happen now."""
    if world.mishaps and rules.damages == "packs":
        for pack in sorted(world.named_by(_checkpoints(world)) & world.packs - world.scarred):
            yield (
                f"{pack.content} of {pack.fence} breaks",
                partial(
                    world._replace,
                    broken=world.broken | {pack},
                    scarred=world.scarred | {pack},
                    mishaps=world.mishaps - 1,
                ),
            )
    elif world.mishaps:
        for number in range(len(world.log)):
            if not world.changed_to_unreadable(number):
                yield f"entry {number} breaks", partial(_breaks_entry, world, number)
    if rules.heals:
        for pack in sorted(world.broken):
            yield (
                f"{pack.content} of {pack.fence} can be read again",
                partial(world._replace, broken=world.broken - {pack}),
            )
    if world.origin is not None and world.origin.events:
        yield from _origin(world, world.origin)


def _checkpoints(world: World) -> tuple[int, ...]:
    return tuple(number for number, entry in enumerate(world.log) if entry.kind == CHECKPOINT)


def _breaks_entry(world: World, number: int) -> World:
    return world._replace(mishaps=world.mishaps - 1).change(number, LOST)


def _origin(world: World, origin: Origin) -> Iterator[Step]:
    left = origin._replace(events=origin.events - 1)
    yield "FROM's owner saves and prunes", partial(world._replace, origin=left._replace(live=(origin.live[-1] + 1,)))
    yield "FROM fails or comes back", partial(world._replace, origin=left._replace(reachable=not origin.reachable))
