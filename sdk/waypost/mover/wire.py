"""What a program and its mover say to each other, over a pair of sockets: pickled, each with its length in front.

Pickle, as everywhere where one Python program talks to itself: the other end of the socket is a process that this one
has started (or was started by), from the same files.
"""

from __future__ import annotations

import array
import dataclasses
import pickle
import select
import signal
import socket
import struct
import time
from collections.abc import Sequence
from typing import Final

from waypost.mover.described import Description
from waypost.store.calls import Budget
from waypost.store.keys import Upload
from waypost.store.manifest import Chunk, Pack
from waypost.store.packing import Stock
from waypost.store.sizes import Sizes
from waypost.store.urgency import Urgency

IGNORED: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
"""What Ctrl-C and `docker stop` send to a whole group of processes: the program decides what it means for its saves."""
MOST_DESCRIPTORS: Final = 250
"""The kernel passes 253 at once."""
_HEADER: Final = struct.Struct("!QI")
"""How long the message is, and how many descriptors come with it."""
_MOST: Final = 1 << 20
_SEND_SECONDS: Final = 60.0


@dataclasses.dataclass(frozen=True)
class Work:
    """To the mover: upload what this content consists of."""

    uri: str
    budget: Budget
    upload: Upload
    sizes: Sizes
    held: Stock
    stored: frozenset[str]
    """Packs of this very upload that are in the store already, put by a mover before this one."""
    content: Description
    urgency: Urgency


@dataclasses.dataclass(frozen=True)
class Prepare:
    """To the mover: open this store, for what is going to be saved there."""

    uri: str


@dataclasses.dataclass(frozen=True)
class Heed:
    """To the mover: from now on this is how much it may take from the program."""

    urgency: Urgency


@dataclasses.dataclass(frozen=True)
class Grace:
    """To the mover: the process will be killed at this time of the monotonic clock."""

    killed_at: float


@dataclasses.dataclass(frozen=True)
class Stored:
    """From the mover: the store has confirmed this pack."""

    name: str
    size: int


@dataclasses.dataclass(frozen=True)
class Done:
    """From the mover: all of the content is in packs that were confirmed; as in a manifest, but for the nodes."""

    chunks: Sequence[Sequence[Chunk]]
    packs: Sequence[Pack]


@dataclasses.dataclass(frozen=True)
class Failed:
    """From the mover: what went wrong, as it would have in the program itself."""

    error: Exception


@dataclasses.dataclass(frozen=True)
class Unable:
    """From the mover: it can't reach the storage as the program does; nothing was tried."""


@dataclasses.dataclass(frozen=True)
class Alive:
    """From the mover, every second: it is neither frozen nor stuck, however long a pack takes."""


@dataclasses.dataclass(frozen=True)
class CannotHeed:
    """From the mover: it isn't allowed to take more."""


@dataclasses.dataclass(frozen=True)
class Said:
    """From the mover: a line for the program's log."""

    level: int
    text: str


Message = Work | Prepare | Heed | Grace | Stored | Done | Failed | Unable | Alive | CannotHeed | Said


class HungUpError(Exception):
    """The other end is gone."""


class Line:
    """One end of the pair; of two threads one may send while the other one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.settimeout(_SEND_SECONDS)
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)
        self._received = bytearray()
        self._descriptors: list[int] = []

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Say something, and pass files along. Raises HungUpError, also when nobody listens for a minute."""
        raw = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        rest = memoryview(_HEADER.pack(len(raw), len(descriptors)) + raw)
        beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            while rest:  # without a signal: who has set SIGPIPE to its default mustn't die of the other's death
                rest = rest[self._end.sendmsg([rest[:_MOST]], beside, socket.MSG_NOSIGNAL) :]
                beside = []
        except OSError as error:
            raise HungUpError(str(error)) from error

    def receive(self, timeout: float) -> tuple[Message, list[int]] | None:
        """What the other end says, and the files it passes; None when that isn't whole within `timeout` seconds.

        Raises HungUpError.
        """
        end = time.monotonic() + timeout
        while (message := self._take()) is None:
            if not self._poll.poll(max(0.0, end - time.monotonic()) * 1000):
                return None
            try:
                data, descriptors, _, _ = socket.recv_fds(self._end, _MOST, MOST_DESCRIPTORS)
            except OSError as error:
                raise HungUpError(str(error)) from error
            self._descriptors += descriptors
            if not data:
                raise HungUpError("the other process is gone")
            self._received += data
        return message

    def close(self) -> None:
        """Hang up."""
        self._end.close()

    def _take(self) -> tuple[Message, list[int]] | None:
        if len(self._received) < _HEADER.size:
            return None
        length, count = _HEADER.unpack_from(self._received)
        if len(self._received) < (end := _HEADER.size + length):
            return None
        message: Message = pickle.loads(memoryview(self._received)[_HEADER.size : end])  # noqa: S301 - see above
        self._received = self._received[end:]
        descriptors, self._descriptors = self._descriptors[:count], self._descriptors[count:]
        return message, descriptors
