"""A file cut where its last save was cut, although something before that place has grown, or gone.

Most formats don't say where their parts are: a pickle (joblib, scikit-learn), HDF5, a tar archive, a model as JSON or
text. On a grid all that stands behind an insertion has changed. So a save goes by the one before it, the *trail* of the
file: how each of its chunks began, how long it was, and its hash. Nothing is looked for while all is as it was. At a
chunk that isn't known, the beginnings of those that should follow are: where one is found, and the hash says that it is
that chunk, what precedes it is cut off, and from there on everything is known again.

That is rsync's idea, and not content-defined chunking: a rolling hash over every byte takes as much of a core as the
BLAKE3 of it does, also where nothing has changed, and cuts less finely. The price is that only what comes in the same
order as before is known again, and in a file of the same path.

Content that repeats itself is found again nearly everywhere. So a place counts only where the chunk that was found is
taken as it is, and what is cut off before it is seldom small: a file that would fall into splinters is cut on a grid.

Every rule here counts, none looks at a clock: a process that repeats an upload has to make the same cuts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Sequence
from typing import Final

from waypost.store.pickled import by_values

HEAD: Final = 64
"""Bytes by which the beginning of a chunk is recognised. Only a hint: the hash decides."""
_AHEAD: Final = (0, 1, 2, 3, 7, 15, 31)
"""Which of the chunks that should follow are looked for: what replaces so many, at most as many again are new."""
_LOOKS: Final = 3
"""Places where a chunk begins as another one, at most so many of which are hashed in vain."""
_PART: Final = 32
"""Of so many chunks of a content one may be searched in vain (1 to 4 ms for a MiB), and"""
_AT_FIRST: Final = 6
"""so many in each file at least,"""
_PATIENCE: Final = 24
"""but no more, before it is taken for granted that all is new."""
_WON: Final = 8
_WON_BACK: Final = 2
"""A find that cuts off a splinter is worth what it has cost, and the search in vain before it: not more."""
_FEW: Final = 64
_SMALL: Final = 4
"""What is less than this part of a chunk stood between two places that were found again. It marks none itself, or it
would stay for ever, and another one come with each save."""
_SPLINTERS: Final = 16
"""So many of that size a file may be cut into, and one more for each few chunks of it."""


@by_values
@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """A chunk of a file as it was saved last."""

    head: bytes
    length: int
    digest: str


class Patience:
    """How much of a content may still be searched for what isn't there."""

    def __init__(self, chunks: int) -> None:
        """`chunks`: how many the content has, about."""
        self._left = min(_PATIENCE, chunks // _PART)

    def begin(self) -> None:
        """Another file: it may be of another kind."""
        self._left = max(self._left, _AT_FIRST)

    def spend(self) -> bool:
        """Whether one more chunk may be searched."""
        if not self._left:
            return False
        self._left -= 1
        return True

    def won(self, much: bool) -> None:
        """Something was found."""
        self._left = min(_PATIENCE, self._left + (_WON if much else _WON_BACK))


class Trail:
    """The way through one file, chunk by chunk."""

    def __init__(self, marks: Sequence[Mark], held: Container[str], chunk: int, size: int, patience: Patience) -> None:
        """Chunks that aren't `held` (by their hashes) are worth nothing; new ones are up to `chunk` bytes long."""
        self._marks = [mark for mark in marks if chunk // _SMALL <= mark.length <= chunk and mark.digest in held]
        self._indexes = {mark.digest: index for index, mark in reversed(list(enumerate(self._marks)))}
        self._chunk, self._patience = chunk, patience
        self._found = 0
        """The chunk behind the last that was known."""
        self._next = 0
        """The one that stands here, if what is new has replaced as much."""
        self._here: int | None = None
        """The one that was found here."""
        self._coming: int | None = None
        """The one that was found behind what is cut off now."""
        self._splinters = _SPLINTERS + size // chunk // _SMALL
        """So many may still be cut off."""
        patience.begin()

    def guess(self, data: memoryview, rest: int) -> int:
        """How long the chunk at the start of `data` may be; `rest` bytes are left of the file from there on."""
        if self._here is not None and self._marks[self._here].length <= len(data):
            return self._marks[self._here].length
        if not self._splinters:
            return len(data)
        for index in self._ahead():
            mark = self._marks[index]
            if mark.length > len(data) or (self._is_stub(index) and mark.length < rest):
                continue
            if data[: len(mark.head)] == mark.head:
                return mark.length
        if self._next < len(self._marks) and self._marks[self._next].length <= len(data):
            return len(data) if self._is_stub(self._next) else self._marks[self._next].length
        return len(data)

    def may_search(self) -> bool:
        """Whether a chunk that isn't known is worth being searched; to be asked once for each."""
        return bool(self._marks) and self._splinters > 0 and self._patience.spend()

    def search(self, data: bytes | bytearray, rest: int, digest: Callable[[int, int], str]) -> int | None:
        """Where in `data`, but not at its start, the trail goes on; None where it doesn't. What precedes is cut off.

        `rest` as in `guess`; `digest` gives the hash of what stands at an offset from there, and so long.
        """
        places: list[tuple[int, int]] = []
        for index in self._ahead():
            mark = self._marks[index]
            if len(mark.head) == HEAD and mark.head.count(mark.head[:1]) < HEAD:
                at = _ending(mark, data, rest) if self._is_stub(index) else data.find(mark.head, 1)
                if at > 0 and at + mark.length <= rest:
                    places.append((at, index))
        for at, index in sorted(places, key=lambda place: place[0])[:_LOOKS]:
            if digest(at, self._marks[index].length) == self._marks[index].digest:
                much = at >= self._chunk // _SMALL
                self._splinters -= not much
                self._patience.won(much)
                self._coming = index
                return at
        return None

    def passed(self, digest: str) -> None:
        """This chunk comes next in the file."""
        here = self._next if self._here is None else self._here
        self._here, self._coming = self._coming, None
        if here < len(self._marks) and self._marks[here].digest == digest:
            self._found = self._next = here + 1
        elif (index := self._indexes.get(digest)) is not None:
            self._found = self._next = index + 1
        else:
            self._next += 1

    def _ahead(self) -> Sequence[int]:
        ahead = [self._next, *(self._found + step for step in _AHEAD)]
        return [index for index in dict.fromkeys(ahead) if index < len(self._marks)]

    def _is_stub(self, index: int) -> bool:
        """Whether it was the end of the file, and short: what is appended shall make it longer, not more."""
        return index == len(self._marks) - 1 and self._marks[index].length < self._chunk


def _ending(mark: Mark, data: bytes | bytearray, rest: int) -> int:
    """Where in `data` this chunk begins if it is the last one again, and -1 where it isn't."""
    at = rest - mark.length
    return at if at > 0 and data.startswith(mark.head, at) else -1


def followable(marks: Sequence[Mark]) -> bool:
    """Whether the chunks of a file haven't become so many and small that it is better cut anew."""
    longest = max(mark.length for mark in marks)
    return len(marks) <= _FEW + 2 * sum(mark.length for mark in marks) // longest
