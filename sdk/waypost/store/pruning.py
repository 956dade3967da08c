"""Pruning by a person, beside a task that may be running: `waypost checkpoints prune`.

It knows less than the running attempt, so it is more careful. It prunes nothing before it has read the newest
checkpoint whole, for the newest may be damaged and the one before it in use (H17). What the running attempt resumed
from it learns from the log: the parent of the first checkpoint under the newest FENCE. While there is none yet, it
can't know, and prunes nothing (found by the model: a restore may take any live checkpoint).

It deletes what its own PRUNE names and nothing else: orphans are the holder's affair.
"""

from __future__ import annotations

import dataclasses

from waypost.errors import ConfigurationError, StorageError
from waypost.store.damage import UnreadableEntryError
from waypost.store.entries import Checkpoint, Complete, Entry, Fence, Prune
from waypost.store.fetching import read_pieces
from waypost.store.history import History, fact_of
from waypost.store.journal import Journal
from waypost.store.log import Stamp
from waypost.store.manifest import Manifest
from waypost.store.reading import Reading
from waypost.store.retention import Retention, to_prune
from waypost.store.sequences import NOTHING, Sequences
from waypost.store.state import State
from waypost.store.tidying import remove
from waypost.store.unfenced import append_unfenced, common


@dataclasses.dataclass(frozen=True)
class Pruned:
    """What a prune did, or would do."""

    sequences: tuple[int, ...]
    """The checkpoints that aren't live any more, oldest first."""
    kept: tuple[int, ...]
    """Those that still are."""
    deleted: bool
    """Whether their data are gone; False after a dry run, and where a live checkpoint can't be read."""


def prune(journal: Journal, retention: Retention, *, dry_run: bool = False) -> Pruned:
    """Prune what `retention` doesn't keep, and delete its data.

    Raises ConfigurationError while the newest attempt has not saved yet, CorruptCheckpointError when no checkpoint is
    whole, StorageError, StoreDeletedError.
    """
    state = Reading(journal).state()
    if not state.live:
        return Pruned((), (), deleted=True)
    whole = _newest_whole(journal)
    history = History(journal)
    planned = _Plan(journal, retention, history, whole)
    if dry_run:
        gone = planned.superfluous(journal.look_again())
        return Pruned(tuple(sorted(gone)), tuple(sorted(history.live.without(gone))), deleted=False)

    def build(state: State, stamp: Stamp) -> Prune | None:
        gone = planned.superfluous(state)
        if not gone:
            return None
        return Prune(**common(stamp), live=state.live.without(gone), pinned=state.pinned, prunes=gone)

    entry = append_unfenced(journal, build)
    if entry is None:
        return Pruned((), tuple(sorted(history.live)), deleted=True)
    history.follow(entry.live)
    spared = history.spared()
    if spared is not None:
        for sequence in entry.prunes:
            for _ in remove(journal, sequence, spared):
                pass
    return Pruned(tuple(sorted(entry.prunes)), tuple(sorted(entry.live)), deleted=spared is not None)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What is to be pruned, for whatever the log has become meanwhile."""

    journal: Journal
    retention: Retention
    history: History
    whole: Checkpoint

    def superfluous(self, state: State) -> Sequences:
        self.history.follow(state.live)
        while not self.history.complete:
            self.history.read_next()
        newest = state.live.newest
        if newest is None or self.whole.sequence not in state.live:
            return NOTHING  # somebody else has pruned what we read: nothing that we know is whole
        protected = {newest, *running_base(self.journal, state)}
        older = state.live.without(Sequences(((self.whole.sequence, newest),)))
        gone = to_prune(
            self.retention,
            fact_of(self.whole),
            older,
            self.history.facts,
            unreadable=self.history.unreadable,
            pinned=state.pinned,
            protected=protected,
            most=None,
        )
        lost = [n for n in self.history.unreadable if n in older and n not in state.pinned and n not in protected]
        return Sequences.of([*gone, *lost])


def running_base(journal: Journal, state: State) -> frozenset[int]:
    """What the newest attempt has resumed from; empty after COMPLETE. Raises ConfigurationError if that is unknown."""
    newest = _newest_writer(journal, state)
    if isinstance(newest, Complete):
        return frozenset()
    uri = journal.calls.backend.uri
    if isinstance(newest, Fence):
        raise ConfigurationError(
            f"can't prune {uri} now: attempt {newest.attempt} (log entry {newest.sequence}) has started and not saved "
            "yet, and which checkpoint it resumed from is known only then; try again after its first save"
        )
    for number in range(newest.fence + 1, newest.sequence + 1):
        first = _read(journal, number)
        if isinstance(first, Checkpoint):
            return frozenset({first.parent}) if isinstance(first.parent, int) else frozenset()
    raise StorageError("read the log of", uri, f"the first checkpoint behind entry {newest.fence} is missing")


def _newest_writer(journal: Journal, state: State) -> Fence | Checkpoint | Complete:
    for number in range(state.last_seen, 0, -1):
        entry = _read(journal, number)
        if isinstance(entry, (Fence, Checkpoint, Complete)):
            return entry
    raise StorageError("read the log of", journal.calls.backend.uri, "no writer's entry is left in it")


def _read(journal: Journal, number: int) -> Entry | None:
    try:
        return journal.read(number)
    except UnreadableEntryError as error:
        raise ConfigurationError(
            f"can't prune {journal.calls.backend.uri}: {error}, so it may be the start of an attempt, and what that "
            "one resumed from is unknown. Try again when a later attempt has saved"
        ) from error


def _newest_whole(journal: Journal) -> Checkpoint:
    """The checkpoint that a restore would give, read from its first byte to its last."""

    def take(entry: Checkpoint, manifest: Manifest) -> None:
        read_pieces(journal.calls, entry, manifest, lambda piece: None)

    delivered = Reading(journal).deliver(take)
    if delivered is None:
        raise ConfigurationError(f"{journal.calls.backend.uri} holds no checkpoint any more")
    return delivered[0]
