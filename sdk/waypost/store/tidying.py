"""Deleting what no checkpoint needs any more: behind confirmed prunes, request by request, and never in a save's way.

Order is everything here. An object is deleted only after the entry that condemns it stands; first the packs and the
manifest of a pruned checkpoint, then its own entry shrinks to a stub, because until then that entry is what tells
which objects they were. Whoever is killed in between leaves garbage and nothing worse: the next attempt takes up the
newest entry's prunes again and then collects the orphans, by the one rule that needs no clock: an object whose name
carries a fence lower than the collector's own was uploaded by a writer that can never commit again (rule 6).

Trouble is no save's trouble: it is said once, and everything is tried again behind the next save.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Final

from waypost.errors import StorageError
from waypost.log import logger
from waypost.store import keys
from waypost.store.calls import Budget
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint
from waypost.store.fetching import object_keys
from waypost.store.history import History, name_of, read_checkpoint, stub_of
from waypost.store.journal import Journal
from waypost.store.names import Names, Spared

ONE_TRY: Final = Budget(seconds=10.0, first_pause=60.0, longest_pause=60.0)
"""A request that may take 10 s and isn't repeated: a save may be waiting, and there will be another turn."""
_PAGE: Final = 1000


class Tidying:
    """What the holder of `fence` deletes. To be used from one thread."""

    def __init__(self, journal: Journal, fence: int, base: int | None) -> None:
        self._calls = journal.calls.interruptible(lambda: None, ONE_TRY)
        self._journal = journal.through(self._calls)
        self.history = History(self._journal)
        self._fence, self._base, self._collected = fence, base, False
        self._condemned: collections.deque[int] = collections.deque()
        self._committed = False
        self._requests: Iterator[None] | None = None
        self._stalled = self._said = False

    def committed(self, entry: Checkpoint, names: Names) -> None:
        """This entry of the holder's stands, and names these objects: what it prunes may be deleted."""
        self.history.learn(entry, names)
        self._condemned.extend(number for number in entry.prunes if not self.history.leaves_nothing(number))
        self.history.follow(entry.live)
        self._committed, self._stalled = True, False

    def step(self) -> bool:
        """Make one request if there is something to do: whether there was."""
        if self._stalled:
            return False
        if self._requests is None:
            self._requests = self._work()
        try:
            next(self._requests)
        except StopIteration:
            self._requests = None
            return False
        except StorageError as error:
            self._requests, self._stalled = None, True
            if not self._said:
                self._said = True
                logger.warning("%s. Saved progress is safe; it is tried again behind the next saves", error)
            return False
        return True

    def _work(self) -> Iterator[None]:
        """All there is to do, pausing after each request; what was interrupted is begun anew."""
        while True:
            while not self.history.complete:
                entry = self.history.read_next()
                if entry is not None and (entry.fence == self._fence or entry.sequence == self._base):
                    self._condemned.extend(entry.prunes)  # who wrote it may not have come to it
                yield
            spared = self.history.spared()
            if spared is None:
                return
            if self._condemned:
                yield from remove(self._journal, self._condemned[0], spared)
                self._condemned.popleft()
            elif self._committed and not self._collected:
                yield from self._collect_orphans(spared)
                self._collected = True
            else:
                return

    def _collect_orphans(self, spared: Spared) -> Iterator[None]:
        """Delete what writers before this fence have uploaded and no live checkpoint names.

        So goes what their ranks have said, and what they have tried the place with.
        """
        for folder in (keys.PACKS, keys.MANIFESTS, keys.PARTS, keys.PROBE):
            after = ""
            while page := self._calls.list("list what is left over in", folder, after, _PAGE):
                yield
                for key in page:
                    name = name_of(key)
                    upload = keys.upload_of(name)
                    fence = keys.part_fence(key) if upload is None else upload[0]
                    if fence is not None and fence < self._fence and name not in spared:
                        self._calls.delete("delete what is left over in", key)
                        yield
                after = page[-1]


def remove(journal: Journal, sequence: int, spared: Spared) -> Iterator[None]:
    """Delete what a pruned checkpoint leaves, pausing after each request: its objects, then the data in its entry.

    Objects that are `spared` stay: a live checkpoint names them. Raises StorageError; to be begun anew then.
    """
    calls, key = journal.calls, journal.key(sequence)
    if key is None:
        return
    try:
        entry = read_checkpoint(journal, sequence)
        yield
        objects = object_keys(calls, entry)
    except DamagedError as damage:
        logger.warning("checkpoint %d was pruned, and what it leaves can't be found: %s", sequence, damage)
        return
    # the manifest last: begun anew, this has to find out from it what else is to go
    for key_of_object in sorted(objects, key=lambda one: (one.startswith(keys.MANIFESTS), one)):
        if name_of(key_of_object) not in spared:
            calls.delete("delete a pruned checkpoint of", key_of_object)
            yield
    if (stub := stub_of(entry)) is not None:
        calls.put(f"shrink log entry {sequence} of", key, stub.encode())
        yield
