"""Every request of the store goes through here: repeated while that makes sense, and named when it fails.

Retries back off exponentially with jitter, within a budget of seconds that is stated in the error, and farther when
the place asks for fewer requests. No single try may use the budget up: one that hangs is given up in time to try
again. Once a stop order has come, what is left of the grace is the budget, pauses shrink to fit it, and two seconds
are kept to say what became of the save.

The one request that isn't repeated here is the put-if-absent of a log entry: after an unknown outcome the log has to
look before it sends again (rule 3), so `put_new` says what is known and leaves the rest to its caller.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

from waypost.backends.protocol import (
    AbsentError,
    Backend,
    BackendError,
    ExistsError,
    Part,
    SilentError,
    ThrottledError,
    TooLargeError,
    UnreachableError,
    UnsupportedError,
)
from waypost.errors import Outcome, StorageError
from waypost.store.damage import DamagedError
from waypost.store.keys import KIB
from waypost.store.seams import Seams
from waypost.store.undisturbed import gone, with_its_end
from waypost.store.waiting import SLICE_SECONDS

T = TypeVar("T")

SLOWEST: Final = 256 * KIB
"""Bytes per second (2 Mbit/s) that a line is expected to carry: a transfer gets its size by this on top of each limit.

The client libraries tell nobody how far an upload has come, so a stall can't be told from a slow line before that.
"""
_THROTTLED: Final = 10
"""Times as long as after other troubles is the pause after 'slow down'."""
_LAST_WORDS: Final = 2.0
"""Seconds of the grace that are kept for telling how it ended, on a machine that is busy with its end."""
_SHORTEST_TRY: Final = 1.0


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long a request is repeated, in seconds; a transfer's own time comes on top of `seconds` and `answer`."""

    seconds: float = 120.0
    answer: float = 15.0
    """How long one try may take."""
    first_pause: float = 0.1
    longest_pause: float = 10.0


STARTING = Budget(seconds=30.0)
"""Before the program runs: giving up costs nothing, for the operator starts the attempt again."""
SAVING = Budget(seconds=120.0)
"""While the program runs: giving up costs progress."""
TOGETHER = Budget(seconds=600.0, first_pause=0.05, longest_pause=1.0)
"""How long a rank waits for the others in a call that all make together."""


class Sink(Protocol):
    """Where the bytes of one try go, in the order in which they come."""

    def receive(self, data: memoryview) -> None:
        """The next ones, which are the sink's only until it returns."""

    def pull(self, fill: Callable[[memoryview], int], most: int) -> int | None:
        """Have the next ones, at most so many, put where they belong: how many; None, with nothing done, to `receive`
        them."""


def _no_stop_order() -> None:
    return None


def _nobody_counts(began: float) -> None:
    """A request alone can't be fewer."""


class Calls:
    """The backend as the store uses it. `doing` arguments are verb phrases for messages: "read log entry 5 of"."""

    def __init__(
        self,
        backend: Backend,
        seams: Seams,
        budget: Budget = SAVING,
        interrupt: Callable[[], None] = lambda: None,
        grace: Callable[[], float | None] = _no_stop_order,
        throttled: Callable[[float], None] = _nobody_counts,
        share: Callable[[], int] = lambda: 1,
        turn: Callable[[], bool] = lambda: True,
    ) -> None:
        """`interrupt` may raise; `grace` gives the seconds until the process is killed, None without a stop order.

        `throttled` is told, whenever a try was too much for the place or the line, when that try began; the next one
        isn't made before `turn` says that it may.
        """
        self.backend, self.seams = backend, seams
        self._budget, self._interrupt, self._grace, self._throttled = budget, interrupt, grace, throttled
        self._share, self._turn = share, turn

    @property
    def budget(self) -> Budget:
        """How long each request is repeated."""
        return self._budget

    def remaining_grace(self) -> float | None:
        """Seconds until the process is killed; None without a stop order."""
        return self._grace()

    def check(self) -> None:
        """Raise what the interrupt raises."""
        self._interrupt()

    def interruptible(self, interrupt: Callable[[], None], budget: Budget | None = None) -> Calls:
        """The same backend, with `interrupt` called before and during requests; on another budget if given."""
        budget = budget or self._budget
        return Calls(self.backend, self.seams, budget, interrupt, self._grace, self._throttled, self._share, self._turn)

    def beside(
        self,
        check: Callable[[], None],
        throttled: Callable[[float], None],
        share: Callable[[], int],
        turn: Callable[[], bool] = lambda: True,
    ) -> Calls:
        """The same for a thread that does one of several requests at once: `check` may raise too, as `interrupt`.

        `share`: how many share the line now, so that each gets but a part of it. `throttled`, `turn`: as for all.
        """

        def interrupt() -> None:
            check()
            self._interrupt()

        return Calls(self.backend, self.seams, self._budget, interrupt, self._grace, throttled, share, turn)

    def patience(self, size: int = 0) -> Patience:
        """A fresh budget for one request that moves `size` bytes."""
        return Patience(self.seams, self._budget, self._interrupt, self._grace, size / SLOWEST, self._share())

    def get(self, doing: str, key: str, limit: int, patience: Patience | None = None) -> bytes | None:
        """The content of `key`; None when it doesn't exist. Raises DamagedError if it is larger than `limit`."""

        def request() -> bytes | None:
            try:
                return self.backend.get(key, limit)
            except AbsentError:
                return None
            except TooLargeError as error:
                raise DamagedError(f"{key} is larger than the {limit} bytes it may have") from error

        return self._repeat(doing, request, patience or self.patience(limit))

    def read_range(self, doing: str, key: str, start: int, length: int, sink: Callable[[], Sink]) -> bool:
        """Give a part of the content of `key`, piece by piece, to what `sink` makes; False when it doesn't exist.

        Each try begins with a new one. One that was given up gets nothing any more, however late its answer comes.
        """

        patience = self.patience(length)

        def attempt() -> bool:
            door = _Door(sink(), self.seams.clock)

            def request() -> bool:
                try:
                    self.backend.read_range(key, start, length, door)
                except AbsentError:
                    return False
                return True

            return with_its_end(lambda: self.once(request, patience, door.last), door.close)

        return self._until_done(doing, attempt, patience)

    def put(self, doing: str, key: str, data: bytes | memoryview) -> None:
        """Write `key`."""
        self._repeat(doing, lambda: self.backend.put(key, data), self.patience(len(data)))

    def put_parts(self, doing: str, key: str, parts: Sequence[Part], checksum: int) -> bool:
        """Write `key` as these parts of open files; False when it has to be put another way. The place is `Direct`.

        Whatever is raised: nothing of the files is sent any more. Also raises OSError, of the files.
        """
        place: Any = self.backend
        patience = self.patience(sum(len(part) if isinstance(part, memoryview) else part.length for part in parts))

        def attempt() -> bool:
            cord = _Cord()

            def request() -> bool:
                try:
                    place.put_parts(key, parts, checksum, cord)
                except UnsupportedError:
                    return False
                return True

            return with_its_end(lambda: self.once(request, patience), cord.cut)

        return self._until_done(doing, attempt, patience)

    def put_new(
        self, doing: str, key: str, data: bytes, outcome: Outcome = "not saved", patience: Patience | None = None
    ) -> bool:
        """Send one put-if-absent, once: whether it created the key, or the key was there.

        Raises UnreachableError when that isn't known, StorageError with `outcome` when it was refused for good.
        """
        try:
            self.once(lambda: self.backend.put_new(key, data), patience or self.patience(len(data)))
        except ExistsError:
            return False
        except UnreachableError:
            raise
        except BackendError as error:
            raise self.error(doing, error, outcome=outcome) from error
        return True

    def put_once(
        self, doing: str, key: str, data: bytes, outcome: Outcome = "not saved", patience: Patience | None = None
    ) -> None:
        """Send one PUT, once. Raises UnreachableError, and StorageError with `outcome` when it was refused for good."""
        try:
            self.once(lambda: self.backend.put(key, data), patience or self.patience(len(data)))
        except UnreachableError:
            raise
        except BackendError as error:
            raise self.error(doing, error, outcome=outcome) from error

    def list(self, doing: str, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        """The first keys in a folder."""
        return self._repeat(doing, lambda: self.backend.list(prefix, start_after, limit), self.patience())

    def delete(self, doing: str, key: str) -> None:
        """Remove `key`."""
        self._repeat(doing, lambda: self.backend.delete(key), self.patience())

    def error(
        self, doing: str, error: BackendError, patience: Patience | None = None, outcome: Outcome = "not saved"
    ) -> StorageError:
        """The StorageError for what the backend said."""
        cause = error.cause if patience is None else f"{error.cause} ({patience.spent})"
        return StorageError(doing, self.backend.uri, cause, advice=error.advice, outcome=outcome)

    def given_up(self, doing: str, trouble: UnreachableError, patience: Patience, *, sent: bool) -> StorageError:
        """The StorageError for an entry that can't be appended within the budget; `sent`: perhaps it stands."""
        if not sent:
            return self.error(doing, trouble, patience)
        advice = "Whether the entry stands is unknown; the next attempt restores whatever does"
        cause = f"{trouble.cause} ({patience.spent})"
        return StorageError(doing, self.backend.uri, cause, advice=advice, outcome="unknown")

    def _repeat(self, doing: str, request: Callable[[], T], patience: Patience) -> T:
        return self._until_done(doing, lambda: self.once(request, patience), patience)

    def _until_done(self, doing: str, attempt: Callable[[], T], patience: Patience) -> T:
        while True:
            began = self.seams.clock()
            try:
                return attempt()
            except UnreachableError as error:
                if isinstance(error, ThrottledError | SilentError):
                    self._throttled(began)
                if not patience.pause(error) or not patience.wait_for(self._turn):
                    raise self.error(doing, error, patience) from error
            except BackendError as error:
                raise self.error(doing, error) from error

    def once(self, request: Callable[[], T], patience: Patience, last: Callable[[], float | None] | None = None) -> T:
        """Do one request of the backend, within the time that one try may take. Raises what the backend raises.

        `last`: when something of its answer came.
        """
        self._interrupt()
        return self.seams.in_time(request, patience.one_try(last))


class _ShutError(Exception):
    """Ends a request that was given up."""


class _Door:
    """What one try's bytes go through, until it is shut.

    Shut while the system is reading right into somebody's memory, it hangs up, so that nobody waits for the server.

    It has no lock, which an exception out of a signal handler could leave locked (`waypost.store.undisturbed`): who
    goes through says so, then looks whether it is open; who shuts it looks afterwards whether somebody is in it.
    """

    def __init__(self, sink: Sink, clock: Callable[[], float]) -> None:
        self._sink, self._open, self._busy = sink, True, False
        self._hang_up: Callable[[], None] | None = None
        self._process = os.getpid()
        self._clock = clock
        self._last: float | None = None

    def last(self) -> float | None:
        """When something has come through."""
        return self._last

    def __call__(self, data: memoryview) -> None:
        """Hand on what has come. Only the request's own thread comes here."""
        self._busy = True
        try:
            if not self._open:
                raise _ShutError
            self._last = self._clock()
            self._sink.receive(data)
        finally:
            self._busy = False

    def pull(self, fill: Callable[[memoryview], int], most: int, hang_up: Callable[[], None]) -> int | None:
        """Let `fill` put what comes next where it belongs (`protocol.InPlace`). Only the request's own thread."""
        self._hang_up, self._busy = hang_up, True
        try:
            if not self._open:
                raise _ShutError
            size = self._sink.pull(fill, most)
            if size is not None:
                self._last = self._clock()
        finally:
            self._hang_up, self._busy = None, False
        return size

    def close(self) -> None:
        """From when this returns nothing is handed on, and nothing put in its place."""
        self._open = False
        if self._process != os.getpid():
            return  # forked while it was open: thread and connection are the parent's
        if (hang_up := self._hang_up) is not None:
            hang_up()
        gone(lambda: not self._busy)


class _Cord:
    """What one try of sending hangs on, until it is cut. Without a lock, for the same reason."""

    def __init__(self) -> None:
        self._whole = True
        self._hang_up: Callable[[], None] | None = None

    def hold(self, hang_up: Callable[[], None]) -> None:
        """The try's own thread begins to send."""
        self._hang_up = hang_up
        if not self._whole:
            self._hang_up = None
            raise _ShutError

    def let_go(self) -> None:
        """It sends nothing any more."""
        self._hang_up = None

    def cut(self) -> None:
        """From when this returns nothing is sent."""
        self._whole = False
        if (hang_up := self._hang_up) is not None:
            hang_up()
            gone(lambda: self._hang_up is None)


class Patience:
    """How much longer one request is repeated."""

    def __init__(
        self,
        seams: Seams,
        budget: Budget,
        interrupt: Callable[[], None],
        grace: Callable[[], float | None],
        transfer: float,
        share: int = 1,
    ) -> None:
        """`transfer`: seconds that the request's bytes may take on a slow line, if they have it to themselves and not
        to `share` with so many requests."""
        self._seams, self._budget, self._interrupt, self._grace = seams, budget, interrupt, grace
        self._alone, self._transfer = transfer, transfer * share
        self._began = seams.clock()
        self._tries, self._paused = 1, 0.0

    @property
    def spent(self) -> str:
        """For messages: how often and how long it was tried."""
        return f"tried {self._tries} times in {self._seams.clock() - self._began:.0f} s"

    def one_try(self, last: Callable[[], float | None] | None = None) -> Callable[[], float]:
        """Begin one try: gives a function that says how many seconds of it are left, and lets a stop order through.

        `last` says when something of the answer came: one that falls silent isn't waited for as long as a slow one.
        """
        start = self._seams.clock()
        most = max(_SHORTEST_TRY, min(self._budget.answer + self._transfer, self._left()))

        def left() -> float:
            self._interrupt()
            waited = self._seams.clock() - start
            left = most - waited
            if last is not None:
                left = min(left, (last() or start) + self._budget.answer + self._alone - self._seams.clock())
            if (grace := self._grace()) is not None:
                left = min(left, grace - _LAST_WORDS)
                if self._transfer <= self._budget.answer:  # else it has one chance, and needs all the time there is
                    left = min(left, max(_SHORTEST_TRY, grace / 3) - waited)
            return left

        return left

    def pause(self, trouble: UnreachableError | None = None) -> bool:
        """Sleep before the next try; False, without sleeping, when the budget is spent.

        Without trouble, what is waited for just isn't there yet.
        """
        first = self._budget.first_pause * (_THROTTLED if isinstance(trouble, ThrottledError) else 1)
        pause = min(self._budget.longest_pause, first * 2 ** min(self._tries - 1, 32))
        pause *= 0.5 + self._seams.chance() / 2
        start = self._seams.clock()
        # a transfer's own time is there to be waited for, not for trying again and again what fails at once
        if self._hurried(pause) > min(self._left(), self._budget.seconds - self._paused):
            return False
        while (left := start + self._hurried(pause) - self._seams.clock()) > 0:
            self._interrupt()
            self._seams.sleep(min(left, SLICE_SECONDS))
        self._paused += self._seams.clock() - start
        self._tries += 1
        return True

    def wait_for(self, turn: Callable[[], bool]) -> bool:
        """Sleep until it is this request's turn; False when the budget is spent before."""
        while not turn():
            if self._left() <= 0:
                return False
            self._interrupt()
            self._seams.sleep(SLICE_SECONDS / 10)
        return True

    def _left(self) -> float:
        """Seconds of the budget, or of the grace, that are left."""
        left = self._began + self._budget.seconds + self._transfer - self._seams.clock()
        grace = self._grace()
        return left if grace is None else min(left, grace - _LAST_WORDS)

    def _hurried(self, pause: float) -> float:
        grace = self._grace()
        return pause if grace is None else min(pause, grace / 10)
