"""What a process knows of the log: pure, immutable, one step per entry.

A state is what follows from every entry up to `last_seen`. Because each entry carries the live set right behind it,
one readable entry is enough to begin with.
"""

from __future__ import annotations

import dataclasses

from waypost.store.entries import DELETED_ATTEMPT, Base, Checkpoint, Complete, Entry, Fence
from waypost.store.sequences import NOTHING, Sequences


@dataclasses.dataclass(frozen=True)
class State:
    """The log up to `last_seen`, as far as it decides anything."""

    last_seen: int = 0
    live: Sequences = NOTHING
    pinned: Sequences = NOTHING
    highest_attempt: int = 0
    """Of any writer; fences never fall, so it is the newest writer's."""
    fence: int = 0
    """Sequence of the newest FENCE."""
    completed: bool = False
    deleted: bool = False

    def after(self, entry: Entry) -> State:
        """The state behind this entry. It need not be the next one: an entry says what is live by itself."""
        state = dataclasses.replace(self, last_seen=entry.sequence, live=entry.live, pinned=entry.pinned)
        if not isinstance(entry, (Fence, Base, Checkpoint, Complete)):
            return state  # PRUNE, PIN, UNPIN: by anybody, so they say nothing about writers (rule 6)
        if entry.attempt == DELETED_ATTEMPT:
            return dataclasses.replace(state, deleted=True)
        return dataclasses.replace(
            state,
            highest_attempt=max(self.highest_attempt, entry.attempt),
            fence=max(self.fence, entry.fence),
            completed=self.completed or isinstance(entry, Complete),
        )

    def after_unreadable(self, sequence: int) -> State:
        """The state behind an entry that can't be read: whatever it was, its number is taken."""
        return dataclasses.replace(self, last_seen=sequence)
