"""A set of names of objects, eight bytes for each: enough to spare what is in it.

What is live has to be known by name, for the packs of one upload go one by one where later checkpoints name only some
of them. A checkpoint of 10 TB names half a million. So of each name only a hash is kept: "no" is certain, and "yes" is
wrong once in 2^44 questions, in which case an object is kept that could have been deleted.
"""

from __future__ import annotations

import array
import bisect
from collections.abc import Iterable

from blake3 import blake3


class Names:
    """Names of objects, as far as it takes to spare them."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._hashes = array.array("Q", sorted({_hash(name) for name in names}))

    def __contains__(self, name: str) -> bool:
        wanted = _hash(name)
        at = bisect.bisect_left(self._hashes, wanted)
        return at < len(self._hashes) and self._hashes[at] == wanted

    def __len__(self) -> int:
        return len(self._hashes)


class Spared:
    """What is in any of several sets of names."""

    def __init__(self, sets: Iterable[Names] = ()) -> None:
        self._sets = tuple(sets)

    def __contains__(self, name: str) -> bool:
        return any(name in names for names in self._sets)


def _hash(name: str) -> int:
    return int.from_bytes(blake3(name.encode()).digest(length=8), "little")
