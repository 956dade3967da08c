"""A set of sequence numbers, kept as ranges: what is live, in every entry of the log.

Ten thousand checkpoints in a row are two numbers in an entry. Immutable, so that a reader in another thread always
sees one whole state of the log.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Final

MAX_SEQUENCE: Final = 2**63 - 1
_Range = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Sequences:
    """Sequence numbers as sorted, disjoint, inclusive ranges."""

    ranges: tuple[_Range, ...] = ()

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Sequences:
        """The set of these numbers."""
        ranges: list[_Range] = []
        for number in sorted(set(numbers)):
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1] = (ranges[-1][0], number)
            else:
                ranges.append((number, number))
        return cls(tuple(ranges))

    @property
    def newest(self) -> int | None:
        """The highest number; None in an empty set."""
        return self.ranges[-1][1] if self.ranges else None

    @property
    def oldest(self) -> int | None:
        """The lowest number; None in an empty set."""
        return self.ranges[0][0] if self.ranges else None

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __contains__(self, number: int) -> bool:
        place = bisect.bisect_right(self.ranges, (number, MAX_SEQUENCE)) - 1
        return place >= 0 and self.ranges[place][1] >= number

    def __iter__(self) -> Iterator[int]:
        """The numbers, newest first."""
        for first, last in reversed(self.ranges):
            yield from range(last, first - 1, -1)

    def below(self, number: int) -> int | None:
        """The highest number lower than `number`; None without one."""
        place = bisect.bisect_left(self.ranges, (number, 0)) - 1
        return min(self.ranges[place][1], number - 1) if place >= 0 else None

    def adding(self, number: int) -> Sequences:
        """This set and `number`, which has to be higher than all in it (the log only grows)."""
        newest = self.newest
        if newest is not None and number <= newest:
            raise ValueError(f"{number} doesn't come after {newest}")
        if self.ranges and newest == number - 1:
            return Sequences((*self.ranges[:-1], (self.ranges[-1][0], number)))
        return Sequences((*self.ranges, (number, number)))

    def without(self, other: Sequences) -> Sequences:
        """The numbers of this set that aren't in `other`."""
        kept: list[_Range] = []
        start = 0
        for first, last in self.ranges:
            while start < len(other.ranges) and other.ranges[start][1] < first:
                start += 1
            for gone_first, gone_last in other.ranges[start:]:
                if gone_first > last:
                    break
                if first < gone_first:
                    kept.append((first, gone_first - 1))
                first = gone_last + 1
            if first <= last:
                kept.append((first, last))
        return Sequences(tuple(kept))

    def to_json(self) -> list[list[int]]:
        """As it stands in an entry: `[[first, last], ...]`."""
        return [[first, last] for first, last in self.ranges]

    @classmethod
    def from_json(cls, value: object) -> Sequences:
        """Read what `to_json` wrote; raises ValueError for anything else."""
        if not isinstance(value, list):
            raise ValueError("is no list of ranges")  # noqa: TRY004 - it is the text that is wrong
        ranges: list[_Range] = []
        for pair in value:
            if not isinstance(pair, list) or len(pair) != 2:
                raise ValueError("holds something that is no pair of numbers")
            first, last = pair
            if not _is_sequence(first) or not _is_sequence(last) or first > last:
                raise ValueError("holds a pair that is no range of sequence numbers")
            if ranges and first <= ranges[-1][1]:
                raise ValueError("isn't sorted")
            ranges.append((first, last))
        return cls(tuple(ranges))


NOTHING: Final = Sequences()


def _is_sequence(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SEQUENCE
