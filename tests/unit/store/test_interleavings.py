"""The invariants of the protocol, held by the real code under thousands of random interleavings, faults and deaths.

The model explores the rules exhaustively; this drives the code that claims to follow them. A failure names its seed.
"""

from __future__ import annotations

import dataclasses
import functools

import pytest

from tests.unit.store.interleaving import Schedule
from tests.unit.store.stepped import Process, SteppedBackend, World, format_file, large, read
from waypost.checkpoints import Checkpoints
from waypost.errors import (
    AttemptRefusedError,
    CheckpointPrunedError,
    CompletedError,
    ConfigurationError,
    FencedError,
    StorageError,
)
from waypost.store import keys
from waypost.store.calls import Budget
from waypost.store.entries import Checkpoint, Complete, Entry, Fence, Pin, Prune
from waypost.store.retention import Retention
from waypost.store.sequences import Sequences

pytestmark = pytest.mark.deep

SEEDS = {"alone": 200, "pruned and read": 60}
"""Orders tried of each cast; a person who reads everything before pruning takes many requests."""
IMPATIENT = Budget(seconds=0.5)
"""A few tries: saves are given up as unknown, and land later."""


@dataclasses.dataclass
class Books:
    """What the processes were told, kept apart from the store."""

    confirmed: dict[int, bytes] = dataclasses.field(default_factory=dict)
    written: dict[bytes, int] = dataclasses.field(default_factory=dict)
    restored: list[tuple[int, int | None]] = dataclasses.field(default_factory=list)
    """The fence of the process, and what it resumed from."""
    completed: int = 0


class Town:
    """A store, the attempts that fight for it, a person who prunes, and a reader."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.backend = SteppedBackend()
        self.backend.objects[keys.FORMAT_KEY] = format_file()
        self.books = Books()
        self.schedule = Schedule(self.backend, seed, faults=0.12)

    def attempt(self, number: int, pod: str, saves: int, complete: bool, retention: Retention | None) -> None:
        """The life of one attempt's process."""
        try:
            process = Process(self.backend, number, pod, IMPATIENT, retention=retention)
            delivered = process.restore()
            if delivered is not None:
                assert self.books.written.get(delivered[1]) is not None, "restored what nobody ever saved"
            self.books.restored.append((process.log.fence, None if delivered is None else delivered[0]))
            for step in range(saves):
                content = b"%d/%s/%d;" % (number, pod.encode(), step)
                content = large(content) if step % 2 else content
                self.books.written[content] = number
                try:
                    info = process.save(content, step)
                except StorageError:
                    continue
                self.books.confirmed[info.sequence] = content
                process.tidy()
            if complete:
                process.complete()
                self.books.completed += 1
        except (AttemptRefusedError, CompletedError, FencedError, StorageError):
            return

    def prune(self) -> None:
        """A person who pins and prunes beside it all, keeping the newest."""
        for turn in range(8):
            try:
                with Checkpoints(attempt=None, backend=self.backend, seams=World().seams(), saving=IMPATIENT) as store:
                    if turn % 2 == 0:
                        store.prune(Retention(keep_last=1))
                    elif turn == 1 and (info := store.latest()) is not None:
                        store.pin(info.sequence)
            except (StorageError, ConfigurationError, CheckpointPrunedError):
                continue

    def read(self) -> None:
        """An outside reader: never an error about damage, never older than what was confirmed before it looked."""
        for _ in range(8):
            before = max(self.books.confirmed, default=0)
            try:
                found = read(self.backend)
            except StorageError:
                continue
            assert (found[0] if found else 0) >= before, f"read {found and found[0]}, {before} was confirmed before"

    # --- The judgement ---------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """I2 to I8 of the model, on what stands in the log."""
        entries = self.entries()
        live: set[int] = set()
        pinned: set[int] = set()
        holder: Fence | None = None
        own: int | None = None
        base: int | None = None
        completed = False
        for entry in entries:
            if isinstance(entry, Fence):
                assert holder is None or holder.attempt <= entry.attempt, "I3b: fences never fall"
                assert not completed, "I6: nothing but prunes after COMPLETE"
                holder, own, base = entry, None, max(live, default=None)
            elif isinstance(entry, (Checkpoint, Complete)):
                assert holder is not None
                assert entry.fence == holder.sequence, "I3: only the holder of the newest fence appends"
                assert not completed, "I6: nothing but prunes after COMPLETE"
                completed = isinstance(entry, Complete)
                if isinstance(entry, Checkpoint):
                    assert set(entry.prunes) <= live, "only what is live is pruned"
                    assert base is None or base not in entry.prunes, (
                        "the base of a running attempt is never pruned by it"
                    )
                    live -= set(entry.prunes)
                    assert entry.parent == (own or base), "I5: the parent is the own last, or the newest at the fence"
                    own = entry.sequence
                    live.add(entry.sequence)
            elif isinstance(entry, Prune):
                assert max(live) not in entry.prunes, "I8: the newest is never pruned"
                assert completed or base not in set(entry.prunes), "RB: what the running attempt resumed from stays"
                live -= set(entry.prunes)
            elif isinstance(entry, Pin):
                pinned.add(entry.target)
            assert pinned <= live, "I11: nothing pinned is pruned"
            assert entry.pinned == Sequences.of(pinned)
            assert entry.live == Sequences.of(live), f"entry {entry.sequence} is wrong about what is live"
        for sequence, content in self.books.confirmed.items():
            assert self.content(entries[sequence - 1]) in (content, None), "I4: what was confirmed stands, as it was"
        for sequence in live:
            assert self.content(entries[sequence - 1]) is not None, "I1: a live checkpoint has all its packs"
        for fence, resumed in self.books.restored:
            known = [entry.sequence for entry in entries[:fence] if isinstance(entry, Checkpoint)]
            assert resumed == max(known, default=None), "an attempt resumes from the newest before its fence"
        assert self.books.completed <= 1

    def entries(self) -> list[Entry]:
        numbers = sorted(number for key in self.backend.objects if (number := keys.log_sequence(key)) is not None)
        assert numbers == list(range(1, len(numbers) + 1)), "I7: no gap"
        return [self.backend.entry(number) for number in numbers]

    def content(self, entry: Entry) -> bytes | None:
        """What the checkpoint holds; None if a pack is gone."""
        assert isinstance(entry, Checkpoint)
        if entry.manifest is None:
            return None
        assert isinstance(entry.manifest, dict)
        if entry.data is not None:
            return entry.data
        return (
            b"".join(self.backend.objects.get(keys.PACKS + pack["name"], b"") for pack in entry.manifest["packs"])
            or None
        )


CASTS = {
    "two attempts": [(1, "a"), (2, "b")],
    "two processes of one attempt, then another": [(1, "a"), (1, "a"), (2, "b")],
    "three attempts": [(1, "a"), (2, "b"), (3, "c")],
}


RETENTIONS = {"all is kept": None, "the last is kept": Retention(keep_last=1)}


@pytest.mark.parametrize("retention", RETENTIONS.values(), ids=RETENTIONS.keys())
@pytest.mark.parametrize("others", ["alone", "pruned and read"])
@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS.keys())
def test_no_interleaving_breaks_an_invariant(
    cast: list[tuple[int, str]], others: str, retention: Retention | None
) -> None:
    for seed in range(SEEDS[others]):
        town = Town(seed)
        for number, pod in cast:
            town.schedule.add(functools.partial(town.attempt, number, pod, 3, seed % 2 == 0, retention))
        if others != "alone":
            town.schedule.add(town.prune)
            town.schedule.add(town.read)
        try:
            town.schedule.run(steps=400)
            town.judge()
            town.backend.deliver()
            town.judge()
            go_on_alone(town)
        except BaseException as error:
            error.add_note(f"seed {seed}; log: {' '.join(town.backend.log())}")
            raise


def go_on_alone(town: Town) -> None:
    """I9: from any state a fresh attempt alone resumes from the newest and saves, or the task is complete."""
    town.backend.before = lambda operation, key: None
    town.backend._plans.clear()
    try:
        process = Process(town.backend, 99, "z")
    except CompletedError:
        return
    delivered = process.restore()
    confirmed = max(town.books.confirmed, default=0)
    assert (delivered[0] if delivered else 0) >= confirmed, "the last confirmed save, or a newer one, is restored"
    assert process.save(b"after all").sequence > confirmed
