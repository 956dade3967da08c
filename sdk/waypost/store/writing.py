"""The files of a restore while their bytes come in, from several threads and in any order.

A file stays open until all of its bytes were written: opening and closing it for each piece costs little on a local
disk, but on a network disk a round trip, and every close waits there until the server has what was written.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from waypost.store.incoming import Piece

_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_MODE: Final = 0o600
_MOST_IDLE: Final = 64
"""Files that are open though nobody writes to them now; far below what a process may have open."""


@dataclasses.dataclass(slots=True)
class _File:
    descriptor: int
    writers: int = 0


class Files:
    """Files to be filled; one that isn't there yet is made by its first piece.

    As a context: closed behind it, when nobody writes any more.
    """

    def __init__(self, paths: Sequence[bytes], sizes: Sequence[int]) -> None:
        """Of each node: where its file is, and how many bytes will come."""
        self._paths, self._left = paths, list(sizes)
        self._open: dict[int, _File] = {}
        self._lock = threading.Lock()

    def take(self, piece: Piece) -> None:
        """Write a piece. Raises OSError."""
        file = self._enter(piece.node)
        try:
            done = 0
            while done < len(piece.data):
                done += os.pwrite(file.descriptor, piece.data[done:], piece.offset + done)
        finally:
            self._leave(piece.node, file, len(piece.data))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._open.values():
            os.close(file.descriptor)
        self._open.clear()

    def _enter(self, node: int) -> _File:
        if (file := self._entered(node)) is not None:
            return file
        descriptor = os.open(self._paths[node], _WRITE, _MODE)
        file = self._entered(node, descriptor)
        assert file is not None
        if file.descriptor != descriptor:  # another thread was as quick
            os.close(descriptor)
        return file

    def _entered(self, node: int, descriptor: int | None = None) -> _File | None:
        """The file, if it is open, or is by now by this descriptor; the lock is held for no call into the system."""
        with self._lock:
            file = self._open.get(node)
            if file is None:
                if descriptor is None:
                    return None
                file = self._open[node] = _File(descriptor)
            file.writers += 1
            return file

    def _leave(self, node: int, file: _File, size: int) -> None:
        with self._lock:
            file.writers -= 1
            self._left[node] -= size  # what is read again is counted again; then it is closed early, and opened again
            if file.writers or (self._left[node] > 0 and len(self._open) <= _MOST_IDLE):
                return
            del self._open[node]
        os.close(file.descriptor)
