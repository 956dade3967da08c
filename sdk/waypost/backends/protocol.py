"""What the store asks of a place where bytes live, and the ways in which such a place says no.

The store's safety rests on two promises of a backend: `put_new` creates a key with its whole content or not at all,
and of any number of `put_new` of one key at most one ever succeeds. Everything else may be slow, fail, or lose its
answer. Keys are relative to the store, in ASCII, with `/` between their parts; no key is the folder of another.

A backend raises only the exceptions below, and says in `cause` what the server said, in the server's words: the
store adds the URI and the operation. Which one it is decides what happens next, so a backend that doesn't
know must say UnreachableError: after it, a write may or may not have happened.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Final, Protocol

UNFINISHED: Final = ".tmp/"
"""Where file systems hold what gets its name once it is whole; no part of the store's format."""
PROBE: Final = "probe/"
"""Where throw-away keys are put that tell what the place can do, each named as a pack is."""
PIECE: Final = 1024 * 1024
"""Bytes read at a time, where that can be chosen: who takes them finds them in the processor's cache still."""
Take = Callable[[memoryview], None]
"""Gets the bytes of an object as they come in. One with memory of its own for them is InPlace as well."""
_UNFINISHED_KEY: Final = re.compile(r"\.tmp/[0-9a-f]{16,32}", re.ASCII)


def is_unfinished(key: str) -> bool:
    """Whether this is what a writer, perhaps a dead one, has written of a file so far."""
    return _UNFINISHED_KEY.fullmatch(key) is not None


def throw_away_key(fence: int, number: int, digits: str) -> str:
    """A key to try the place with, of at most 64 hexadecimal digits, all its user's own.

    Its user removes it; where that one is killed, the holder of a higher fence does, with what else is left over.
    """
    return f"{PROBE}{fence:020d}-{number}-{digits:0>64}"


class BackendError(Exception):
    """Root of what a backend raises; `cause` is what the server or the system said."""

    def __init__(self, cause: str, advice: str = "") -> None:
        self.cause, self.advice = cause, advice
        super().__init__(cause)


class AbsentError(BackendError):
    """The key doesn't exist (the bucket or folder does)."""


class ExistsError(BackendError):
    """The key exists already, perhaps by an earlier request of our own whose answer was lost."""


class RefusedError(BackendError):
    """The server or the system said no for a reason that repeating won't change: nothing was written."""


class TooLargeError(BackendError):
    """The content is larger than the limit that was given; nothing of it was kept in memory."""


class UnsupportedError(RefusedError):
    """This place can't do what was asked, whoever asks (no conditional writes)."""


class UnreachableError(BackendError):
    """No answer, or one that may pass (timeout, reset, 5xx): a write may or may not have happened."""


class ThrottledError(UnreachableError):
    """The place asks for fewer requests (503 SlowDown, 429)."""


class SilentError(UnreachableError):
    """No answer in time: too much may be asked at once of a place or a line."""


class NotNowError(UnreachableError):
    """No, for a reason that may pass (a full disk, a clock that is off): unlike its siblings, nothing was written."""


class Limited(Protocol):
    """A place that says how many requests it does at once: what is more waits for them, and gains nothing.

    To be asked for by the attribute: `isinstance` doesn't see one that a wrapper passes on, as of Python 3.12.
    """

    @property
    def most_requests(self) -> int:
        """At least one."""


class Begun(Protocol):
    """A place that says how many requests are worth beginning with. Asked for likewise."""

    @property
    def first_requests(self) -> int:
        """At least one."""


class Expectant(Protocol):
    """A place that prepares for large writes. Asked for as Limited is."""

    def expect(self, length: int) -> None:
        """So many bytes are going to be put, soon."""

    def prepare(self) -> None:
        """Load what large writes may need, which takes a tenth of a second, now that nobody waits. Sends nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class FilePart:
    """So many bytes of an open file."""

    descriptor: int
    offset: int
    length: int
    path: bytes
    """For messages."""


Part = FilePart | memoryview


class Cord(Protocol):
    """What one try of a request hangs on: whoever gives the try up cuts it."""

    def hold(self, hang_up: Callable[[], None]) -> None:
        """Something is being sent, which `hang_up` ends at once, from any thread; raises when it was cut already."""

    def let_go(self) -> None:
        """Nothing is sent any more, and nothing will be; safe to repeat."""


class InPlace(Protocol):
    """A taker that knows where in the program's memory bytes belong, for who can read right into it.

    Asked for as Limited is.
    """

    def pull(self, fill: Callable[[memoryview], int], most: int, hang_up: Callable[[], None]) -> int | None:
        """Have `fill` read the next bytes, at most so many, to where they belong: how many came.

        None, with nothing done, for bytes that have to be given to the taker. `fill` reads at least one, or raises,
        which is raised; `hang_up` ends it at once, from any thread.
        """


class Direct(Protocol):
    """A place to which the system itself sends parts of open files, past this process's memory. Asked for as Limited
    is.

    What is read twice, once to be hashed and once to be sent, may change in between: so the server has to check it.
    """

    def takes_parts(self) -> bool:
        """Whether it can be done now: whether the server is known to check."""

    def checksum(self, data: memoryview, before: int = 0) -> int:
        """That which the server checks, of `data` behind what has the checksum `before`."""

    def combined(self, first: int, second: int, length: int) -> int:
        """The checksum of what has `first` with what has `second` behind it, which is of `length` bytes."""

    def put_parts(self, key: str, parts: Sequence[Part], checksum: int, cord: Cord) -> None:
        """Write `key`, durably and whole, as these parts one behind the other.

        Raises UnsupportedError when it has to be put another way, and nothing was written; OSError when a file can't be
        read, EBUSY when its parts aren't what `checksum` says any more.
        """


class Backend(Protocol):
    """One store's place. Every method may be called from several threads."""

    @property
    def uri(self) -> str:
        """The store's URI, for messages and for telling stores apart: without trailing slashes."""

    def put_new(self, key: str, data: bytes) -> None:
        """Create `key` with `data`, durably, or raise ExistsError and change nothing."""

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write `key`, durably and whole, whether it exists or not."""

    def get(self, key: str, limit: int) -> bytes:
        """Return the content; AbsentError without one, TooLargeError if it has more than `limit` bytes."""

    def read_range(self, key: str, start: int, length: int, take: Take) -> None:
        """Give at most `length` bytes from `start` on to `take`, in order and in pieces: fewer where the content ends.

        A piece is `take`'s only until it returns. What `take` raises ends the request, and is raised.
        """

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        """Return the first `limit` keys after `start_after` in the folder `prefix` (`log/`), in byte order.

        Only keys directly in that folder; a folder that doesn't exist is empty.
        """

    def delete(self, key: str) -> None:
        """Remove the key; one that doesn't exist is no error."""

    def close(self) -> None:
        """Release connections; nothing may be called afterwards."""
