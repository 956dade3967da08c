"""A person beside the running task: prunes and pins by hand, as anybody may who has read the log to its end (rule 6).

Appends by the store's own journal, without a fence. A PRUNE spares the newest, what is pinned, and what the running
attempt resumed from, which is the parent of its first checkpoint; while it has none, nothing is pruned.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from tests.simulator.actors import Actor
from tests.simulator.place import Door
from tests.simulator.process import Clock, Town
from waypost.errors import WaypostError
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.conditional import ConditionalJournal
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint, Entry, ManifestObject, Pin, Prune, Unpin
from waypost.store.journal import Journal
from waypost.store.manifest import INLINE
from waypost.store.packs import read_manifest
from waypost.store.sequences import NOTHING, Sequences
from waypost.store.state import State

_DEEDS: Final = ("pin", "prune", "unpin", "prune")


@dataclasses.dataclass(frozen=True)
class Tending:
    """Pins, prunes and unpins, again and again."""

    times: int = 4

    def live(self, town: Town, actor: Actor) -> None:
        clock = Clock(actor, actor.first_name)
        journal = ConditionalJournal(Calls(Door(town.place, actor), clock.seams(), town.budget))
        for number in range(self.times):
            try:
                self._act(town, journal, _DEEDS[number % len(_DEEDS)])
            except (WaypostError, DamagedError):
                town.judge.met["given up by hand"] += 1

    def _act(self, town: Town, journal: Journal, deed: str) -> None:
        state = journal.look_again()
        entry = _decide(journal, state, deed)
        if entry is None:
            return
        if journal.put(entry).nonce != entry.nonce:
            return  # somebody else was faster
        town.judge.met[f"{deed} by hand"] += 1
        if isinstance(entry, Prune):
            _delete(journal, entry.prunes, state.live.without(entry.prunes))


def _decide(journal: Journal, state: State, deed: str) -> Entry | None:
    stamp: dict[str, Any] = {
        "sequence": journal.free_number(state),
        "attempt": 0,
        "fence": 0,
        "nonce": journal.calls.seams.nonce(),
        "time": journal.calls.seams.now(),
    }
    if deed == "prune":
        gone = Sequences.of(set(state.live) - _spared(journal, state))
        left = state.live.without(gone)
        return Prune(**stamp, live=left, pinned=state.pinned, prunes=gone) if gone else None
    if deed == "pin" and state.live.newest is not None and not state.pinned:
        target = state.live.newest
        return Pin(**stamp, live=state.live, pinned=Sequences.of([target]), target=target)
    if deed == "unpin" and state.pinned:
        target = max(state.pinned)
        return Unpin(**stamp, live=state.live, pinned=NOTHING, target=target)
    return None


def _spared(journal: Journal, state: State) -> set[int]:
    """What a PRUNE behind `state` may not name; everything, while the running attempt's base can't be known."""
    for sequence in range(state.fence + 1, state.last_seen + 1):
        entry = journal.read(sequence)
        if isinstance(entry, Checkpoint) and entry.fence == state.fence:
            base = entry.parent if isinstance(entry.parent, int) else 0
            return {state.live.newest or 0, base, *state.pinned}
    return {state.live.newest or 0, *state.pinned} if state.completed else set(state.live)


def _delete(journal: Journal, gone: Sequences, left: Sequences) -> None:
    """The objects of what was pruned, but not those that a live checkpoint names too."""
    for key in sorted(_named(journal, gone) - _named(journal, left)):
        journal.calls.delete("delete", key)


def _named(journal: Journal, sequences: Sequences) -> set[str]:
    found = set()
    for sequence in sequences:
        entry = journal.read(sequence)
        assert isinstance(entry, Checkpoint)
        if isinstance(entry.manifest, ManifestObject):
            found.add(keys.MANIFESTS + entry.manifest.name)
        found |= {keys.PACKS + pack.name for pack in read_manifest(journal.calls, entry).packs if pack.name != INLINE}
    return found
