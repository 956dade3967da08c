"""Is everything there that should be? Every number of the log, every live checkpoint byte for byte.

Nothing is repaired: what is missing can't be made again. But something that deletes from the store (an expiry rule, a
clean-up by hand) is best noticed before a restore needs what it took. One entry is in memory at a time, and of packs
what a restore holds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from waypost.errors import CheckpointPrunedError, CorruptCheckpointError
from waypost.store.conditional import ConditionalJournal
from waypost.store.damage import UnreadableEntryError
from waypost.store.entries import Checkpoint
from waypost.store.fetching import read_pieces
from waypost.store.journal import Journal
from waypost.store.manifest import Manifest
from waypost.store.reading import Reading

MOST_PROBLEMS: Final = 100
"""Problems told; whoever has more has one problem."""

_DELETED_BY: Final = (
    "something deletes from the store (an expiry rule, a clean-up by hand): stop it, saved progress isn't safe there"
)
_ENTRY_LOST: Final = "restores go on without it; keep backups away from log/, and look for what overwrote it"
_DAMAGED: Final = "a restore falls back to its parent; `waypost checkpoints prune` frees what can't be restored"


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something that isn't as it should be."""

    sequence: int
    """The log entry, or checkpoint, that it is about."""
    what: str
    advice: str


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a verification has looked at and found."""

    entries: int
    """Log entries read."""
    checkpoints: tuple[int, ...]
    """Checkpoints found whole, newest first."""
    problems: tuple[Problem, ...]
    """At most 100 of them."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(journal: Journal, checkpoint: int | None = None) -> Verification:
    """Read the whole log and every live checkpoint, or only one `checkpoint`, and report what is wrong.

    Raises StorageError, StoreDeletedError, CheckpointPrunedError for a `checkpoint` that isn't live.
    """
    state = Reading(journal).state()
    problems: list[Problem] = []
    entries = 0
    if checkpoint is None and isinstance(journal, ConditionalJournal):  # the other mode's numbers have gaps by design
        entries = state.last_seen
        for problem in _log_problems(journal, state.last_seen):
            problems.append(problem)
            if len(problems) == MOST_PROBLEMS:
                break
    whole = []
    for sequence in state.live if checkpoint is None else [checkpoint]:
        if len(problems) == MOST_PROBLEMS:
            break
        try:
            _read_through(journal, sequence)
        except CheckpointPrunedError:
            if checkpoint is not None:
                raise
        except CorruptCheckpointError as error:
            problems.append(Problem(sequence, str(error), _DAMAGED))
        else:
            whole.append(sequence)
    return Verification(entries, tuple(whole), tuple(problems))


def _log_problems(journal: Journal, last: int) -> Iterator[Problem]:
    for number in range(1, last + 1):
        try:
            entry = journal.read(number)
        except UnreadableEntryError as error:
            yield Problem(number, str(error), _ENTRY_LOST)
            continue
        if entry is None:
            yield Problem(number, f"log entry {number} is missing, though newer ones stand", _DELETED_BY)


def _read_through(journal: Journal, sequence: int) -> None:
    def take(entry: Checkpoint, manifest: Manifest) -> None:
        read_pieces(journal.calls, entry, manifest, lambda piece: None)

    Reading(journal).deliver(take, sequence, strict=True)
