"""Packs on their way to the store, several at once, and the memory for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Final, Self

from waypost.backends.aligned import mapped
from waypost.backends.parts import changed, pieces_of
from waypost.backends.protocol import Direct, FilePart, Part
from waypost.errors import StorageError
from waypost.store import keys, width
from waypost.store.buffers import Buffer, Buffers
from waypost.store.calls import Calls
from waypost.store.filling import Filling
from waypost.store.progress import EVERY, current
from waypost.store.sizes import Sizes
from waypost.store.waiting import SLICE_SECONDS
from waypost.store.width import Width

_START: Final = 2
"""Packs sent at once: while one is answered the other is on its way, and that fills a fast line."""
_SLOW: Final = 0.25
"""Seconds over one pack that are worth finding out whether more at once go faster."""


_DOING: Final = "write a pack to"


class _GivenUpError(Exception):
    """Ends a thread whose pack nobody wants any more."""


class Flight:
    """The packs on their way, and the memory for all: for use in a `with`, whose end waits for them."""

    def __init__(self, calls: Calls, sizes: Sizes, chunk: int) -> None:
        most = max(1, min(width.most_at(calls.backend), sizes.memory // chunk - 1))
        self._width = Width(calls.seams.clock, min(_START, most), most)
        self._direct = _direct(calls.backend)
        self._chunk = chunk
        self._scratch: memoryview | None = None
        """What passes through it is only hashed: it stays in its file until it is sent."""
        self._calls = calls.beside(self._check, self._width.throttled, lambda: self._width.now)
        self._clock, self._sizes = calls.seams.clock, sizes
        self._buffers = Buffers(sizes.memory)
        self._pool = calls.seams.pool(most, "waypost-pack")
        self._reading = threading.Lock()
        """Held by who has a whole pack in memory beside the buffers."""
        self._flying: dict[Future[float], int] = {}
        self._given_up = False
        self._progress = current()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._given_up = kind is not None
        self._pool.shutdown()
        self._scratch = None  # else both would wait for the garbage collector, for `_calls` leads back here
        self._buffers.close()

    def filling(self) -> Filling:
        """An empty pack; waits until there is memory for it. Raises what sending the others raises, StorageError."""
        if (direct := self.direct()) is not None:
            if self._scratch is None:
                self._scratch = memoryview(mapped(self._chunk))
            return Filling(self._size(), lambda size: self._buffer(lambda: size), direct, self._scratch)
        buffer = self._buffer(self._size)
        return Filling(len(buffer), lambda _: buffer)

    def direct(self) -> Direct | None:
        """What sends parts of files from where they stand, if that can be done now."""
        return self._direct if self._direct is not None and self._direct.takes_parts() else None

    def _size(self) -> int:
        return min(self._sizes.pack, self._sizes.memory // (self._width.now + 1))

    def _buffer(self, size: Callable[[], int]) -> Buffer:
        patience = self._calls.patience(self._sizes.memory)
        while (buffer := self._buffers.take(size())) is None:
            if self._flying:
                self._land()
            elif not patience.pause():
                raise StorageError(
                    _DOING,
                    self._calls.backend.uri,
                    f"requests that were given up still hold all the memory for packs ({patience.spent})",
                )
        return buffer

    def send(self, name: str, filling: Filling) -> None:
        """Send a pack beside the caller. Raises what sending the others raises."""
        while len(self._flying) >= self._width.now:
            self._land()
        self._flying[self._pool.submit(self._put, name, filling)] = filling.length

    def drop(self, filling: Filling) -> None:
        """It is used no more."""
        if filling.buffer is not None:
            self._buffers.give_back(filling.buffer)

    def finish(self) -> None:
        """Wait until all has arrived. Raises what sending raises."""
        while self._flying:
            self._land()

    def _land(self) -> None:
        """Wait until one has arrived, or a while."""
        for future in wait(self._flying, EVERY / 2, FIRST_COMPLETED).done:
            length = self._flying.pop(future)
            if future.result() >= _SLOW:
                self._width.landed(length)
            if self._progress is not None:
                self._progress.add(length)
        if self._progress is not None:
            self._progress.tell()

    def _put(self, name: str, filling: Filling) -> float:
        """Returns the seconds it took."""
        began, key = self._clock(), keys.PACKS + name
        parts = filling.parts()
        sent = filling.direct and self._calls.put_parts(_DOING, key, parts, filling.checksum)
        if not sent and filling.refers:
            self._put_read(key, parts, filling)
        elif not sent and parts:
            assert len(parts) == 1
            assert isinstance(parts[0], memoryview)
            self._calls.put(_DOING, key, parts[0])
        del parts
        self.drop(filling)
        return self._clock() - began

    def _put_read(self, key: str, parts: Sequence[Part], filling: Filling) -> None:
        """Send a pack from memory that can't be sent from the files where it stands: one at a time, for the memory."""
        while not self._reading.acquire(timeout=SLICE_SECONDS):
            self._calls.check()
        try:
            self._calls.put(_DOING, key, memoryview(self._read(parts, filling)))
        finally:
            self._reading.release()

    def _read(self, parts: Sequence[Part], filling: Filling) -> bytearray:
        """All of a pack, if it still is what was hashed."""
        assert self._direct is not None
        whole, checksum = bytearray(), 0
        for piece in pieces_of(parts):
            whole += piece
            checksum = self._direct.checksum(piece, checksum)
        if checksum != filling.checksum:
            raise changed(next(part.path for part in parts if isinstance(part, FilePart)))
        return whole

    def _check(self) -> None:
        if self._given_up:
            raise _GivenUpError


def _direct(backend: Any) -> Direct | None:
    """The backend as one that takes parts of files, if it is one."""
    found: Direct | None = backend if hasattr(backend, "takes_parts") else None
    return found
