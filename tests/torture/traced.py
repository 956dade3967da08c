"""A backend that notes every request before it is sent and after it was answered, and can freeze its process there.

Of the requests only what they are about is noted; whoever reads the notes knows in the middle of what a process was
when it ended: a request without its `done`.
"""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from waypost.backends.protocol import Backend, Take

Note = Callable[..., None]
_SAVE = b'{"type":"CHECKPOINT"'
_STUB = b'"stub":true'
"""Without conditional writes entries are put as stubs are, so their content has to tell them apart."""


@dataclass(frozen=True)
class Freeze:
    """SIGSTOP to oneself right before or right after the n-th put of a CHECKPOINT."""

    when: Literal["before", "after"]
    nth: int


class TracedBackend:
    """`backend`, with a note of every request."""

    def __init__(self, backend: Backend, note: Note, freeze: Freeze | None = None) -> None:
        self._backend, self._note, self._freeze = backend, note, freeze
        self._numbers, self._saves = itertools.count(1), itertools.count(1)

    @property
    def uri(self) -> str:
        return self._backend.uri

    def put_new(self, key: str, data: bytes) -> None:
        with self._noted("put_new", key.partition("/")[0]), self._frozen_around(data):
            self._backend.put_new(key, data)

    def put(self, key: str, data: bytes | memoryview) -> None:
        where = "stubs" if key.startswith("log/") and _STUB in bytes(data) else key.partition("/")[0]
        with self._noted("put", where), self._frozen_around(data if where == "log" else b""):
            self._backend.put(key, data)

    def get(self, key: str, limit: int) -> bytes:
        with self._noted("get", key.partition("/")[0]):
            return self._backend.get(key, limit)

    def read_range(self, key: str, start: int, length: int, take: Take) -> None:
        with self._noted("read_range", key.partition("/")[0]):
            self._backend.read_range(key, start, length, take)

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        with self._noted("list", prefix.rstrip("/")):
            return self._backend.list(prefix, start_after, limit)

    def delete(self, key: str) -> None:
        with self._noted("delete", key.partition("/")[0]):
            self._backend.delete(key)

    def close(self) -> None:
        self._backend.close()

    @contextmanager
    def _noted(self, verb: str, where: str) -> Iterator[None]:
        number = next(self._numbers)
        self._note("request", number, verb, where)
        try:
            yield
        finally:
            self._note("done", number)

    @contextmanager
    def _frozen_around(self, data: bytes | memoryview) -> Iterator[None]:
        number = next(self._saves) if bytes(data[: len(_SAVE)]) == _SAVE else 0
        self._stop_if_told("before", number)
        yield
        self._stop_if_told("after", number)

    def _stop_if_told(self, when: Literal["before", "after"], number: int) -> None:
        if self._freeze == Freeze(when, number):
            self._note("freezing", when)
            # at this very thread: another one would stop a little later, and this one with it
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
