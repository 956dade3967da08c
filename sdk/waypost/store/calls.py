"""Every request of the store goes through here: repeated while that makes sense, and named when it fails.

Retries back off exponentially with jitter, within a budget of seconds that is stated in the error. The one request
that isn't repeated here is the put-if-absent of a log entry: after an unknown outcome the log has to look before it
sends again (rule 3), so `put_new` says what is known and leaves the rest to its caller.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

from waypost.backends.protocol import (
    AbsentError,
    Backend,
    BackendError,
    ExistsError,
    TooLargeError,
    UnreachableError,
)
from waypost.errors import Outcome, StorageError
from waypost.store.damage import DamagedError
from waypost.store.seams import Seams

T = TypeVar("T")

_SLICE_SECONDS = 0.25
"""A pause is slept in slices, so that a stop order is heeded in between."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long a request is repeated."""

    seconds: float = 120.0
    first_pause: float = 0.1
    longest_pause: float = 10.0


STARTING = Budget(seconds=30.0)
"""Before the program runs: giving up costs nothing, for the operator starts the attempt again."""
SAVING = Budget(seconds=120.0)
"""While the program runs: giving up costs progress."""


class Calls:
    """The backend as the store uses it. `doing` arguments are verb phrases for messages: "read log entry 5 of"."""

    def __init__(
        self,
        backend: Backend,
        seams: Seams,
        budget: Budget = SAVING,
        interrupt: Callable[[], None] = lambda: None,
    ) -> None:
        self.backend, self.seams = backend, seams
        self._budget, self._interrupt = budget, interrupt

    def interruptible(self, interrupt: Callable[[], None], budget: Budget | None = None) -> Calls:
        """The same backend, with `interrupt` called between requests, which may raise; on another budget if given."""
        return Calls(self.backend, self.seams, budget or self._budget, interrupt)

    def patience(self) -> Patience:
        """A fresh budget for one request."""
        return Patience(self.seams, self._budget, self._interrupt)

    def get(self, doing: str, key: str, limit: int) -> bytes | None:
        """The content of `key`; None when it doesn't exist. Raises DamagedError if it is larger than `limit`."""

        def request() -> bytes | None:
            try:
                return self.backend.get(key, limit)
            except AbsentError:
                return None
            except TooLargeError as error:
                raise DamagedError(f"{key} is larger than the {limit} bytes it may have") from error

        return self._repeat(doing, request)

    def get_range(self, doing: str, key: str, start: int, length: int) -> bytes | None:
        """A part of the content of `key`; None when it doesn't exist."""

        def request() -> bytes | None:
            try:
                return self.backend.get_range(key, start, length)
            except AbsentError:
                return None

        return self._repeat(doing, request)

    def put(self, doing: str, key: str, data: bytes | memoryview) -> None:
        """Write `key`."""
        self._repeat(doing, lambda: self.backend.put(key, data))

    def put_new(self, doing: str, key: str, data: bytes, outcome: Outcome = "not saved") -> bool:
        """Send one put-if-absent, once: whether it created the key, or the key was there.

        Raises UnreachableError when that isn't known, StorageError with `outcome` when it was refused for good.
        """
        self._interrupt()
        try:
            self.backend.put_new(key, data)
        except ExistsError:
            return False
        except UnreachableError:
            raise
        except BackendError as error:
            raise self.error(doing, error, outcome=outcome) from error
        return True

    def put_once(self, doing: str, key: str, data: bytes, outcome: Outcome = "not saved") -> None:
        """Send one PUT, once. Raises UnreachableError, and StorageError with `outcome` when it was refused for good."""
        self._interrupt()
        try:
            self.backend.put(key, data)
        except UnreachableError:
            raise
        except BackendError as error:
            raise self.error(doing, error, outcome=outcome) from error

    def list(self, doing: str, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        """The first keys in a folder."""
        return self._repeat(doing, lambda: self.backend.list(prefix, start_after, limit))

    def delete(self, doing: str, key: str) -> None:
        """Remove `key`."""
        self._repeat(doing, lambda: self.backend.delete(key))

    def error(
        self, doing: str, error: BackendError, patience: Patience | None = None, outcome: Outcome = "not saved"
    ) -> StorageError:
        """The StorageError for what the backend said."""
        cause = error.cause if patience is None else f"{error.cause} ({patience.spent})"
        return StorageError(doing, self.backend.uri, cause, advice=error.advice, outcome=outcome)

    def _repeat(self, doing: str, request: Callable[[], T]) -> T:
        patience = self.patience()
        while True:
            self._interrupt()
            try:
                return request()
            except UnreachableError as error:
                if not patience.pause():
                    raise self.error(doing, error, patience) from error
            except BackendError as error:
                raise self.error(doing, error) from error


class Patience:
    """How much longer one request is repeated."""

    def __init__(self, seams: Seams, budget: Budget, interrupt: Callable[[], None]) -> None:
        self._seams, self._budget, self._interrupt = seams, budget, interrupt
        self._began = seams.clock()
        self._tries = 1

    @property
    def spent(self) -> str:
        """For messages: how often and how long it was tried."""
        return f"tried {self._tries} times in {self._seams.clock() - self._began:.0f} s"

    def pause(self) -> bool:
        """Sleep before the next try; False, without sleeping, when the budget is spent."""
        pause = min(self._budget.longest_pause, self._budget.first_pause * 2 ** min(self._tries - 1, 32))
        pause *= 0.5 + self._seams.chance() / 2
        end = self._seams.clock() + pause
        if end > self._began + self._budget.seconds:
            return False
        while (left := end - self._seams.clock()) > 0:
            self._interrupt()
            self._seams.sleep(min(left, _SLICE_SECONDS))
        self._tries += 1
        return True
