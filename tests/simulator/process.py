"""The life of a writer that resumes, saves and completes, on the real store code.

Everything below `Checkpoints` is real. What isn't there: files on a disk (contents are a few bytes in memory), the
saver's thread (a save happens where it is asked for), and time, which only passes by sleeping.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Final

from tests.simulator.actors import Actor
from tests.simulator.judge import Files, Judge
from tests.simulator.place import Door
from tests.simulator.town import Clock, Role, Town, content, restored
from waypost.contract import Transfer
from waypost.errors import (
    AttemptRefusedError,
    CheckpointPrunedError,
    CompletedError,
    CorruptCheckpointError,
    FencedError,
    StorageError,
)
from waypost.store import parts
from waypost.store.calls import Budget, Calls
from waypost.store.entries import Checkpoint
from waypost.store.group import Group
from waypost.store.handle import WritingHandle
from waypost.store.info import CheckpointInfo
from waypost.store.manifest import Manifest
from waypost.store.resuming import Delivered, Resuming, Which
from waypost.store.retention import Retention
from waypost.store.saver import Job
from waypost.store.sources import Content
from waypost.store.start import IssuedFences, Writer
from waypost.store.start_point import StartPoint
from waypost.store.tree import Kind, Node

TOGETHER: Final = Budget(seconds=8.0, first_pause=0.25, longest_pause=1.0)
"""How long a rank waits for the others: ten looks."""


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
    begins_at: int | None = None
    """Which checkpoint of the source the task names, if it names one."""
    group: Group | None = None
    """If it is one of several ranks, which."""
    asks_for: Which = None
    """What its program restores: the newest, or what this attempt goes on from."""

    def live(self, town: Town, actor: Actor) -> None:
        name = actor.first_name
        for life in range(self.lives):
            try:
                self._one_life(town, actor, Clock(actor, f"{name}.{life}"))
            except Ended:
                pass
            except StorageError:
                town.judge.met["storage errors"] += 1
            except CorruptCheckpointError as error:
                town.judge.was_told_of_damage("I1", str(error))
            except CheckpointPrunedError:
                assert town.source is not None
                assert self.begins_at is not None
                town.source.judge.was_pruned(self.begins_at)

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
        calls = Calls(Door(town.place, actor), clock.seams(), town.budget)
        source = None if town.source is None else _Source(town.source, actor, clock, program.begins_at)
        with _told_of_nothing_to_begin_from(source):
            self.handle = WritingHandle(
                calls,
                Writer(program.attempt, program.pod, program.group),
                lambda: None,
                self._told,
                town.budget,
                retention=None if program.keeps is None else Retention(keep_last=program.keeps),
                issued=IssuedFences(),
                sizes=town.shape.sizes,
                start_point=None if source is None else source.point,
                together=TOGETHER,
            )
        self.fence = self.handle.log.fence
        self._judge.started(self.fence, program.keeps)
        self.handle.saver.begin_tidying()
        self._asks_for, self._source, self._group = program.asks_for, source, program.group
        self._rank = None if program.group is None else program.group.rank
        self._saves = itertools.count(1)
        log = self.handle.log
        self._resuming = Resuming(calls, log.journal.through, self.handle, self.handle.start_point, lambda: None)

    def resume(self) -> int:
        """Restore what there is; the number of saves that led to it."""
        with _told_of_nothing_to_begin_from(self._source):
            found = self._resuming.deliver(self._take, self._asks_for)
        if found is None:
            self._judge.resumed(self.fence, 0, None, rank=self._rank)
            return 0
        if found.info.origin is None:
            return self._goes_on_from(found)
        assert self._source is not None
        sequence, named = found.info.sequence, self._source.point.sequence
        self._judge.began(self.fence, found.info.origin, self._source.floor, sequence, found.value, named)
        return _generation(found)

    def pick(self, generation: int) -> int:
        """Go on from the second newest instead, if there is one."""
        second = [*self.handle.log.state.live, 0, 0][1]
        if not second:
            return generation
        self._judge.met["older one picked"] += 1
        try:
            found = self._resuming.deliver(restored, second)
        except CheckpointPrunedError:
            self._judge.was_pruned(second)
            return generation
        assert found is not None
        return self._goes_on_from(found, picked=second)

    def _goes_on_from(self, found: Delivered[Files], picked: int = 0) -> int:
        self._judge.resumed(self.fence, found.info.sequence, found.value, picked, self._rank)
        return _generation(found)

    def save(self, generation: int) -> None:
        """Save; one that fails is given up, and the program goes on. Raises what ends the process."""
        step, pieces = self._next(generation)
        self._judge.about_to_save(step, self._rank, pieces)
        ordinal = self.handle.turn()
        nodes = [Node(b"part-%d" % part, Kind.FILE, 0o644, 0, len(data)) for part, data in enumerate(pieces)]
        job: Job[CheckpointInfo] = Job(
            Content(nodes, [[piece] if piece else [] for piece in pieces], copied=True),
            step,
            {},
            {"generation": generation},
            keeps_turn=True,
            ordinal=ordinal,
        )
        self.handle.saver.submit(job)
        error = job.latch.tell()
        if isinstance(error, StorageError):
            self._judge.failed(step, error.outcome)
        elif error is not None:
            raise error
        else:
            self._judge.confirmed(self.fence, job.latch.value.sequence, step)

    def _next(self, generation: int) -> tuple[int, Files]:
        """The step of the next save, which all ranks have to know, and what is saved."""
        if self._rank is None:
            return self._actor.learn(lambda: next(self._town.steps)), content(generation, self._town.shape.times)
        number = next(self._saves)
        part = b"%4d%1d%3s" % (self.fence, self._rank, f"{self._actor.first_name}.{number}".encode()[-3:])
        return 1000 * self.fence + number, (part * self._town.shape.times, b"the same" * self._town.shape.times)

    def _take(self, calls: Calls, entry: Checkpoint, whole: Manifest) -> Files:
        return restored(calls, entry, parts.chosen(entry, whole, None, self._group))

    def _told(self, info: CheckpointInfo, save: Transfer) -> None:
        """The document of the attempt: written before anybody is told."""
        assert info.step is not None
        self._judge.confirmed(self.fence, info.sequence, info.step)


def _generation(found: Delivered[Files]) -> int:
    generation: int = found.info.metadata["generation"]
    return generation


class _Source:
    """The store that the task starts from, as one process reads it."""

    def __init__(self, town: Town, actor: Actor, clock: Clock, begins_at: int | None) -> None:
        self._town, self._door = town, Door(town.place, actor)
        self.point = StartPoint(Calls(self._door, clock.seams(), town.budget), begins_at)

    @property
    def judge(self) -> Judge:
        return self._town.judge

    @property
    def floor(self) -> int:
        """The newest checkpoint that the first LIST showed."""
        return self.judge.newest_at[max(self._door.shown, 0)]


@contextlib.contextmanager
def _told_of_nothing_to_begin_from(source: _Source | None) -> Iterator[None]:
    """That there is nothing in the source is told in other words than that there is nothing in the own store."""
    try:
        yield
    except CorruptCheckpointError as error:
        if source is None or source.point.uri not in str(error):
            raise
        source.judge.could_not_begin(source.floor, str(error))
        raise Ended from error


class Ended(Exception):  # noqa: N818 - the process did what it should
    """The process has ended, and the judge has been told why."""


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """A process that lives in the store that the task starts from."""

    role: Role

    def live(self, town: Town, actor: Actor) -> None:
        assert town.source is not None
        self.role.live(town.source, actor)
