"""Which checkpoint a program gets: its own store's, or, while that holds none, the start point's.

One place for the order of sources, so that `latest`, `base`, `restore` and `read_bytes` can't disagree about it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final, Generic, Literal, TypeVar

from waypost.store.calls import SAVING, Calls
from waypost.store.entries import Checkpoint, Origin
from waypost.store.handle import WritingHandle
from waypost.store.info import CheckpointInfo
from waypost.store.journal import Journal
from waypost.store.manifest import Manifest
from waypost.store.reading import Reading
from waypost.store.start_point import StartPoint

T = TypeVar("T")
Which = int | Literal["base"] | None
Take = Callable[[Calls, Checkpoint, Manifest], T]

BASE: Final = "base"
"""As `checkpoint=` of `restore` and `read_bytes`: what this attempt resumes from, however much it saved since."""


@dataclasses.dataclass(frozen=True)
class Delivered(Generic[T]):
    """A whole checkpoint, and what was made of it."""

    info: CheckpointInfo
    value: T
    resumed: bool
    """Whether it is what this attempt goes on from: a writer's, before its first commit."""


class Resuming:
    """The checkpoints that one handle on a store can give."""

    def __init__(
        self,
        calls: Calls,
        journal: Callable[[Calls], Journal],
        writing: WritingHandle | None,
        start_point: StartPoint | None,
        interrupt: Callable[[], None],
    ) -> None:
        """`journal`: the store's log, as given calls reach it. `interrupt` may raise between a restore's requests."""
        self._calls, self._journal, self._writing, self._start_point = calls, journal, writing, start_point
        self._interrupt = interrupt
        self._base: CheckpointInfo | None = None

    def own(self) -> Reading:
        """The store's own checkpoints."""
        return self._own(self._calls)

    def _own(self, calls: Calls) -> Reading:
        return Reading(self._journal(calls), None if self._writing is None else self._writing.log)

    def latest(self) -> CheckpointInfo | None:
        """The newest live one; None when nothing was saved yet and there is no start point."""
        reading = self.own()
        newest = reading.newest(reading.state())
        if newest is None and self._start_point is not None:
            return self._start_info(self._start_point)
        return None if newest is None else CheckpointInfo.of(newest)

    def base(self) -> CheckpointInfo | None:
        """What this attempt resumes from; for a reader, the newest."""
        if self._writing is None:
            return self.latest()
        base = self._writing.base
        if isinstance(base, Origin):
            assert self._start_point is not None
            return self._start_info(self._start_point)
        if base is not None and (self._base is None or self._base.sequence != base):
            reading = self.own()
            newest = reading.newest(reading.state(), base)
            self._base = None if newest is None else CheckpointInfo.of(newest)
        return None if base is None else self._base

    def deliver(self, take: Take[T], which: Which) -> Delivered[T] | None:
        """Give a whole checkpoint to `take`, which may read it by the calls it is given.

        None when nothing was saved yet. Of several ranks all get the same one, unless it was named. Raises what
        `Reading.deliver`, `StartPoint.find` and `Ranks.agree` raise.
        """
        writing = self._writing
        if writing is None or writing.ranks is None or isinstance(which, int):
            return self._deliver(take, which)

        def numbered(first: int | None) -> tuple[int, Delivered[T]] | None:
            delivered = self._deliver(take, which, first)
            return None if delivered is None else (delivered.info.sequence, delivered)

        ordinal = writing.turn()
        assert ordinal is not None
        return writing.ranks.agree(numbered, ordinal, self._interrupt)

    def _deliver(self, take: Take[T], which: Which, agreed: int | None = None) -> Delivered[T] | None:
        """`agreed`: where the other ranks have gone back to, in the store that `which` means."""
        base = None if self._writing is None else self._writing.base
        if which == BASE and self._writing is not None and not isinstance(base, int):
            return None if base is None else self._deliver_start(take, agreed)
        first = base if which == BASE and isinstance(base, int) else which if isinstance(which, int) else None
        calls = self._calls.interruptible(self._interrupt)
        delivered = self._own(calls).deliver(
            lambda entry, manifest: take(calls, entry, manifest),
            first if agreed is None else agreed,
            strict=isinstance(which, int),
        )
        if delivered is None:
            return self._deliver_start(take, agreed)
        entry, value = delivered
        return Delivered(CheckpointInfo.of(entry), value, self._resumed(entry.sequence))

    def _deliver_start(self, take: Take[T], agreed: int | None) -> Delivered[T] | None:
        if self._start_point is None:
            return None
        entry, value = self._start_point.deliver(take, self._interrupt, agreed)
        return Delivered(
            CheckpointInfo.of(entry, self._start_point.uri), value, self._resumed(self._start_point.origin)
        )

    def _resumed(self, what: int | Origin) -> bool:
        return self._writing is not None and self._writing.resumed(what)

    def _start_info(self, start_point: StartPoint) -> CheckpointInfo:
        return CheckpointInfo.of(start_point.found or start_point.find(self._interrupt, SAVING), start_point.uri)
