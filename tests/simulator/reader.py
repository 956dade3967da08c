"""A process that only reads, without a fence."""

from __future__ import annotations

import dataclasses
import functools

from tests.simulator.actors import Actor
from tests.simulator.place import Door
from tests.simulator.town import Clock, Town, restored
from waypost.errors import CorruptCheckpointError, StorageError
from waypost.store.calls import Calls
from waypost.store.format import journal_of
from waypost.store.reading import Reading


@dataclasses.dataclass(frozen=True)
class Watching:
    """A process that only reads, again and again."""

    times: int = 3

    def live(self, town: Town, actor: Actor) -> None:
        door = Door(town.place, actor)
        calls = Calls(door, Clock(actor, actor.name).seams(), town.budget)
        for _ in range(self.times):
            door.shown = -1
            try:
                found = Reading(journal_of(town.mode, calls)).deliver(functools.partial(restored, calls))
            except StorageError:
                town.judge.met["storage errors"] += 1
                continue
            except CorruptCheckpointError as error:
                town.judge.was_told_of_damage("R", str(error))
                return
            floor = town.judge.newest_at[max(door.shown, 0)]
            if found is None:
                town.judge.read(floor, 0, None)
            else:
                town.judge.read(floor, found[0].sequence, found[1])
