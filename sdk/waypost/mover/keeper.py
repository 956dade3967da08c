"""The program's side of the mover: starts it when there is something to move, and does without it when it can't be had.

One mover for each handle on a store, started at the first save that is worth it, or as soon as a state that large was
restored: a process costs some 0.2 s of a core once, and the first save needn't wait for that. A mover that dies, most
likely because memory ran out, is replaced once within a save; what the store has confirmed of that save isn't sent
again. After that this process moves its saves itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from waypost.log import logger
from waypost.mover.described import Described
from waypost.mover.hunger import Hunger
from waypost.mover.wire import (
    IGNORED,
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
from waypost.store.calls import Calls
from waypost.store.keys import MIB, Upload
from waypost.store.manifest import Manifest
from waypost.store.packing import NOTHING_HELD, Stock, pack_content
from waypost.store.progress import current
from waypost.store.sizes import SIZES, Sizes
from waypost.store.sources import Content
from waypost.store.urgency import Urgency
from waypost.store.waiting import SLICE_SECONDS

LEAST: Final = MIB
"""What is smaller than this takes the program less time to send than to hand over."""
_MOVERS: Final = 2
"""For one save."""
_SILENCE: Final = 60.0
"""Seconds without a word, from one that says something every second, after which it is taken for dead."""
_SILENCE_UNDER_STOP: Final = 5.0
_CLOSING_SECONDS: Final = 5.0


class DiedError(Exception):
    """A mover ended, or fell silent."""


class _TooPoliteError(Exception):
    """A mover may not take as much as it should now."""


class Mover:
    """Has contents packed and uploaded by a process beside this one. To be used from one thread at a time."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """`environment`: what tells the mover where the storage is, and by which credentials; as it is now."""
        self._environment = {**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.urgency: Callable[[], Urgency] = lambda: Urgency.NORMAL
        """Asked again and again; with a stop order everything is urgent."""
        self._process: _Process | None = None
        self._given_up = not _possible()
        self._least = Urgency.IDLE
        """Less than this has been seen to lead nowhere."""

    @property
    def pid(self) -> int | None:
        """The number of the process, None without one."""
        return None if self._process is None else self._process.pid

    def prepare(self, uri: str, size: int) -> None:
        """Saves of some `size` bytes are going to come, to this store: have a process ready."""
        if self._given_up or self._process is not None or size < LEAST:
            return
        try:
            self._process = _Process(self._environment)
            self._process.send(Prepare(uri))
        except DiedError as death:
            logger.debug("the process that uploads this program's saves %s", death)
            self.close()

    def pack(
        self,
        content: Content,
        calls: Calls,
        upload: Upload,
        sizes: Sizes = SIZES,
        held: Stock = NOTHING_HELD,
        /,
    ) -> Manifest:
        """As `packing.pack_content`. What the interrupt of `calls` raises ends the upload at once."""
        packed = None if self._given_up or content.size < LEAST else self._pack(content, calls, upload, sizes, held)
        return pack_content(content, calls, upload, sizes, held) if packed is None else packed

    def _pack(self, content: Content, calls: Calls, upload: Upload, sizes: Sizes, held: Stock) -> Manifest | None:
        """None: it can't be done there."""
        try:
            described = Described(content)
        except (OSError, ValueError):
            return None
        work = Work(
            calls.backend.uri,
            calls.budget,
            upload,
            sizes,
            held,
            frozenset(),
            described.description,
            Urgency.NORMAL,
        )
        with contextlib.closing(described):
            stored: set[str] = set()
            deaths = 0
            while deaths < _MOVERS:
                work = dataclasses.replace(work, stored=frozenset(stored), urgency=self._wanted(calls))
                try:
                    answer = self._have_done(calls, work, described.descriptors, stored)
                except _TooPoliteError:
                    self.close()
                    continue
                except DiedError as death:
                    self.close()
                    deaths += 1
                    logger.warning("the process that uploads this program's saves %s; the save goes on", death)
                    continue
                except BaseException:
                    self.close()  # and with it all that is on its way
                    raise
                match answer:
                    case Done(chunks, packs):
                        return Manifest(content.nodes, chunks, packs)
                    case Failed(error):
                        raise error
                    case Unable():
                        self.close()
                        self._given_up = True
                        return None
        self._given_up = True
        logger.warning("from now on this program uploads its saves itself")
        return None

    def _wanted(self, calls: Calls) -> Urgency:
        return Urgency.NORMAL if calls.remaining_grace() is not None else max(self._least, self.urgency())

    def close(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            process.end()

    def _have_done(
        self, calls: Calls, work: Work, descriptors: Sequence[int], stored: set[str]
    ) -> Done | Failed | Unable:
        fresh = self._process is None
        if self._process is None:
            self._process = _Process(self._environment)
        process, urgency = self._process, work.urgency
        process.send(work, descriptors)
        progress = current()
        hunger = Hunger(Path(f"/proc/{process.pid}"))
        heard, graced = time.monotonic(), False
        while (silence := time.monotonic() - heard) < (_SILENCE if not graced else _SILENCE_UNDER_STOP):
            calls.check()
            if progress is not None:
                progress.tell()
            if not graced and (left := calls.remaining_grace()) is not None:
                graced = True
                process.send(Grace(time.monotonic() + left))
            if urgency is Urgency.IDLE and hunger.starves():
                self._least = Urgency.POLITE
            if (now := self._wanted(calls)) > urgency:  # never down: it may not come up again
                urgency = now
                process.send(Heed(urgency))
            message = process.receive(SLICE_SECONDS)
            if message is None:
                continue
            heard = time.monotonic()
            match message:
                case Stored(name, size):
                    stored.add(name)
                    if progress is not None:
                        progress.add(size)
                    hunger = Hunger(Path(f"/proc/{process.pid}"))
                case Done() | Failed() | Unable():
                    return message
                case CannotHeed() if not fresh or urgency > work.urgency:
                    raise _TooPoliteError
                case Said(level, text):
                    logger.log(level, "%s", text)
                case _:
                    pass
        raise DiedError(f"has said nothing for {silence:.0f} s")


class _Process:
    """A running mover."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Raises DiedError when there can be none."""
        ours, theirs = socket.socketpair()
        self._line = Line(ours)
        command = [sys.executable, "-P", "-m", "waypost.mover", str(theirs.fileno()), str(os.getpid())]
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)  # until the mover ignores them itself
        try:
            self._popen = subprocess.Popen(
                command,
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        except (OSError, RuntimeError) as error:  # no memory, no more processes; or this one ends, and may start none
            ours.close()
            raise DiedError(f"can't be started: {error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
        _running.add(self)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Tell it. Raises DiedError."""
        try:
            self._line.send(message, descriptors)
        except HungUpError as error:
            raise self._death() from error

    def receive(self, timeout: float) -> Message | None:
        """What it says; None without a word within `timeout` seconds. Raises DiedError."""
        try:
            heard = self._line.receive(timeout)
        except HungUpError as error:
            raise self._death() from error
        return None if heard is None else heard[0]

    def end(self) -> None:
        """Kill it: the packs that it is sending stay unfinished, and nobody names them."""
        self._line.close()
        self._popen.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel, on a dead network disk
            self._popen.wait(_CLOSING_SECONDS)

    def forget(self) -> None:
        """In a forked child: it isn't this process's."""
        self._line.close()
        self._popen.returncode = 0

    def _death(self) -> DiedError:
        try:
            code = self._popen.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            return DiedError("hung up")
        return DiedError(f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}")


def _possible() -> bool:
    """Whether there can be a mover: not outside Linux, nor where this interpreter can't be started by its name."""
    return sys.platform == "linux" and bool(sys.executable) and not getattr(sys, "frozen", False)


_running: Final[weakref.WeakSet[_Process]] = weakref.WeakSet()


def _forget() -> None:
    for process in list(_running):
        process.forget()


os.register_at_fork(after_in_child=_forget)
