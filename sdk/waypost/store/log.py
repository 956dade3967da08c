"""The writer's end of the log: append at exactly the next number, and judge whatever stands there instead.

This is where a zombie learns that it is one. A writer knows the log up to `last_seen` and puts its entry at the
number behind, only if absent; the store lets one of any number of contenders win. Who finds the number taken reads
what stands there and goes by the append rule (docs/format.md, "Appending"): its own nonce is success, a PRUNE or a
PIN is stepped over, and anything else means that the store belongs to somebody else, for ever. How an entry is put, and
what stands there instead, is the journal's affair.

Nothing here decides by attempt numbers, clocks or the existence of objects: only by fences and by nonces that this
process issued.
"""

from __future__ import annotations

import dataclasses
import datetime
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from waypost.errors import CompletedError, FencedError, StoreDeletedError, WaypostError
from waypost.log import logger
from waypost.store.damage import UnreadableEntryError
from waypost.store.entries import DELETED_ATTEMPT, Checkpoint, Complete, Entry, Fence, Pin, Prune, Unpin
from waypost.store.journal import Journal
from waypost.store.state import State

E = TypeVar("E", bound=Entry)


@dataclasses.dataclass(frozen=True)
class Stamp:
    """What an entry owes to where and by whom it is appended."""

    sequence: int
    attempt: int
    fence: int
    nonce: str
    time: datetime.datetime


class Log:
    """The log as the holder of `fence` appends to it. One append at a time, whatever thread it comes from."""

    def __init__(self, journal: Journal, attempt: int, fence: int, state: State) -> None:
        self.journal = journal
        self.attempt, self.fence = attempt, fence
        self.state = state
        """Up to the newest entry known; replaced as a whole, so any thread may read it."""
        self.committed: int | None = None
        """The newest CHECKPOINT of this fence."""
        self._issued: set[str] = set()
        self._adopted: list[tuple[int, str]] = []
        self._ended: WaypostError | None = None
        self._lock = threading.Lock()

    def require_open(self) -> None:
        """Raise what ended this log, if something did."""
        if self._ended is not None:
            raise type(self._ended)(str(self._ended))

    def take_adopted(self) -> Sequence[tuple[int, str]]:
        """Sequence and nonce of the CHECKPOINTs that were given up and stand after all, since this was last asked."""
        adopted, self._adopted = self._adopted, []
        return adopted

    def append(self, build: Callable[[State, Stamp], E]) -> E:
        """Append what `build` makes for the number behind `state`; it is asked again for each number tried.

        So `build` is called immediately before every first PUT at a number, which is where a CHECKPOINT has to check
        that it may name its packs (rule 5). Raises FencedError, CompletedError or StoreDeletedError for ever after;
        StorageError with its outcome; whatever `build` raises.
        """
        with self._lock:
            self.require_open()
            nonce = self.journal.calls.seams.nonce()
            self._issued.add(nonce)
            while True:
                sequence = self.journal.free_number(self.state)
                stamp = Stamp(sequence, self.attempt, self.fence, nonce, self.journal.calls.seams.now())
                entry = build(self.state, stamp)
                standing = self._put(entry)
                if standing.nonce == nonce:
                    self._adopt(standing)
                    return entry
                if isinstance(standing, Complete) and standing.nonce in self._issued and type(entry) is Complete:
                    self._adopt(standing)
                    return dataclasses.replace(entry, nonce=standing.nonce, time=standing.time)
                self._step_over(standing)

    def _put(self, entry: Entry) -> Entry:
        try:
            return self.journal.put(entry)
        except (FencedError, StoreDeletedError) as error:
            raise self._end(error) from None
        except UnreadableEntryError as error:
            raise self._end(FencedError(f"{self._who} can't go on: {error}, so it may be another's FENCE")) from error

    def _step_over(self, standing: Entry) -> None:
        """The number is taken by another append than this: go on behind it, or end."""
        if standing.nonce in self._issued and not isinstance(standing, Complete):
            logger.warning(
                "an earlier append of this process, given up as unknown, stands after all: %s", standing.type
            )
            self._adopt(standing)
            if isinstance(standing, Checkpoint):
                self._adopted.append((standing.sequence, standing.nonce))
        elif isinstance(standing, (Prune, Pin, Unpin)):
            self._adopt(standing)
        else:
            raise self._end(self._verdict(standing))

    def _adopt(self, entry: Entry) -> None:
        self.state = self.state.after(entry)
        if isinstance(entry, Checkpoint):
            self.committed = entry.sequence
        elif isinstance(entry, Complete):
            self._end(self._verdict(entry))

    def _verdict(self, standing: Entry) -> WaypostError:
        uri, where = self.journal.calls.backend.uri, f"log entry {standing.sequence}"
        if isinstance(standing, Complete):
            return CompletedError(f"the task of {uri} is complete ({where}): nothing may be saved any more")
        if isinstance(standing, Fence) and standing.attempt == DELETED_ATTEMPT:
            return StoreDeletedError(f"the store {uri} was deleted ({where})")
        return FencedError(
            f"{self._who} was overtaken: {where} is a {standing.type} of attempt {standing.attempt}, under fence "
            f"{standing.fence}. Nothing it does can be saved any more; it has to end"
        )

    @property
    def _who(self) -> str:
        return f"attempt {self.attempt} (fence {self.fence}) of {self.journal.calls.backend.uri}"

    def _end(self, error: WaypostError) -> WaypostError:
        self._ended = error
        return error
