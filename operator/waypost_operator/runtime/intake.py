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
    """The two entrances for watch events; their type is None for the objects of an initial list."""

    def __init__(
        self, cache: Cache, queue: KeyQueue[Key], witness: WatchWitness, clock: Callable[[], datetime]
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._witness = witness
        self._clock = clock

    def task_event(self, kind: str | None, task: Object) -> None:
        """A task appeared, changed or went away."""
        self._witness.shown(Kind.TASK, task, deleted=kind == DELETED)
        if kind == DELETED:
            self._wake(self._cache.put_task(task, self._clock()))
            self._wake(self._cache.end_task(names(task), uid(task)))
        else:
            self._wake(self._cache.put_task(task, self._clock()))

    def pod_event(self, kind: str | None, pod: Object) -> None:
        """A pod with our label appeared, changed or went away (or lost the label)."""
        self._witness.shown(Kind.POD, pod, deleted=kind == DELETED)
        if kind == DELETED:
            self._wake(self._cache.delete_event(pod, self._clock()))
        else:
            self._wake(self._cache.put_pod(pod, self._clock()))

    def _wake(self, key: Key | None) -> None:
        if key is not None:
            self._queue.add(key)
