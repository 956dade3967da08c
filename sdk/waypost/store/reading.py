"""Choosing a checkpoint and reading it: the newest that is whole, by the lineage, and never by a guess.

When an object is missing or wrong, that alone says little: the log is read again first. A foreign FENCE means that
this process is a zombie; a PRUNE meanwhile means that the choice is out of date; only otherwise is the checkpoint
damaged, and the restore goes on with its parent, loudly. Along the parents, because the log may hold branches that
an earlier fall-back left aside (rules 7 and 8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from waypost.errors import (
    CheckpointPrunedError,
    CorruptCheckpointError,
    StoreDeletedError,
)
from waypost.log import logger
from waypost.store.damage import DamagedError, MissingEntryError
from waypost.store.entries import Checkpoint, Origin
from waypost.store.fetching import read_manifest
from waypost.store.journal import Journal
from waypost.store.log import Log
from waypost.store.manifest import Manifest
from waypost.store.state import State

T = TypeVar("T")

_MOST_MISSING: Final = 100
"""In a row: a few bytes may claim that 2^62 checkpoints are live, and looking for them all would never end."""


class Reading:
    """The checkpoints of one store, read by the holder of a fence or by anybody."""

    def __init__(self, journal: Journal, log: Log | None = None, known: State | None = None) -> None:
        """`known`: how a reader has found the log before; it goes on from there."""
        self._journal, self._calls, self._log, self._known = journal, journal.calls, log, known

    def state(self) -> State:
        """What is known of the log: by a writer, or from before, else a fresh look. Raises StoreDeletedError."""
        known = self._known if self._log is None else self._log.state
        return self._undeleted(self._journal.survey() if known is None else known)

    def entry(self, sequence: int) -> Checkpoint:
        """The CHECKPOINT at this number, whether live or a stub; raises DamagedError when there is none."""
        entry = self._journal.read(sequence)
        if entry is None:
            raise MissingEntryError(f"log entry {sequence} is missing")
        if not isinstance(entry, Checkpoint):
            raise DamagedError(f"log entry {sequence} is a {entry.type}")
        return entry

    def newest(self, state: State, sequence: int | None = None) -> Checkpoint | None:
        """The newest live checkpoint (or the one named, or its nearest ancestor) whose entry can be read."""
        sequence = state.live.newest if sequence is None else sequence
        missing = 0
        while sequence is not None:
            try:
                return self.entry(sequence)
            except DamagedError as damage:
                logger.error("checkpoint %d of %s: %s", sequence, self._calls.backend.uri, damage)
                missing = self._count_missing(missing, damage)
                sequence = self._ancestor(sequence, state)
        if state.live:
            raise CorruptCheckpointError(f"no checkpoint of {self._calls.backend.uri} has an entry that can be read")
        state.require_certain(self._calls.backend.uri)
        return None

    def all(self, state: State) -> list[Checkpoint]:
        """Every live checkpoint whose entry can be read, newest first."""
        found = []
        missing = 0
        for sequence in state.live:
            try:
                found.append(self.entry(sequence))
                missing = 0
            except DamagedError as damage:
                logger.error("checkpoint %d of %s: %s", sequence, self._calls.backend.uri, damage)
                missing = self._count_missing(missing, damage)
        return found

    def deliver(
        self, take: Callable[[Checkpoint, Manifest], T], first: int | None = None, *, strict: bool = False
    ) -> tuple[Checkpoint, T] | None:
        """Give a whole checkpoint to `take`, which reads it and raises DamagedError if it can't.

        The newest live one, or `first`; in its place, if it is damaged, the nearest whole ancestor unless `strict`.
        None when nothing is saved. Raises CorruptCheckpointError when none is left, CheckpointPrunedError for a
        `strict` one that isn't live, FencedError when damage turns out to be a newer attempt's doing, StorageError.
        """
        state = self.state()
        if first is not None and first not in state.live:
            if strict:
                raise self._pruned(first)
            first = None
        sequence = state.live.newest if first is None else first
        damaged: dict[int, DamagedError] = {}
        missing = 0
        while sequence is not None:
            try:
                entry = self.entry(sequence)
                return entry, take(entry, read_manifest(self._calls, entry))
            except DamagedError as damage:
                state = self._look_again()
                if sequence not in state.live:
                    if strict:
                        raise self._pruned(sequence) from damage
                    sequence = state.live.newest
                elif sequence not in damaged:
                    damaged[sequence] = damage  # once more: what was wrong may have been the transfer
                elif strict:
                    raise CorruptCheckpointError(f"{self._label(sequence)} is damaged: {damage}") from damage
                else:
                    logger.error("%s is damaged: %s. Falling back to its parent", self._label(sequence), damage)
                    missing = self._count_missing(missing, damage)
                    sequence = self._ancestor(sequence, state)
        if not damaged:
            state.require_certain(self._calls.backend.uri)
            return None
        raise CorruptCheckpointError(
            f"no checkpoint of {self._calls.backend.uri} is left that is whole: "
            + "; ".join(f"{number}: {damage}" for number, damage in damaged.items())
        )

    def _count_missing(self, missing: int, damage: DamagedError) -> int:
        """How many in a row are missing now. Raises CorruptCheckpointError when that makes no sense any more."""
        if not isinstance(damage, MissingEntryError):
            return 0
        if missing + 1 > _MOST_MISSING:
            raise CorruptCheckpointError(
                f"the log of {self._calls.backend.uri} speaks of checkpoints that don't exist: {missing + 1} in a row "
                "are missing. Something deletes from the store (an expiry rule, a clean-up by hand), or made this up"
            )
        return missing + 1

    def _ancestor(self, sequence: int, state: State) -> int | None:
        """The nearest live ancestor. Where the lineage can't be read, the next older live checkpoint."""
        while True:
            try:
                parent: int | Origin | None = self.entry(sequence).parent
            except DamagedError:
                parent = state.live.below(sequence)
            if isinstance(parent, Origin):
                return None  # damage never leads into another store: that would be a step back to the beginning
            if parent is None or parent in state.live:
                return parent
            sequence = parent

    def _look_again(self) -> State:
        """The log as it is now; raises FencedError if this process doesn't hold it any more."""
        if self._log is None:
            return self._undeleted(self._journal.look_again())
        return self._journal.still_held(self._log.state)

    def _undeleted(self, state: State) -> State:
        if state.deleted:
            raise StoreDeletedError(f"the store {self._calls.backend.uri} was deleted")
        return state

    def _pruned(self, sequence: int) -> CheckpointPrunedError:
        return CheckpointPrunedError(f"{self._label(sequence)} isn't live: it was pruned, or never existed")

    def _label(self, sequence: int) -> str:
        return f"checkpoint {sequence} of {self._calls.backend.uri}"
