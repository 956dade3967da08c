"""Several ranks under random interleavings, faults and deaths: no checkpoint ever mixes executions, steps or ranks.

As in test_interleavings, whose invariants hold here too; a failure names its seed.
"""

from __future__ import annotations

import functools

import pytest

from tests.unit.store.stepped import Process, large
from tests.unit.store.test_interleavings import IMPATIENT, Town
from waypost.errors import AttemptRefusedError, CompletedError, FencedError, StorageError
from waypost.store import keys, manifest, parts
from waypost.store.calls import Budget
from waypost.store.entries import Checkpoint
from waypost.store.group import Group

pytestmark = pytest.mark.deep

SIZE = 2
SEEDS = 80
TOGETHER = Budget(seconds=12.0, first_pause=0.05, longest_pause=1.0)


class City(Town):
    """A store, and executions of several ranks that fight for it."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.written: dict[bytes, tuple[int, int, int, int]] = {}
        """Fence, execution, rank and step of every content."""
        self.seats: dict[tuple[int, int], int] = {}
        """By fence and rank: the execution whose process it is."""
        self.told: dict[tuple[int, int], bytes] = {}
        """By sequence and rank: what that rank was told is saved."""

    def rank(self, execution: int, attempt: int, pod: str, group: Group, saves: int) -> None:
        """The life of one rank's process."""
        try:
            process = Process(self.backend, attempt, pod, IMPATIENT, group=group, together=TOGETHER)
            delivered = process.restore()
            fence = process.log.fence
            if delivered is not None:
                assert self.written[delivered[1]][2] == group.rank, "restored the part of another rank"
            self.books.restored.append((fence, None if delivered is None else delivered[0]))
            assert self.seats.setdefault((fence, group.rank), execution) == execution, "two processes in one seat"
            for step in range(saves):
                content = b"%d/%d/%d;" % (execution, group.rank, step)
                content = large(content) if step % 2 else content
                self.written[content] = (fence, execution, group.rank, step)
                try:
                    info = process.save(content, step)
                except StorageError:
                    continue
                self.told[info.sequence, group.rank] = content
            process.complete()
        except (AttemptRefusedError, CompletedError, FencedError, StorageError):
            return

    def judge_parts(self, tokens: int) -> int:
        """Every checkpoint is of one fence and one step, and each part is its rank's; returns how many there are.

        Executions with tokens of their own share none. With one token, a process that its launcher had overlooked may
        take a free seat of the next execution: as that rank, from the start, and alone.
        """
        found = [entry for entry in self.entries() if isinstance(entry, Checkpoint)]
        for entry in found:
            assert entry.ranks == SIZE
            executions = set()
            for rank in range(SIZE):
                content = self.part(entry, rank)
                if content is None:
                    assert entry.sequence not in self.entries()[-1].live
                    continue
                fence, execution, *which = self.written[content]
                assert (fence, *which) == (entry.fence, rank, entry.step)
                assert self.told.get((entry.sequence, rank), content) == content
                executions.add(execution)
            assert len(executions) <= 1 or tokens == 1, "a mixture of two executions"
        assert {sequence for sequence, _ in self.told} <= {entry.sequence for entry in found}
        return len(found)

    def part(self, entry: Checkpoint, rank: int) -> bytes | None:
        """What a checkpoint holds of one rank; None if it is gone."""
        whole = manifest.from_json(entry.manifest)
        [pack] = {chunk.pack for chunks in whole.below(parts.part_folder(rank)).chunks for chunk in chunks}
        return self.backend.objects.get(keys.PACKS + whole.packs[pack].name)


CASTS = {
    "twice in one pod, with one token": [(1, "a", "t"), (1, "a", "t")],
    "twice in one pod": [(1, "a", "t"), (1, "a", "u")],
    "two attempts": [(1, "a", "t"), (2, "b", "u")],
}


@pytest.mark.parametrize("others", ["alone", "pruned"])
@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS.keys())
def test_no_interleaving_of_ranks_mixes_what_they_save(cast: list[tuple[int, str, str]], others: str) -> None:
    checkpoints = 0
    for seed in range(SEEDS):
        city = City(seed)
        for execution, (attempt, pod, token) in enumerate(cast):
            for rank in range(SIZE):
                group = Group(token, rank, SIZE)
                city.schedule.add(functools.partial(city.rank, execution, attempt, pod, group, saves=3))
        if others != "alone":
            city.schedule.add(city.prune)
        try:
            city.schedule.run(steps=900)
            for late in (False, True):
                if late:
                    city.backend.deliver()
                city.judge()
                checkpoints += city.judge_parts(len({token for _, _, token in cast}))
        except BaseException as error:
            error.add_note(f"seed {seed}; log: {' '.join(city.backend.log())}")
            raise
    assert checkpoints > SEEDS, "too little was saved for this to mean anything"
