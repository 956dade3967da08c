"""The store's side of a request: atomic, in whatever order requests arrive."""

from __future__ import annotations

from tests.model import invariants
from tests.model.rules import Rules
from tests.model.world import DELETED, FENCE, Broken, Entry, Pack, Request, World


def put_new(rules: Rules, world: World, number: int, entry: Entry, *, late: bool = False) -> tuple[World, bool]:
    """Put an entry unless one stands at its number: the world then, and whether it was put."""
    if number > len(world.log):
        raise Broken(f"I7 a gap: {entry.kind} put at {number}, the log ends at {len(world.log) - 1}")
    if number < len(world.log):
        if world.standing(number) is not None:
            return world, False
        # The key was deleted, so the store takes it for new. Not every draft notices at once.
        if any(other.attempt == DELETED for other in world.log) or (
            rules.trim == "careful" and (late or entry.kind == FENCE)
        ):
            return world.change(number, entry), True
        raise Broken(f"I2 {entry.kind} of writer {entry.writer} put at {number}, which was taken and deleted")
    world = world._replace(log=(*world.log, entry))
    invariants.check_append(rules, world)
    return world, True


def delete(world: World, target: Pack | int) -> World:
    """Delete a pack, or a log entry."""
    if isinstance(target, Pack):
        return world._replace(packs=world.packs - {target})
    return world.change(target, None)


def overwrite_by_stub(world: World, number: int) -> World:
    """Put a stub where the entry stands, whatever stands there."""
    return world.change(number, world.log[number]._replace(packs=frozenset(), stub=True))


def carry_out(rules: Rules, world: World, index: int) -> World:
    """The server carries out a request that hung in the network."""
    request: Request = world.flying[index]
    world = world._replace(flying=world.flying[:index] + world.flying[index + 1 :])
    if request.doing == "put":
        assert request.entry is not None
        return put_new(rules, world, request.number, request.entry, late=True)[0]
    if request.doing == "stub":
        return overwrite_by_stub(world, request.number)
    if request.doing == "part":
        assert request.part is not None
        return world.publish(request.part)
    return delete(world, request.number if request.pack is None else request.pack)
