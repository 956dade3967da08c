"""Whether an S3 server of one's own really checks CRC-64/NVME: asked of it, and believed for some minutes.

What a server claims is worth nothing here: Ceph 16 takes the header and keeps whatever came. So it is given bodies that
their checksum contradicts, and is believed only if it refuses each of them, in the words for that, and still has what
stood at the key before. Everything else (the body is taken, another refusal, no answer) leaves it to SHA-256, which a
signature makes any server check.

One who was right may be wrong later: servers are replaced, and one address may be several servers. Hence connections of
their own for the three bodies, and no belief that outlasts some minutes or is kept anywhere. While nobody knows, and
while it is being asked, which no pack waits for, packs are signed.

A program that ends has the question end, too: no further request is made, and the one under way gets two seconds. What
it leaves under `probe/` then, as one that was killed does, is named as if it were of an older writer than any, and is
collected with what those have left. Taken away in the midst, it makes the server one that isn't believed, for a while.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from typing import Final

BELIEVED_SECONDS: Final = 600.0
"""How long an answer holds. Asking again costs six requests."""
WORTH_ASKING: Final = 256 * 1024 * 1024
"""Bytes that a process has sent, or is about to send, before it asks: SHA-256 of so many costs 0.15 s, and six requests
cost, too."""

DOUBTED_SECONDS: Final = 3600.0
"""How long Amazon's S3 gets signed bodies where it refused others. Trying again costs the packs that are under way."""

REFUSALS: Final = frozenset({"BadDigest", "XAmzContentChecksumMismatch"})
"""How servers say that a body isn't what its checksum says: Amazon and versitygw, MinIO."""
DAMAGED_BODIES: Final = 3
"""Of which each has to be refused: if one of two servers behind an address checks nothing, that shows 7 times in 8."""

ENDING_SECONDS: Final = 2.0
"""How long the program's end waits for a request of the question that is under way."""


class Questions:
    """Those that are being asked in this process, each in a thread of its own, until the program ends."""

    def __init__(self) -> None:
        self._threads: set[threading.Thread] = set()
        self._ending = False

    def ask(self, work: Callable[[], None]) -> None:
        """Have it done beside the caller. Raises RuntimeError where no thread may start, as at the program's end."""
        if self._ending:
            raise RuntimeError("the program is ending")

        def run() -> None:
            try:
                work()
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, name="waypost-checksums", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.discard(thread)
            raise

    def are_over(self) -> bool:
        """Whether no more requests are to be made."""
        return self._ending

    def end(self, seconds: float = ENDING_SECONDS) -> None:
        """From here on none makes another request; returns when all have ended, but within `seconds`.

        Nothing of the storage's native code should be at work while the interpreter is taken down around it.
        """
        self._ending = True
        limit = time.monotonic() + seconds
        for thread in list(self._threads):
            thread.join(max(0.0, limit - time.monotonic()))

    def forget(self) -> None:
        """In a forked child: the threads stayed with the parent."""
        self._threads.clear()


questions: Final = Questions()
os.register_at_fork(after_in_child=questions.forget)
atexit.register(questions.end)


class Belief:
    """What is known of one server, for one process."""

    def __init__(
        self,
        ask: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        spawn: Callable[[Callable[[], None]], None] = questions.ask,
    ) -> None:
        """`ask` finds out, and raises nothing; `spawn` has it done beside the caller, RuntimeError where none can."""
        self._ask, self._clock, self._spawn = ask, clock, spawn
        self._sent = 0
        self._checks, self._until = False, 0.0
        self._asking = threading.Lock()

    def holds_for(self, length: int) -> bool:
        """Whether the server is known to check what is put now; to be called for each PUT, with its bytes."""
        now, sent = self._clock(), self._sent
        self._sent = sent + length
        if now < self._until:
            return self._checks
        self._ask_if_worth(sent)
        return False

    def holds(self) -> bool:
        """Whether it is known now."""
        return self._clock() < self._until and self._checks

    def expect(self, length: int) -> None:
        """So many bytes are going to be put: if that is worth it, it is asked at once."""
        if self._clock() >= self._until:
            self._ask_if_worth(max(self._sent, length))  # a small save behind large ones is left in peace

    def _ask_if_worth(self, sent: int) -> None:
        if sent >= WORTH_ASKING and self._asking.acquire(blocking=False):
            try:
                self._spawn(self._find_out)
            except RuntimeError:  # the process ends, or may start no thread
                self._asking.release()

    def doubt(self) -> None:
        """The server refused what it should have taken: it may be another one than was asked."""
        self._checks, self._until = False, self._clock() + BELIEVED_SECONDS

    def _find_out(self) -> None:
        try:
            asked = self._clock()
            self._checks = self._ask()
            self._until = asked + BELIEVED_SECONDS
        finally:
            self._asking.release()


class Known:
    """Of Amazon's own S3 it is known: nothing is asked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._doubted_until = 0.0

    def holds_for(self, _: int) -> bool:
        """Yes, unless it refused a short while ago."""
        return self.holds()

    def holds(self) -> bool:
        """Likewise."""
        return self._clock() >= self._doubted_until

    def expect(self, _: int) -> None:
        """Nothing is asked."""

    def doubt(self) -> None:
        """It refused what it took with a signature.

        A policy of the bucket may ask for signed bodies: those it gets for a while. But rights also change, and take
        some seconds to be the same everywhere.
        """
        self._doubted_until = self._clock() + DOUBTED_SECONDS
