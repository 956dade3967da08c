"""Scopes: who wrote which numbers of the log, in a store without conditional writes.

There every writer has keys of its own, so that none is ever written by two: its scope, named by its attempt, by how
often that attempt was taken over, and by a nonce. Numbers are inverted, so that a LIST gives the highest scope first,
and in it the newest entry. A log is the row of scopes that went on from each other, and each entry carries that row.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from waypost.store.keys import LOG
from waypost.store.sequences import MAX_SEQUENCE, Sequences

FENCE_NUMBER: Final = 1
"""A scope begins with its FENCE, under this number whatever came before: it stands outside of the log's row."""
LONG_ROW: Final = 500
"""A row longer than this loses its oldest scopes, as far as nothing in them is live: 100 bytes each in every entry."""
MAX_ROW: Final = 4000
"""What fits into an entry."""

_INVERSION: Final = 10**20 - 1
_NAME: Final = re.compile(r"([0-9]{20})-([0-9]{20})-([0-9a-f]{32})", re.ASCII)
_KEY: Final = re.compile(rf"log/({_NAME.pattern})-([0-9]{{20}})\.json", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Scope:
    """One writer's keys."""

    attempt: int
    takeover: int
    """1 for the attempt's first process, and so on."""
    nonce: str
    """32 hex digits: tells apart two processes that start at once."""

    @property
    def name(self) -> str:
        """As it stands in keys and in entries."""
        return f"{_INVERSION - self.attempt:020d}-{_INVERSION - self.takeover:020d}-{self.nonce}"

    @classmethod
    def parse(cls, name: str) -> Scope | None:
        """The scope with this name; None for what is no name."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        attempt, takeover = _INVERSION - int(match[1]), _INVERSION - int(match[2])
        if not 1 <= attempt <= MAX_SEQUENCE or not 1 <= takeover <= MAX_SEQUENCE:
            return None
        return cls(attempt, takeover, match[3])

    def outranks(self, other: Scope) -> bool:
        """Whether this scope is the higher one: it stands before the other in a LIST."""
        return self.name < other.name

    def key(self, sequence: int) -> str:
        """Key of this scope's entry with this number."""
        return f"{LOG}{self.name}-{_INVERSION - sequence:020d}.json"


def placed(key: str) -> tuple[Scope, int] | None:
    """Whose entry with which number stands under this key; None for keys that are no entries."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    scope, sequence = Scope.parse(match[1]), _INVERSION - int(match[5])
    return (scope, sequence) if scope is not None and 1 <= sequence <= MAX_SEQUENCE else None


@dataclasses.dataclass(frozen=True)
class Scopes:
    """The row of scopes that a log consists of, oldest first: from which number on each holds the log."""

    row: tuple[tuple[int, Scope], ...] = ()

    @property
    def own(self) -> Scope | None:
        """The last one: that of the entry's writer."""
        return self.row[-1][1] if self.row else None

    def holder(self, sequence: int) -> Scope | None:
        """The scope in which this number stands; None before the first."""
        for first, scope in reversed(self.row):
            if first <= sequence:
                return scope
        return None

    def followed_by(self, first: int, scope: Scope, live: Sequences) -> Scopes:
        """This row with one more scope; if it is long, without those that ended before the oldest live checkpoint."""
        row = (*self.row, (first, scope))
        while len(row) > LONG_ROW and row[1][0] <= (live.oldest or first):
            row = row[1:]
        return Scopes(row)

    def to_json(self) -> list[list[int | str]]:
        """As it stands in an entry: `[[first, name], ...]`."""
        return [[first, scope.name] for first, scope in self.row]

    @classmethod
    def from_json(cls, value: object) -> Scopes:
        """Read what `to_json` wrote; raises ValueError for anything else."""
        if not isinstance(value, list):
            raise ValueError("its scopes are no list")  # noqa: TRY004 - it is the text that is wrong
        row: list[tuple[int, Scope]] = []
        for item in value:
            if not isinstance(item, list) or len(item) != 2 or type(item[0]) is not int or type(item[1]) is not str:
                raise ValueError("its scopes hold something that is no pair of a number and a name")
            scope = Scope.parse(item[1])
            if scope is None or not (row[-1][0] if row else 0) < item[0] <= MAX_SEQUENCE:
                raise ValueError("its scopes aren't sorted, or one has no scope's name")
            row.append((item[0], scope))
        return cls(tuple(row))


NO_SCOPES: Final = Scopes()
