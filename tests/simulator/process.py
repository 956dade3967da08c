"""The lives of the processes: a writer that resumes, saves and completes, and a reader, on the real store code.

Everything below `Checkpoints` is real. What isn't there: files on a disk (contents are a few bytes in memory), the
saver's thread (a save happens where it is asked for), and time, which only passes by sleeping.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import itertools
from collections.abc import Callable, Iterator, Sequence

from tests.simulator.actors import Actor
from tests.simulator.judge import Files, Judge
from tests.simulator.place import Door, Place
from waypost.errors import (
    AttemptRefusedError,
    CheckpointPrunedError,
    CompletedError,
    CorruptCheckpointError,
    FencedError,
    StorageError,
)
from waypost.store.calls import Budget, Calls
from waypost.store.conditional import ConditionalJournal
from waypost.store.entries import Checkpoint
from waypost.store.handle import WritingHandle
from waypost.store.info import CheckpointInfo
from waypost.store.manifest import Manifest
from waypost.store.packs import Sizes, read_pieces
from waypost.store.reading import Reading
from waypost.store.retention import Retention
from waypost.store.saver import Job
from waypost.store.seams import Seams
from waypost.store.sources import Content
from waypost.store.start import IssuedFences, Writer
from waypost.store.tree import Kind, Node
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


@dataclasses.dataclass(frozen=True)
class Town:
    """What all processes of a schedule have in common."""

    place: Place
    judge: Judge
    shape: Shape
    budget: Budget
    steps: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))


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
    """Time that passes by sleeping, and nonces that are numbers."""

    def __init__(self, actor: Actor, name: str) -> None:
        self.time = 0.0
        self.worker = Queue()
        self._actor, self._name, self._nonces = actor, name, itertools.count(1)

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def seams(self) -> Seams:
        return Seams(
            nonce=lambda: f"{self._name}{self._actor.mark}-{next(self._nonces)}",
            now=lambda: NOW,
            clock=lambda: self.time,
            sleep=self.sleep,
            chance=lambda: 1.0,
            at_once=_one_after_the_other,
            in_time=inline,
            worker=lambda name: self.worker,
        )


def _one_after_the_other(actions: Sequence[Callable[[], None]]) -> None:
    for action in actions:
        action()


def files(generation: int, times: int) -> Files:
    """What is saved: one part alternates, so that content pruned long ago comes back, and one is always the same."""
    return (b"oddoddod" * times if generation % 2 else b"eveneven" * times, b"the same" * times)


@dataclasses.dataclass(frozen=True)
class Writing:
    """A process that writes: resume, save, complete."""

    attempt: int
    pod: str
    saves: int = 2
    completes: bool = False
    picks: bool = False
    """Whether it restores an older checkpoint than the newest, and goes on from there."""
    keeps: int | None = 1
    """How many checkpoints its retention keeps; None for all."""
    idles: int = 4
    """What its worker may do between two saves of the program, before the next one takes its turn."""
    lives: int = 1
    """How often it starts: each time a new process of the same attempt in the same pod."""

    def live(self, town: Town, actor: Actor) -> None:
        name = actor.first_name
        for life in range(self.lives):
            try:
                self._one_life(town, actor, Clock(actor, f"{name}.{life}"))
            except StorageError:
                town.judge.met["storage errors"] += 1
            except CorruptCheckpointError as error:
                town.judge.was_told_of_damage("I1", str(error))

    def _one_life(self, town: Town, actor: Actor, clock: Clock) -> None:
        judge = town.judge
        try:
            process = Process(town, actor, clock, self)
        except CompletedError:
            judge.was_completed(None)
            return
        except AttemptRefusedError:
            judge.was_refused(self.attempt, self.pod)
            return
        try:
            generation = process.resume()
            if self.picks:
                generation = process.pick(generation)
            for save in range(1, self.saves + 1):
                process.save(generation + save)
                for _ in range(self.idles):
                    clock.worker.work()
            if self.completes:
                process.handle.complete()
                judge.was_completed(process.fence)
            process.handle.finish_tidying()
        except FencedError:
            judge.was_fenced(process.fence)
        except CompletedError:
            judge.was_completed(process.fence)


class Process:
    """One process that has taken the store over."""

    def __init__(self, town: Town, actor: Actor, clock: Clock, program: Writing) -> None:
        self._town, self._judge, self._actor = town, town.judge, actor
        calls = self._calls = Calls(Door(town.place, actor), clock.seams(), town.budget)
        self.handle = WritingHandle(
            calls,
            Writer(program.attempt, program.pod),
            lambda: None,
            self._told,
            town.budget,
            retention=None if program.keeps is None else Retention(keep_last=program.keeps),
            issued=IssuedFences(),
            sizes=town.shape.sizes,
        )
        self.handle.saver.begin_tidying()
        self.fence = self.handle.log.fence

    def resume(self) -> int:
        """Restore what there is; the number of saves that led to it."""
        found = deliver(self._calls, Reading(self.handle.log.journal, self.handle.log))
        if found is None:
            self._judge.resumed(self.fence, 0, None)
            return 0
        return self._go_on_from(*found)

    def pick(self, generation: int) -> int:
        """Go on from the second newest instead, if there is one."""
        second = [*self.handle.log.state.live, 0, 0][1]
        if not second:
            return generation
        self._judge.met["older one picked"] += 1
        try:
            found = deliver(self._calls, Reading(self.handle.log.journal, self.handle.log), second, strict=True)
        except CheckpointPrunedError:
            self._judge.was_pruned(second)
            return generation
        assert found is not None
        return self._go_on_from(*found, picked=second)

    def _go_on_from(self, entry: Checkpoint, content: Files, picked: int = 0) -> int:
        self.handle.resumed(entry.sequence)
        self._judge.resumed(self.fence, entry.sequence, content, picked)
        generation: int = entry.metadata["generation"]
        return generation

    def save(self, generation: int) -> None:
        """Save; one that fails is given up, and the program goes on. Raises what ends the process."""
        step = self._actor.learn(lambda: next(self._town.steps))
        content = self._judge.saves[step] = files(generation, self._town.shape.times)
        nodes = [Node(b"part-%d" % part, Kind.FILE, 0o644, 0, len(data)) for part, data in enumerate(content)]
        job: Job[CheckpointInfo] = Job(
            Content(nodes, [[piece] if piece else [] for piece in content], copied=True),
            step,
            {},
            {"generation": generation},
            keeps_turn=True,
        )
        self.handle.saver.submit(job)
        error = job.latch.tell()
        if isinstance(error, StorageError):
            self._judge.failed(step, error.outcome)
        elif error is not None:
            raise error
        else:
            self._judge.confirmed(self.fence, job.latch.value.sequence, step)

    def _told(self, info: CheckpointInfo) -> None:
        """The document of the attempt: written before anybody is told."""
        assert info.step is not None
        self._judge.confirmed(self.fence, info.sequence, info.step)


@dataclasses.dataclass(frozen=True)
class Watching:
    """A process that only reads, again and again."""

    times: int = 3

    def live(self, town: Town, actor: Actor) -> None:
        door = Door(town.place, actor)
        calls = Calls(door, Clock(actor, actor.name).seams(), town.budget)
        for _ in range(self.times):
            door.shown = -1
            try:
                found = deliver(calls, Reading(ConditionalJournal(calls)))
            except StorageError:
                town.judge.met["storage errors"] += 1
                continue
            except CorruptCheckpointError as error:
                town.judge.was_told_of_damage("R", str(error))
                return
            floor = town.judge.newest_at[max(door.shown, 0)]
            if found is None:
                town.judge.read(floor, 0, None)
            else:
                town.judge.read(floor, found[0].sequence, found[1])


def deliver(
    calls: Calls, reading: Reading, first: int | None = None, *, strict: bool = False
) -> tuple[Checkpoint, Files] | None:
    """What a restore gives."""

    def take(entry: Checkpoint, manifest: Manifest) -> Files:
        parts = [b""] * len(manifest.nodes)
        for piece in read_pieces(calls, entry, manifest):
            parts[piece.node] += bytes(piece.data)
        return tuple(parts)

    return reading.deliver(take, first, strict=strict)
