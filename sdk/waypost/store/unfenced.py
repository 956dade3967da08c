"""Appending without a fence: what a person may add to the log of a running task, PRUNE, PIN and UNPIN.

Whoever has read the log up to its end may append one at the next number. The running attempt steps over it, and what it
says holds from there on. Such an entry carries attempt 0 and fence 0: it says nothing about writers (rule 6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from waypost.errors import CheckpointPrunedError, StorageError, StoreDeletedError
from waypost.store.damage import UnreadableEntryError
from waypost.store.entries import Pin, Prune, Unpin
from waypost.store.journal import Journal, lament
from waypost.store.log import Stamp
from waypost.store.sequences import Sequences
from waypost.store.state import State

U = TypeVar("U", Prune, Pin, Unpin)

TRIES: Final = 1000
"""Numbers tried before giving up: a task that saves this often leaves no gap for anybody."""


def append_unfenced(journal: Journal, build: Callable[[State, Stamp], U | None]) -> U | None:
    """Append what `build` makes for the end of the log; it is asked again for each number tried, None means: no need.

    Raises StoreDeletedError, StorageError with its outcome, ConfigurationError where the store's mode has no place for
    such entries, and whatever `build` raises.
    """
    uri, state, nonce = journal.calls.backend.uri, journal.look_again(), journal.calls.seams.nonce()
    for _ in range(TRIES):
        if state.deleted:
            raise StoreDeletedError(f"the store {uri} was deleted")
        entry = build(state, Stamp(state.last_seen + 1, 0, 0, nonce, journal.calls.seams.now()))
        if entry is None:
            return None
        try:
            standing = journal.put(entry)
        except UnreadableEntryError as error:
            lament(error)
            state = state.after_unreadable(entry.sequence)
            continue
        if standing.nonce == nonce:
            return entry
        state = state.after(standing)
    raise StorageError("append to the log of", uri, f"others took {TRIES} numbers in a row", advice="Try again")


def pin(journal: Journal, sequence: int) -> None:
    """Never prune this checkpoint. Raises CheckpointPrunedError when it isn't live, and as `append_unfenced`."""

    def build(state: State, stamp: Stamp) -> Pin | None:
        if sequence not in state.live:
            raise CheckpointPrunedError(
                f"checkpoint {sequence} of {journal.calls.backend.uri} can't be pinned: it was pruned, or never existed"
            )
        if sequence in state.pinned:
            return None
        pinned = Sequences.of([*state.pinned, sequence])
        return Pin(**common(stamp), live=state.live, pinned=pinned, target=sequence)

    append_unfenced(journal, build)


def unpin(journal: Journal, sequence: int) -> None:
    """Let this checkpoint be pruned again. Raises as `append_unfenced`; one that isn't pinned is no error."""

    def build(state: State, stamp: Stamp) -> Unpin | None:
        if sequence not in state.pinned:
            return None
        pinned = state.pinned.without(Sequences.of([sequence]))
        return Unpin(**common(stamp), live=state.live, pinned=pinned, target=sequence)

    append_unfenced(journal, build)


def common(stamp: Stamp) -> dict[str, Any]:
    """What an entry owes to its stamp."""
    return {
        "sequence": stamp.sequence,
        "attempt": stamp.attempt,
        "fence": stamp.fence,
        "nonce": stamp.nonce,
        "time": stamp.time,
    }
