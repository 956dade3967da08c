"""Where a task begins that has no checkpoint of its own yet: `checkpoint.from`, another store, only read.

It counts as long as the own log holds no CHECKPOINT, on every attempt: a task preempted before its first save must
not forget its base (H5). Once there is one, damage leads back along the own lineage and never here, because that would
be a silent step back to the beginning. A start point that can't be read is an error, and so is one without a
checkpoint; neither is "nothing saved yet" (rule 10).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Final, Self, TypeVar

from waypost.backends.opening import canonical_uri, open_backend
from waypost.errors import CheckpointPrunedError, ConfigurationError, CorruptCheckpointError
from waypost.store import format as store_format
from waypost.store.calls import SAVING, Budget, Calls
from waypost.store.damage import DamagedError
from waypost.store.entries import Checkpoint, Origin
from waypost.store.manifest import Manifest
from waypost.store.reading import Reading
from waypost.store.seams import Seams
from waypost.store.sequences import MAX_SEQUENCE
from waypost.store.state import State

T = TypeVar("T")

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


@dataclasses.dataclass
class StartPoint:
    """A store that is only read, and the checkpoint in it that was named, if one was."""

    calls: Calls
    sequence: int | None = None
    mode: store_format.Mode | None = None
    found: Checkpoint | None = None
    """What the task begins from, once that was looked for: as the log said, or as it was restored."""
    _seen: State | None = None
    """The log as it was then: no later LIST, which may lag behind it, takes anything of this back."""

    @classmethod
    def open(cls, text: str, seams: Seams, budget: Budget = SAVING) -> Self:
        """The start point `<store>` or `<store>#<sequence>`; makes no request. Raises ConfigurationError."""
        uri, sequence = parse(text)
        return cls(Calls(open_backend(uri), seams, budget), sequence)

    @property
    def uri(self) -> str:
        """URI of the store."""
        return self.calls.backend.uri

    def find(self, interrupt: Callable[[], None], budget: Budget) -> Checkpoint:
        """The checkpoint to begin from, as the log there says now.

        Raises StorageError when the store can't be read, CorruptCheckpointError when it holds no checkpoint (a store
        that isn't there holds none), CheckpointPrunedError when the one that was named isn't live.
        """
        calls = self.calls.interruptible(interrupt, budget)
        self.mode = store_format.known_mode(calls)
        journal = store_format.journal_of(self.mode, calls)
        self._seen = None if self.mode is None else journal.look_again()
        reading = Reading(journal, known=self._seen)
        state = None if self.mode is None else reading.state()
        if state is None or not state.live:
            raise self._empty("there is no checkpoint store" if state is None else "it holds no checkpoint")
        if self.sequence is None:
            self.found = reading.newest(state)
            assert self.found is not None
            return self.found
        if self.sequence not in state.live:
            raise CheckpointPrunedError(
                f"can't start from {self._label}: this checkpoint isn't live there: it was pruned, or never existed. "
                "`waypost checkpoints ls` shows which are; pin the one that a task starts from"
            )
        try:
            self.found = reading.entry(self.sequence)
        except DamagedError as error:
            raise CorruptCheckpointError(f"can't start from {self._label}: {error}") from error
        return self.found

    def deliver(
        self, take: Callable[[Calls, Checkpoint, Manifest], T], interrupt: Callable[[], None], first: int | None = None
    ) -> tuple[Checkpoint, T]:
        """Give the checkpoint to `take`: what was found, or what stands there in its place; a named one and no other.

        `first`: begin with this one, where other ranks of this task have found another.

        Raises what `find` and `Reading.deliver` raise.
        """
        found = self.found or self.find(interrupt, SAVING)
        calls = self.calls.interruptible(interrupt)
        delivered = Reading(store_format.journal_of(self.mode, calls), known=self._seen).deliver(
            lambda entry, manifest: take(calls, entry, manifest),
            found.sequence if first is None else first,
            strict=self.sequence is not None,
        )
        if delivered is None:
            raise self._empty("it holds no checkpoint any more")
        self.found = delivered[0]
        return delivered

    @property
    def origin(self) -> Origin:
        """What was found, as a parent."""
        assert self.found is not None
        return Origin(self.uri, self.found.sequence)

    def close(self) -> None:
        """Release connections."""
        self.calls.backend.close()

    @property
    def _label(self) -> str:
        return self.uri if self.sequence is None else f"{self.uri}#{self.sequence}"

    def _empty(self, why: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            f"can't start from {self._label}: {why}, and starting from nothing instead would be a guess. Correct the "
            "URI, or leave it out"
        )


def parse(text: str) -> tuple[str, int | None]:
    """The URI, and the sequence number behind '#' if there is one. Raises ConfigurationError."""
    uri, mark, number = text.partition("#")
    if not mark:
        return canonical_uri(uri), None
    if _NUMBER.fullmatch(number) is None or int(number) > MAX_SEQUENCE:
        raise ConfigurationError(
            f"can't start from {text}: behind the '#' has to stand a checkpoint's number, as `waypost checkpoints ls` "
            "shows it"
        )
    return canonical_uri(uri), int(number)
