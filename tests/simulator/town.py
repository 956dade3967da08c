"""What the processes of a schedule have in common: the place, what a checkpoint is made of, and time.

Time only passes by sleeping, nonces follow from a count, and a worker is no thread: its process does
the queued things itself.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from tests.simulator.actors import Actor
from tests.simulator.judge import Files, Judge
from tests.simulator.place import Place
from waypost.store.calls import Budget, Calls
from waypost.store.entries import Checkpoint
from waypost.store.fetching import read_pieces
from waypost.store.format import Mode
from waypost.store.incoming import Piece
from waypost.store.manifest import Manifest
from waypost.store.seams import InTurn, Seams
from waypost.store.sizes import Sizes
from waypost.store.waiting import inline

NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
SIZE = 8


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a checkpoint is made of: two files, of so many times 8 bytes."""

    sizes: Sizes
    times: int = 1


SHAPES = (
    Shape(Sizes(inline=SIZE, pack=SIZE)),
    Shape(Sizes(inline=SIZE, pack=2 * SIZE)),
    Shape(Sizes(inline=SIZE, manifest=1, pack=SIZE)),
    Shape(Sizes(inline=2 * SIZE)),
    Shape(Sizes(), times=400),
)
"""Two packs; one pack; two packs and a manifest; nothing but the entry; an entry so large that it shrinks to a stub."""


@dataclasses.dataclass
class Town:
    """What all processes of a schedule have in common."""

    place: Place
    judge: Judge
    shape: Shape
    budget: Budget
    mode: Mode = Mode.CONDITIONAL
    source: Town | None = None
    """The store that the task starts from, and who watches it."""
    steps: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))


class Role(Protocol):
    """What a process of a cast does."""

    def live(self, town: Town, actor: Actor) -> None:
        """Its life, from its start to its end."""


Lives = tuple[tuple[Role, ...], ...]
"""One after the other; of several in one place, each takes a step in turn."""


class Queue:
    """A worker without a thread: the process does the queued things itself, while it waits for one of them or idles."""

    def __init__(self, name: str = "") -> None:
        self._actions: collections.deque[Callable[[], None]] = collections.deque()
        self._working = False

    def put(self, action: Callable[[], None]) -> None:
        """Queue it; from outside the worker, do all that was queued before, and it."""
        self._actions.append(action)
        if not self._working:
            while action in self._actions:
                self.work()

    def work(self) -> None:
        """Do the next thing, if there is one."""
        if self._actions:
            self._working = True
            try:
                self._actions.popleft()()
            finally:
                self._working = False

    def stop(self) -> None:
        """Nothing runs on by itself."""


class Clock:
    """Time that passes by sleeping, and nonces that follow from the process and a number."""

    def __init__(self, actor: Actor, name: str) -> None:
        self.time = 0.0
        self.worker = Queue()
        self._actor, self._name, self._nonces = actor, name, itertools.count(1)

    def _nonce(self) -> str:
        named = f"{self._name}{self._actor.mark}-{next(self._nonces)}"
        return hashlib.blake2b(named.encode(), digest_size=16).hexdigest()

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def seams(self) -> Seams:
        return Seams(
            nonce=self._nonce,
            now=lambda: NOW,
            clock=lambda: self.time,
            sleep=self.sleep,
            chance=lambda: 1.0,
            at_once=_one_after_the_other,
            in_time=inline,
            pool=lambda most, name: InTurn(),
            worker=lambda name: self.worker,
        )


def _one_after_the_other(actions: Sequence[Callable[[], None]]) -> None:
    for action in actions:
        action()


def content(generation: int, times: int) -> Files:
    """What is saved: one part alternates, so that content pruned long ago comes back, one is always the same, and one
    is new in most: it stands in no other's packs, so that damage leaves an earlier checkpoint whole."""
    return (
        b"oddoddod" * times if generation % 2 else b"eveneven" * times,
        b"the same" * times,
        b"%8d" % (generation - generation % 3) * times,
    )


def restored(calls: Calls, entry: Checkpoint, manifest: Manifest) -> Files:
    """What a restore puts on the disk."""
    parts = [bytearray(node.size) for node in manifest.nodes]

    def take(piece: Piece) -> None:
        parts[piece.node][piece.offset : piece.offset + len(piece.data)] = piece.data

    read_pieces(calls, entry, manifest, take)
    return tuple(bytes(part) for part in parts)
