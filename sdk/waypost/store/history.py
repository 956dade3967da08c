"""What a writer knows of the live checkpoints: enough for retention to judge them and for deletion to spare them.

Its own saves it knows; those of earlier attempts are read one by one, in the background, newest first. Until all are
known nothing is deleted, for any of them may name an object (rule 5 lets a checkpoint name an earlier one's packs).
What is kept of each is small, however large the checkpoint: of the names of its objects eight bytes each.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Final

from waypost.log import logger
from waypost.store import keys
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint
from waypost.store.fetching import object_keys
from waypost.store.journal import Journal
from waypost.store.names import Names, Spared
from waypost.store.retention import Fact
from waypost.store.sequences import NOTHING, Sequences

STUB_WORTH: Final = 4 * keys.KIB
"""A pruned entry is overwritten by a stub only if that frees more than this."""


def fact_of(entry: Checkpoint) -> Fact:
    """What retention goes by."""
    parent = entry.parent if isinstance(entry.parent, int) else None
    return Fact(entry.sequence, entry.step, entry.time, entry.metrics, parent)


def stub_of(entry: Checkpoint) -> Checkpoint | None:
    """The entry without its data; None when that wouldn't free enough to be worth a request."""
    if entry.manifest is None and entry.data is None:
        return None
    stub = dataclasses.replace(entry, manifest=None, data=None)
    return stub if len(entry.encode()) - len(stub.encode()) > STUB_WORTH else None


class History:
    """The live checkpoints of one store, as far as they are known."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._facts: dict[int, Fact] = {}
        self._names: dict[int, Names | None] = {}
        self._unreadable: set[int] = set()
        self._light: set[int] = set()
        self._unread: collections.deque[int] = collections.deque()
        self._top = 0
        self.live = NOTHING

    @property
    def facts(self) -> Mapping[int, Fact]:
        """What is known of each."""
        return self._facts

    @property
    def unreadable(self) -> frozenset[int]:
        """Live ones whose entry can't be read."""
        return frozenset(self._unreadable)

    @property
    def complete(self) -> bool:
        """Whether every live one has been read, or found unreadable."""
        return not self._unread

    def follow(self, live: Sequences) -> None:
        """The log says that these are live: what is new has to be read, what is gone is forgotten."""
        new = []
        for number in live:
            if number <= self._top:
                break
            new.append(number)
        self._unread.extendleft(reversed(new))
        self._top = max(self._top, live.newest or 0)
        gone = self.live.without(live)
        self.live = live
        self._bridge({number: fact.parent for number in gone if (fact := self._facts.pop(number, None))})
        for number in gone:
            self._names.pop(number, None)
            self._unreadable.discard(number)
            self._light.discard(number)

    def _bridge(self, parents: Mapping[int, int | None]) -> None:
        """Of those whose parents are gone, the nearest ancestor that isn't becomes the parent: the line holds."""
        for fact in [fact for fact in self._facts.values() if fact.parent in parents]:
            ancestor = fact.parent
            while ancestor is not None and ancestor in parents:
                ancestor = parents[ancestor]
            self._facts[fact.sequence] = dataclasses.replace(fact, parent=ancestor)

    def learn(self, entry: Checkpoint, names: Names | None) -> None:
        """A live checkpoint whose entry is at hand; `names` of its objects: None where they can't be found out."""
        self._top = max(self._top, entry.sequence)
        self._facts[entry.sequence] = fact_of(entry)
        self._names[entry.sequence] = names
        if names is not None and not names and stub_of(entry) is None:
            self._light.add(entry.sequence)

    def leaves_nothing(self, sequence: int) -> bool:
        """Whether pruning it frees nothing that is worth a request."""
        return sequence in self._light

    def read_next(self) -> Checkpoint | None:
        """Read the newest live one that isn't known yet; its entry, None when there is nothing to learn.

        Raises StorageError; then it is as if nothing had been asked.
        """
        while self._unread and self._unread[0] not in self.live:
            self._unread.popleft()
        if not self._unread:
            return None
        sequence = self._unread[0]
        entry = None
        try:
            entry = read_checkpoint(self._journal, sequence)
            self.learn(entry, Names(map(name_of, object_keys(self._journal.calls, entry))))
        except DamagedError as damage:
            logger.error(
                "checkpoint %d of %s is live and damaged: %s. Nothing is deleted as long as it is live, for what it "
                "names is unknown; `waypost checkpoints prune` removes it",
                sequence,
                self._journal.calls.backend.uri,
                damage,
            )
            if entry is None:
                self._unreadable.add(sequence)
            else:
                self.learn(entry, None)
        self._unread.popleft()
        return entry

    def spared(self) -> Spared | None:
        """The objects that live checkpoints name; None as long as that isn't known."""
        if self._unread or self._unreadable:
            return None
        names = list(self._names.values())
        known = [found for found in names if found is not None]
        return Spared(known) if len(known) == len(names) else None


def read_checkpoint(journal: Journal, sequence: int) -> Checkpoint:
    """The CHECKPOINT at this number, whether live or a stub. Raises DamagedError when there is none, StorageError."""
    entry = journal.read(sequence)
    if entry is None:
        raise DamagedError(f"log entry {sequence} is missing")
    if not isinstance(entry, Checkpoint):
        raise DamagedError(f"log entry {sequence} is a {entry.type}")
    return entry


def name_of(key: str) -> str:
    """The name of the object under this key."""
    return key.rpartition("/")[2]
