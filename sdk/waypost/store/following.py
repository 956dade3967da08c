"""The log as a rank above 0 sees it: it appends nothing, and reads on until what rank 0 appends for it stands.

By number and by GET, like any reading that has to be right: the next entry is rank 0's CHECKPOINT, or a FENCE that
ends this rank as it ends rank 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from waypost.errors import FencedError, StorageError
from waypost.store.calls import Calls
from waypost.store.damage import UnreadableEntryError
from waypost.store.entries import Checkpoint, Complete, Entry, Pin, Prune, Unpin
from waypost.store.log import Log, Stamp
from waypost.store.state import State

E = TypeVar("E", bound=Entry)


class FollowedLog(Log):
    """The log of a fence that this process's rank 0 holds."""

    def append(self, build: Callable[[State, Stamp], E]) -> E:
        """Nothing is appended by a rank above 0."""
        raise AssertionError("only rank 0 appends to the log")

    def follow(self, waiting: Calls, doing: str, wanted: Callable[[Entry], E | None]) -> E:
        """Read on until `wanted` finds its entry; `doing` is a verb phrase for the message.

        Raises StorageError of unknown outcome when the budget of `waiting` ends; FencedError, CompletedError and
        StoreDeletedError for ever after; whatever `wanted` raises.
        """
        with self._lock:
            self.require_open()
            patience = waiting.patience()
            while True:
                entry = self._next(waiting)
                if entry is not None:
                    if (found := wanted(entry)) is not None:
                        return found
                    self.require_open()
                elif not patience.pause():
                    raise StorageError(
                        doing,
                        waiting.backend.uri,
                        f"rank 0 has appended nothing ({patience.spent}), so whether it will is unknown",
                        advice="Look at rank 0's own messages; the next attempt restores whatever stands",
                        outcome="unknown",
                    )

    def _next(self, waiting: Calls) -> Entry | None:
        """The next entry, adopted; None as long as there is none."""
        sequence = self.state.last_seen + 1
        try:
            entry = self.journal.through(waiting).read(sequence)
        except UnreadableEntryError as error:
            raise self._end(FencedError(f"{self._who} can't go on: {error}, so it may be another's FENCE")) from error
        if entry is None:
            return None
        own = isinstance(entry, (Checkpoint, Complete)) and entry.fence == self.fence
        if not own and not isinstance(entry, (Prune, Pin, Unpin)):
            raise self._end(self._verdict(entry))
        self._adopt(entry)
        return entry
