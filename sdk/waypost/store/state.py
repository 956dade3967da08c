"""What a process knows of the log: pure, immutable, one step per entry.

A state is what follows from every entry up to `last_seen`. Because each entry carries the live set right behind it,
one readable entry is enough to begin with.
"""

from __future__ import annotations

import dataclasses

from waypost.errors import CorruptCheckpointError
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
    doubtful: bool = False
    """The newest entries can't be read: they may have recorded more than is known here."""

    def after(self, entry: Entry) -> State:
        """The state behind this entry. It need not be the next one: an entry says what is live by itself."""
        state = dataclasses.replace(
            self, last_seen=entry.sequence, live=entry.live, pinned=entry.pinned, doubtful=False
        )
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
        return dataclasses.replace(self, last_seen=sequence, doubtful=True)

    def require_certain(self, uri: str) -> None:
        """Raise CorruptCheckpointError where nothing seems to be saved, and what can't be read may say otherwise."""
        if self.doubtful and not self.live:
            raise CorruptCheckpointError(
                f"whether {uri} holds a checkpoint can't be told: its newest log entries, up to {self.last_seen}, "
                "can't be read, and none before them knows of one. Beginning from nothing might lose what was saved: "
                "repair the entries from a backup or a version of the bucket, or start anew with another URI"
            )
