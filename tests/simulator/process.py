"""The lives of the processes: a writer that resumes, saves and completes, and a reader, on the real store code.

Everything below `Checkpoints` is real. What isn't there: files on a disk (contents are a few bytes in memory), the
saver's thread (a save happens where it is asked for), and time, which only passes by sleeping.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Callable, Iterator, Sequence

from tests.simulator.actors import Actor
from tests.simulator.judge import Files, Judge
from tests.simulator.place import Door, Place
from waypost.errors import (
    AttemptRefusedError,
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
from waypost.store.saver import Job
from waypost.store.seams import Seams
from waypost.store.sources import Content
from waypost.store.start import IssuedFences, Writer
from waypost.store.tree import Kind, Node
from waypost.store.waiting import inline

NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
NODES = tuple(Node(b"part-%d" % part, Kind.FILE, 0o644, 0, 8) for part in range(2))
SIZES = (Sizes(inline=8, pack=8), Sizes(inline=8, pack=16), Sizes(inline=8, manifest=1, pack=8), Sizes(inline=64))
"""A checkpoint of two files of 8 bytes is two packs, one pack, two packs and a manifest, or nothing but its entry."""


@dataclasses.dataclass(frozen=True)
class Town:
    """What all processes of a schedule have in common."""

    place: Place
    judge: Judge
    sizes: Sizes
    budget: Budget
    steps: Iterator[int] = dataclasses.field(default_factory=lambda: itertools.count(1))


class AtOnce:
    """A worker without a thread: the process does its saves itself."""

    def __init__(self, name: str) -> None:
        pass

    def put(self, action: Callable[[], None]) -> None:
        action()

    def stop(self) -> None:
        pass


class Clock:
    """Time that passes by sleeping, and nonces that are numbers."""

    def __init__(self, name: str) -> None:
        self.time = 0.0
        self._name, self._nonces = name, itertools.count(1)

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def seams(self) -> Seams:
        return Seams(
            nonce=lambda: f"{self._name}-{next(self._nonces)}",
            now=lambda: NOW,
            clock=lambda: self.time,
            sleep=self.sleep,
            chance=lambda: 1.0,
            at_once=_one_after_the_other,
            in_time=inline,
            worker=AtOnce,
        )


def _one_after_the_other(actions: Sequence[Callable[[], None]]) -> None:
    for action in actions:
        action()


def files(generation: int) -> Files:
    """What is saved: one part alternates, so that content pruned long ago comes back, and one is always the same."""
    return (b"oddoddod" if generation % 2 else b"eveneven", b"the same")


@dataclasses.dataclass(frozen=True)
class Writing:
    """A process that writes: resume, save, complete."""

    attempt: int
    pod: str
    saves: int = 2
    completes: bool = False
    lives: int = 1
    """How often it starts: each time a new process of the same attempt in the same pod."""

    def live(self, town: Town, actor: Actor) -> None:
        for life in range(self.lives):
            name = f"{actor.name}.{life}"
            try:
                self._one_life(town, Calls(Door(town.place, actor, name), Clock(name).seams(), town.budget))
            except StorageError:
                town.judge.met["storage errors"] += 1
            except CorruptCheckpointError as error:
                town.judge.blame("I1", f"{name} was told: {error}")

    def _one_life(self, town: Town, calls: Calls) -> None:
        judge = town.judge
        try:
            process = Process(town, calls, Writer(self.attempt, self.pod))
        except CompletedError:
            judge.was_completed(None)
            return
        except AttemptRefusedError:
            judge.was_refused(self.attempt, self.pod)
            return
        try:
            generation = process.resume()
            for save in range(1, self.saves + 1):
                process.save(generation + save)
            if self.completes:
                process.handle.complete()
                judge.was_completed(process.fence)
        except FencedError:
            judge.was_fenced(process.fence)
        except CompletedError:
            judge.was_completed(process.fence)


class Process:
    """One process that has taken the store over."""

    def __init__(self, town: Town, calls: Calls, writer: Writer) -> None:
        self._town, self._judge, self._calls = town, town.judge, calls
        self.handle = WritingHandle(calls, writer, lambda: None, self._told, town.budget, IssuedFences(), town.sizes)
        self.fence = self.handle.log.fence

    def resume(self) -> int:
        """Restore what there is; the number of saves that led to it."""
        found = deliver(self._calls, Reading(self.handle.log.journal, self.handle.log))
        if found is None:
            self._judge.resumed(self.fence, 0, None)
            return 0
        entry, content = found
        self.handle.resumed(entry.sequence)
        self._judge.resumed(self.fence, entry.sequence, content)
        generation: int = entry.metadata["generation"]
        return generation

    def save(self, generation: int) -> None:
        """Save; one that fails is given up, and the program goes on. Raises what ends the process."""
        step = next(self._town.steps)
        content = self._judge.saves[step] = files(generation)
        job: Job[CheckpointInfo] = Job(
            Content(NODES, [[piece] if piece else [] for piece in content], copied=True),
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
        door = Door(town.place, actor, actor.name)
        calls = Calls(door, Clock(actor.name).seams(), town.budget)
        for _ in range(self.times):
            door.shown = -1
            try:
                found = deliver(calls, Reading(ConditionalJournal(calls)))
            except StorageError:
                town.judge.met["storage errors"] += 1
                continue
            except CorruptCheckpointError as error:
                town.judge.blame("R", f"a reader was told: {error}")
                return
            floor = town.judge.newest_at[max(door.shown, 0)]
            if found is None:
                town.judge.read(floor, 0, None)
            else:
                town.judge.read(floor, found[0].sequence, found[1])


def deliver(calls: Calls, reading: Reading) -> tuple[Checkpoint, Files] | None:
    """What a restore gives."""

    def take(entry: Checkpoint, manifest: Manifest) -> Files:
        parts = [b""] * len(manifest.nodes)
        for piece in read_pieces(calls, entry, manifest):
            parts[piece.node] += bytes(piece.data)
        return tuple(parts)

    return reading.deliver(take)
