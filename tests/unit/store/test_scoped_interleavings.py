"""The invariants of mode "scoped", held by the real code under thousands of random interleavings, faults and deaths.

The model (tests/model/scoped.py) explores the rules exhaustively; this drives the code that claims to follow them. A
failure names its seed.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools

import pytest

from tests.unit.store.interleaving import Schedule
from tests.unit.store.stepped import Overwriting, Process, Unconditional, World, format_file, large, read
from waypost.errors import AttemptRefusedError, CompletedError, FencedError, StorageError
from waypost.store import keys
from waypost.store.calls import Budget, Calls
from waypost.store.entries import Base, Checkpoint, Complete, Entry, Fence, Origin, decode
from waypost.store.format import Mode
from waypost.store.retention import Retention
from waypost.store.scoped import ScopedJournal
from waypost.store.scopes import Scope, placed

pytestmark = pytest.mark.deep

SEEDS = 100
IMPATIENT = Budget(seconds=0.5)
"""A few tries: saves are given up as unknown, and land later."""


class Place(Overwriting):
    """Remembers what was put under each key of the log: never two different things (I2)."""

    def __init__(self) -> None:
        super().__init__()
        self.put_before: dict[str, bytes] = {}

    def put(self, key: str, data: bytes | memoryview) -> None:
        if (place := placed(key)) is not None and not is_stub(decode(bytes(data), place[1])):
            assert self.put_before.setdefault(key, bytes(data)) == bytes(data), f"I2: {key} is put twice"
        super().put(key, data)


@dataclasses.dataclass
class Books:
    """What the processes were told, kept apart from the store."""

    confirmed: dict[int, bytes] = dataclasses.field(default_factory=dict)
    written: set[bytes] = dataclasses.field(default_factory=set)
    started: dict[Scope, int] = dataclasses.field(default_factory=dict)
    """The fence of each process that has started."""
    completed: list[Scope] = dataclasses.field(default_factory=list)


class Town:
    """A store without conditional writes, the attempts that fight for it, and a reader."""

    def __init__(self, seed: int) -> None:
        self.backend = Place()
        self.backend.objects[keys.FORMAT_KEY] = format_file(Mode.SCOPED)
        self.books = Books()
        self.schedule = Schedule(self.backend, seed, faults=0.12)
        self._worlds = (World(name=f"{seed}/{number}") for number in itertools.count())

    def process(self, attempt: int, pod: str) -> Process:
        """Start one, and note that it has."""
        world, retention = next(self._worlds), Retention(keep_last=1)
        process = Process(self.backend, attempt, pod, IMPATIENT, world=world, retention=retention)
        self.books.started[scope_of(process)] = process.log.fence
        return process

    def attempt(self, number: int, pod: str, saves: int, complete: bool) -> None:
        """The life of one attempt's process."""
        before = max(self.books.confirmed, default=0)
        try:
            process = self.process(number, pod)
            delivered = process.restore()
            restored = 0 if delivered is None else delivered[0]
            assert delivered is None or delivered[1] in self.books.written, "restored what nobody ever saved"
            assert restored >= before, f"restored {restored}, {before} was confirmed before"
            for step in range(saves):
                content = b"%d/%s/%d;" % (number, pod.encode(), step)
                content = large(content) if step % 2 else content
                self.books.written.add(content)
                try:
                    info = process.save(content, step)
                    self.still_the_highest(process)
                    assert info.sequence not in self.books.confirmed, "a number is confirmed once"
                    self.books.confirmed[info.sequence] = content
                    process.tidy()
                except StorageError:
                    continue
            if complete:
                process.complete()
                self.still_the_highest(process)
                self.books.completed.append(scope_of(process))
        except (AttemptRefusedError, CompletedError, FencedError, StorageError):
            return

    def still_the_highest(self, process: Process) -> None:
        """Called right behind a confirmation: promise 3."""
        mine = scope_of(process)
        higher = [scope for scope in self.books.started if scope.outranks(mine)]
        assert not higher, f"{mine} was told 'saved' after {higher} had started"

    def read(self) -> None:
        """An outside reader: never an error about damage, never older than what was confirmed before it looked."""
        for _ in range(8):
            before = max(self.books.confirmed, default=0)
            try:
                found = read(self.backend)
            except StorageError:
                continue
            assert (found[0] if found else 0) >= before, f"read {found and found[0]}, {before} was confirmed before"

    # --- The judgement -----------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """What has to hold of the store as it stands."""
        for (low, fence), (high, other) in itertools.permutations(self.books.started.items(), 2):
            assert fence < other or not high.outranks(low), "IF: fences grow with scopes"
        journal = ScopedJournal(Calls(self.backend, World().seams(), IMPATIENT))
        state = journal.survey()
        for number in state.live:
            assert self.content(journal.read(number)) is not None, f"I1: live checkpoint {number} has all its packs"
        lineage: dict[int, Entry] = {}
        ancestor = state.live.newest
        while ancestor is not None:
            entry = journal.read(ancestor)
            assert isinstance(entry, Checkpoint), f"I0: checkpoint {ancestor} is found by the row of scopes"
            lineage[ancestor] = entry
            assert not isinstance(entry.parent, Origin)
            ancestor = entry.parent
        for number, content in self.books.confirmed.items():
            assert number in lineage, f"I4: confirmed {number} is an ancestor of what is restored"
            assert self.content(lineage[number]) in (content, None), "I4: and holds what was saved"
        assert len(self.books.completed) <= 1
        if self.books.completed:
            assert state.completed, "a confirmed COMPLETE stays the newest"
        for key, raw in self.backend.objects.items():
            if (place := placed(key)) is not None:
                scope, number = place
                entry = decode(raw, number)
                assert entry.scopes.own == scope
                assert isinstance(entry, Fence) == (number == 1)
                assert isinstance(entry, (Fence, Base, Checkpoint, Complete))

    def content(self, entry: Entry | None) -> bytes | None:
        """What the checkpoint holds; None if a pack is gone."""
        assert isinstance(entry, Checkpoint)
        if entry.data is not None or is_stub(entry):
            return entry.data
        return b"".join(self.backend.objects.get(pack, b"") for pack in packs_of(entry)) or None


def is_stub(entry: Entry) -> bool:
    return isinstance(entry, Checkpoint) and entry.manifest is None


def packs_of(entry: Checkpoint) -> list[str]:
    assert isinstance(entry.manifest, dict)
    return [keys.PACKS + pack["name"] for pack in entry.manifest["packs"] if pack["name"] != "inline"]


def scope_of(process: Process) -> Scope:
    own = process.log.journal._own
    assert isinstance(own, Scope)
    return own


CASTS = {
    "two attempts": [(1, "a"), (2, "b")],
    "two processes of one attempt": [(1, "a"), (1, "a")],
    "two processes of one attempt, then another": [(1, "a"), (1, "a"), (2, "b")],
    "three attempts": [(1, "a"), (2, "b"), (3, "c")],
}


@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS.keys())
def test_no_interleaving_breaks_an_invariant(cast: list[tuple[int, str]]) -> None:
    met = set[str]()
    for seed in range(SEEDS):
        town = Town(seed)
        for number, pod in cast:
            town.schedule.add(functools.partial(town.attempt, number, pod, saves=3, complete=seed % 2 == 0))
        if seed % 3 == 0:
            town.schedule.add(town.read)
        try:
            town.schedule.run(steps=400)
            town.judge()
            town.backend.deliver()
            town.judge()
            go_on_alone(town)
        except BaseException as error:
            error.add_note(f"seed {seed}; log: {' '.join(sorted(town.backend.objects))}")
            raise
        met |= {"confirmed"} if town.books.confirmed else set()
        met |= {"several started"} if len(town.books.started) > 1 else set()
        met |= {"completed"} if town.books.completed else set()
        met |= {"deleted"} if any(operation == "delete" for operation, _ in town.backend.requests) else set()
    assert met == {"confirmed", "several started", "completed", "deleted"}, "the schedules reach what they are about"


def go_on_alone(town: Town) -> None:
    """I9: from any state a fresh attempt alone resumes from the newest and saves, or the task is complete."""
    town.backend.before = lambda operation, key: None
    town.backend._plans.clear()
    try:
        process = town.process(99, "z")
    except CompletedError:
        return
    delivered = process.restore()
    confirmed = max(town.books.confirmed, default=0)
    assert (delivered[0] if delivered else 0) >= confirmed, "the last confirmed save, or a newer one, is restored"
    assert process.save(b"after all").sequence > confirmed
    town.books.confirmed.clear()
    town.judge()


def test_a_place_that_says_so_is_used_in_the_same_way() -> None:
    place = Unconditional()
    first = Process(place)
    first.save(b"one")
    assert Process(place, attempt=2).restore() == (3, b"one")
