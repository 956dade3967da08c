"""The mover's own side: packs what it is told to, and says what the store has confirmed.

It lives exactly as long as its parent: the socket ends with it, and where somebody else still holds the parent's end
(a process that was forked without Python's knowing), the parent's number tells.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from waypost.backends.opening import open_backend
from waypost.backends.protocol import Backend, Cord, Part
from waypost.errors import ConfigurationError
from waypost.log import logger
from waypost.mover.described import content_of
from waypost.mover.politeness import Manners
from waypost.mover.wire import (
    Alive,
    CannotHeed,
    Done,
    Failed,
    Grace,
    Heed,
    HungUpError,
    Line,
    Message,
    Prepare,
    Said,
    Stored,
    Unable,
    Work,
)
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.packing import pack_content
from waypost.store.seams import Seams
from waypost.store.urgency import Urgency

_LOOK_SECONDS: Final = 1.0


def serve(line: Line, parent: int) -> None:
    """Do what the parent says, until it hangs up or is gone; doesn't return."""
    if os.getppid() != parent:
        os._exit(0)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # of the two, this one can be replaced
    _Serving(line, parent).run()


class _Serving:
    def __init__(self, line: Line, parent: int) -> None:
        self._line, self._parent = line, parent
        self._speaking = threading.Lock()
        self._works: queue.SimpleQueue[tuple[Work | Prepare, list[int]]] = queue.SimpleQueue()
        self._backends: dict[str, Backend] = {}
        self._killed_at: float | None = None
        self._heeding = threading.Lock()
        self._urgency = Urgency.NORMAL
        self._manners: Manners | None = None
        logger.handlers = [_ToParent(self._say)]
        logger.propagate = False

    def run(self) -> None:
        threading.Thread(target=self._listen, name="waypost-mover-ear", daemon=True).start()
        while True:
            work, descriptors = self._works.get()
            if isinstance(work, Prepare):
                with contextlib.suppress(ConfigurationError):  # it is said when there is something to be saved
                    self._backend(work.uri)
                self._prepare(work.uri)
                continue
            try:
                answer = self._pack(work, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            self._say(answer)
            self._prepare(work.uri)

    def _prepare(self, uri: str) -> None:
        """Load what a large save needs, as long as none waits."""
        prepare = getattr(self._backends.get(uri), "prepare", None)
        if prepare is None or not self._works.empty():
            return
        try:
            prepare()
        except MemoryError:
            os._exit(1)
        except Exception as error:  # noqa: BLE001 - whoever needs it will say so
            logger.debug("what sends large packs can't be loaded: %s", error)

    def _listen(self) -> None:
        self._manners = Manners([threading.get_native_id()])  # whatever happens, this one hears the parent go
        while os.getppid() == self._parent:
            try:
                heard = self._line.receive(_LOOK_SECONDS)
            except HungUpError:
                break
            match heard:
                case Work() as work, descriptors:
                    self._urgency = work.urgency
                    self._works.put((work, descriptors))
                case Prepare() as work, _:
                    self._works.put((work, []))
                case Heed(urgency), _:
                    self._urgency = urgency
                    self._heed()
                case Grace(killed_at), _:
                    self._killed_at = killed_at
                case _:
                    self._say(Alive())
        os._exit(0)  # whatever is under way: nobody will ever name it

    def _pack(self, work: Work, descriptors: Sequence[int]) -> Done | Failed | Unable:
        try:
            backend = self._backend(work.uri)
        except ConfigurationError:
            return Unable()  # a scheme or a package that the program has brought in by itself
        self._heed()  # now that the client library is loaded, which takes a while of a core of one's own
        calls = Calls(_Telling(backend, work.stored, self._say), Seams(), work.budget, grace=self._grace)
        try:
            content = content_of(work.content, descriptors)
            packed = pack_content(content, calls, work.upload, work.sizes, work.held, self._is_modest)
            return Done(packed.chunks, packed.packs)
        except MemoryError:
            os._exit(1)  # that is this process's own trouble
        except Exception as error:  # noqa: BLE001 - it is raised where the save is waited for
            return Failed(error)

    def _is_modest(self) -> bool:
        """Whether the program uses the cores: then each thread gets a small share of one, and takes it."""
        return self._urgency in (Urgency.POLITE, Urgency.KEEN)

    def _heed(self) -> None:
        assert self._manners is not None
        with self._heeding:
            heeded = self._manners.adopt(self._urgency)
        if not heeded:
            self._say(CannotHeed())

    def _backend(self, uri: str) -> Backend:
        if uri not in self._backends:
            self._backends[uri] = open_backend(uri)
        return self._backends[uri]

    def _grace(self) -> float | None:
        return None if self._killed_at is None else max(0.0, self._killed_at - time.monotonic())

    def _say(self, message: Message) -> None:
        with self._speaking:
            try:
                self._line.send(message)
            except HungUpError:
                os._exit(0)


class _Telling:
    """A backend that says which packs the store has confirmed, and sends none that it had before."""

    def __init__(self, backend: Backend, stored: frozenset[str], say: Callable[[Message], None]) -> None:
        self._backend, self._stored, self._tell = backend, stored, say

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write `key`, unless it is one of those."""
        name = key.removeprefix(keys.PACKS)
        if name not in self._stored:
            self._backend.put(key, data)
            self._tell(Stored(name, len(data)))

    def put_parts(self, key: str, parts: Sequence[Part], checksum: int, cord: Cord) -> None:
        """Likewise. To be called only where the backend has it."""
        name = key.removeprefix(keys.PACKS)
        if name not in self._stored:
            place: Any = self._backend
            place.put_parts(key, parts, checksum, cord)
            self._tell(Stored(name, sum(len(part) if isinstance(part, memoryview) else part.length for part in parts)))


class _ToParent(logging.Handler):
    """The program's log gets what would have been said there."""

    def __init__(self, say: Callable[[Message], None]) -> None:
        super().__init__()
        self._tell = say

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(Said(record.levelno, record.getMessage()))
