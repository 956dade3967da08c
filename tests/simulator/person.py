"""A person beside the running task: prunes, pins and unpins by hand, by the very code of `waypost checkpoints`.

What that code can't be sure of it refuses (the newest attempt has not saved yet; nothing is whole): a person would try
again later, and so does this one, with the next deed.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from tests.simulator.actors import Actor
from tests.simulator.place import Door
from tests.simulator.town import Clock, Town
from waypost.errors import WaypostError
from waypost.store import unfenced
from waypost.store.calls import Calls
from waypost.store.conditional import ConditionalJournal
from waypost.store.journal import Journal
from waypost.store.pruning import prune
from waypost.store.retention import Retention

_DEEDS: Final = ("pin", "prune", "unpin", "prune")
_NEWEST_ONLY: Final = Retention(keep_last=1)


@dataclasses.dataclass(frozen=True)
class Tending:
    """Pins, prunes and unpins, again and again."""

    times: int = 4

    def live(self, town: Town, actor: Actor) -> None:
        clock = Clock(actor, actor.first_name)
        journal = ConditionalJournal(Calls(Door(town.place, actor), clock.seams(), town.budget))
        for number in range(self.times):
            deed = _DEEDS[number % len(_DEEDS)]
            try:
                done = _act(journal, deed)
            except WaypostError:
                town.judge.met["given up by hand"] += 1
            else:
                town.judge.met[f"{deed} by hand"] += done


def _act(journal: Journal, deed: str) -> bool:
    """Whether there was anything to do."""
    if deed == "prune":
        return bool(prune(journal, _NEWEST_ONLY).sequences)
    state = journal.look_again()
    if deed == "pin" and state.live.newest is not None and not state.pinned:
        unfenced.pin(journal, state.live.newest)
        return True
    if deed == "unpin" and state.pinned:
        unfenced.unpin(journal, max(state.pinned))
        return True
    return False
