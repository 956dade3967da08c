"""What the watch tells, put where the workers find it: O(1) for each event, no decision, no request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from waypost_operator.runtime.cache import Cache
from waypost_operator.runtime.objects import Key, Object, names, uid
from waypost_operator.runtime.queue import KeyQueue
from waypost_operator.runtime.witness import Kind, WatchWitness

DELETED = "DELETED"


class Intake:
    """The two entrances for watch events; their type is None for the objects of a list, the first or a new one.

    A new list tells nothing of what went away while the watch was broken: `listed_anew` sees to that.
    """

    def __init__(
        self,
        cache: Cache,
        queue: KeyQueue[Key],
        witness: WatchWitness,
        clock: Callable[[], datetime],
        listed_anew: Callable[[], None],
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._witness = witness
        self._clock = clock
        self._listed_anew = listed_anew

    def task_event(self, kind: str | None, task: Object) -> None:
        """A task appeared, changed or went away."""
        self._note_list(kind)
        self._witness.shown(Kind.TASK, task, deleted=kind == DELETED)
        if kind == DELETED:
            self._wake(self._cache.put_task(task, self._clock()))
            self._wake(self._cache.end_task(names(task), uid(task)))
        else:
            self._wake(self._cache.put_task(task, self._clock()))

    def pod_event(self, kind: str | None, pod: Object) -> None:
        """A pod with our label appeared, changed or went away (or lost the label)."""
        self._note_list(kind)
        self._witness.shown(Kind.POD, pod, deleted=kind == DELETED)
        if kind == DELETED:
            self._wake(self._cache.delete_event(pod, self._clock()))
        else:
            self._wake(self._cache.put_pod(pod, self._clock()))

    def _note_list(self, kind: str | None) -> None:
        if kind is None:
            self._listed_anew()

    def _wake(self, key: Key | None) -> None:
        if key is not None:
            self._queue.add(key)
