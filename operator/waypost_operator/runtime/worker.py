"""The loop in the middle: observe, decide, apply, and again, until there is nothing to do for this task now.

A worker holds one key at a time and no two workers hold the same one, so a task is decided by one at a time. All
that can go wrong on the way ends in one place: the key comes back later, and the next decision is made from what is
known then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from waypost_operator.decide import decide, forgettable
from waypost_operator.model.decision import Wait
from waypost_operator.runtime.apply import Applier, Later
from waypost_operator.runtime.cache import Cache
from waypost_operator.runtime.errors import NotLeadingError
from waypost_operator.runtime.logs import log_fields
from waypost_operator.runtime.objects import Key
from waypost_operator.runtime.queue import KeyQueue

logger = logging.getLogger(__name__)

MOST_STEPS: Final = 50
"""Steps in a row for one task; more is a decision that goes round in circles, which only a bug can do."""
CIRCLE_SECONDS: Final = 5.0
SHORTEST_WAIT_SECONDS: Final = 0.05
"""A moment that a decision waits for may be a rounding error away; asking again at once would only spin."""


class Worker:
    """One of several equal ones; `busy_since` tells the health check how long it has been at its present key."""

    def __init__(
        self, queue: KeyQueue[Key], cache: Cache, applier: Applier, clock: Callable[[], datetime], number: int = 0
    ) -> None:
        self._queue = queue
        self._cache = cache
        self._applier = applier
        self._clock = clock
        self.number = number
        self.key: Key | None = None
        self.busy_since: float | None = None
        self._stopping = False

    def stop(self) -> None:
        """End after the step in hand."""
        self._stopping = True

    async def run(self) -> None:
        """Take keys from the queue, until told to stop."""
        while not self._stopping:
            key = await self._queue.get()
            self.key, self.busy_since = key, time.monotonic()
            try:
                await self.settle(key)
            finally:
                self.key = self.busy_since = None
                self._queue.done(key)

    async def settle(self, key: Key) -> None:
        """Do all there is to do for one task now; whatever goes wrong, the task is looked at again."""
        try:
            later = await self._steps(key)
        except NotLeadingError as error:
            logger.warning("%s", error, extra=log_fields(key))
            self._queue.add_failed(key)
        except Exception:
            delay = self._queue.add_failed(key)
            logger.exception("deciding failed, next try in %.1f s", delay, extra=log_fields(key))
        else:
            if later is None:
                self._queue.forgive(key)
                return
            delay = self._queue.add_failed(key, later.at_least)
            logger.warning("%s; next try in %.1f s", later.why, delay, extra=log_fields(key))

    async def _steps(self, key: Key) -> Later | None:
        for _ in range(MOST_STEPS):
            doubted = self._cache.doubted_task(key)
            if doubted:
                asked = await self._applier.look_at_task(key, doubted)
                if isinstance(asked, Later):
                    return asked
            observed = self._cache.observe(key, self._clock())
            if observed is None:
                return None
            decision = decide(observed)
            step = type(decision.step).__name__
            if isinstance(decision.step, Wait):
                logger.debug("%s: %s", step, decision.why, extra=log_fields(key, observed.task))
                if decision.requeue_after is not None:
                    self._queue.add(key, max(SHORTEST_WAIT_SECONDS, decision.requeue_after))
                self._cache.forget_pods(key, forgettable(observed))
                return None
            if self._stopping:
                return None  # whoever leads next observes for itself
            logger.info("%s: %s", step, decision.why, extra=log_fields(key, observed.task))
            outcome = await self._applier.carry_out(key, observed, decision.step)
            if isinstance(outcome, Later):
                return outcome
        logger.error("%d steps without coming to rest: this is a bug", MOST_STEPS, extra=log_fields(key))
        self._queue.add(key, CIRCLE_SECONDS)
        return None
