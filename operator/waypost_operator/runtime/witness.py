"""Does the watch still tell us what happens? Asked without watching anything more than the operator needs.

A watch can die without a sound: a connection that is open but silent, a task of the transport that ended. Then the
process looks alive and sees nothing. The usual cure, bumping an object of one's own and waiting for its echo, proves
only that the watch of THAT object lives. The operator has better echoes, of exactly the objects it cares for:

* each of its own writes has to come back through the watch;
* every version that the periodic LIST shows and the cache does not know yet has to come, too.

What has not come after `STALE_SECONDS` never will. That is more than kopf needs to notice a silent stream by itself
(70 s without a bookmark) and to list again, which counts as an echo. A dead watch while nothing happens does no
harm, and shows at the first thing that does happen, at the latest with the next LIST.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from waypost_operator.runtime.objects import Key, Object, compare_versions, names, uid, version

STALE_SECONDS: Final = 150.0


class Kind(enum.StrEnum):
    """The two kinds of objects that are watched."""

    TASK = "CheckpointedTask"
    POD = "Pod"


@dataclass(frozen=True)
class _Expected:
    """A version of an object that exists and that the watch has not shown yet."""

    uid: str
    version: str
    since: float


class WatchWitness:
    """Keeps count of what the watch owes us, and for how long; `clock` is monotonic, in seconds."""

    def __init__(self, stale_seconds: float = STALE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._expected: dict[tuple[Kind, Key], _Expected] = {}
        self._shown: dict[tuple[Kind, Key], tuple[str, str]] = {}

    def expect(self, kind: Kind, obj: Object) -> None:
        """This version exists: the watch has to show it, or a newer one, or the end of the object."""
        slot = (kind, names(obj))
        shown = self._shown.get(slot)
        if shown is not None and shown[0] == uid(obj) and compare_versions(shown[1], version(obj)) != -1:
            return
        owed = self._expected.get(slot)
        since = owed.since if owed is not None and owed.uid == uid(obj) else self._clock()
        self._expected[slot] = _Expected(uid(obj), version(obj), since)

    def shown(self, kind: Kind, obj: Object, deleted: bool = False) -> None:
        """The watch has shown this version, or the end, of an object."""
        slot = (kind, names(obj))
        owed = self._expected.get(slot)
        if owed is not None and (
            deleted or owed.uid != uid(obj) or compare_versions(version(obj), owed.version) in (0, 1, None)
        ):
            del self._expected[slot]
        if deleted:
            self._shown.pop(slot, None)
        else:
            self._shown[slot] = (uid(obj), version(obj))

    def gone(self, kind: Kind, key: Key) -> None:
        """The object was found to be gone by other means; the watch owes nothing about it any more."""
        self._expected.pop((kind, key), None)
        self._shown.pop((kind, key), None)

    def overdue(self) -> list[str]:
        """What the watch should have shown long ago, in words; empty while the watch is alive."""
        now = self._clock()
        return [
            f"the watch of {kind} has not shown version {owed.version} of {key} for {now - owed.since:.0f} s"
            for (kind, key), owed in self._expected.items()
            if now - owed.since > self._stale_seconds
        ]
