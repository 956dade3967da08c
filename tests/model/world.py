"""What there is: entries, packs, requests on their way, and processes that know a part of the log.

Immutable and small, for millions of worlds are hashed. Two simplifications against docs/format.md: numbers start at 0,
and the index of a process stands for the sequence of its FENCE, as each process takes the store over once.
"""

from __future__ import annotations

from typing import Final, NamedTuple

FENCE: Final = "FENCE"
CHECKPOINT: Final = "CHECKPOINT"
COMPLETE: Final = "COMPLETE"
PRUNE: Final = "PRUNE"
PIN: Final = "PIN"
UNREADABLE: Final = "unreadable"

ZERO: Final = -1
"""The parent of a checkpoint that began from nothing."""
UNSETTLED: Final = -3
"""No number of an entry yet. Not -2, whose hash is the same as that of -1: worlds are told apart by their hashes."""
NOBODY: Final = -1
DELETED: Final = 1000
"""The attempt of the FENCE that deletes a store."""
NOTHING: Final[frozenset[int]] = frozenset()


class Pack(NamedTuple):
    """The name of a data object. A name by content alone (an early draft) has no fence and no upload."""

    content: str
    fence: int = NOBODY
    upload: int = NOBODY


PACKS: Final[frozenset[Pack]] = frozenset()


class Entry(NamedTuple):
    """One number of the log."""

    kind: str
    attempt: int
    writer: int
    nonce: int
    live: tuple[int, ...] = ()
    """The live checkpoints right behind this entry (rule 8)."""
    pinned: frozenset[int] = NOTHING
    step: int = 0
    packs: frozenset[Pack] = PACKS
    parent: int = ZERO
    prunes: frozenset[int] = NOTHING
    """Of a PRUNE, and of a CHECKPOINT that prunes by itself (rule 16)."""
    parts_of: int = NOBODY
    """Ghost: the execution whose ranks made the parts of this checkpoint."""
    stub: bool = False
    append: int = NOBODY
    """Ghost: which append of its writer this is, whatever its nonce says."""


LOST: Final = Entry(UNREADABLE, 0, NOBODY, NOBODY)
"""What stands at a number that can't be read."""


class Known(NamedTuple):
    """What follows from the log up to `seen`: the same as `waypost.store.state.State`."""

    seen: int = -1
    live: tuple[int, ...] = ()
    pinned: frozenset[int] = NOTHING
    attempt: int = 0
    fence: int = NOBODY
    completed: bool = False
    blind: int = -1
    """The newest number whose entry couldn't be read."""

    @property
    def newest(self) -> int:
        return self.live[-1] if self.live else ZERO

    def after(self, number: int, entry: Entry) -> Known:
        """The knowledge behind this entry, which tells by itself what is live."""
        if entry.kind == UNREADABLE:
            return self._replace(seen=number, blind=number)
        behind = self._replace(seen=number, live=entry.live, pinned=entry.pinned)
        if entry.kind in (PRUNE, PIN):
            return behind
        return behind._replace(
            attempt=max(self.attempt, entry.attempt),
            fence=entry.writer,
            completed=self.completed or entry.kind == COMPLETE,
        )


class Process(NamedTuple):
    """A process somewhere in its life; `at` names the step it will do next."""

    role: str
    attempt: int
    at: str = "outside"
    known: Known = Known()
    air: Entry | None = None
    """The append in progress."""
    packs: frozenset[Pack] = PACKS
    """What the save in progress names."""
    condemned: tuple[Pack | int, ...] = ()
    """Still to be deleted: packs, or log entries where a draft deletes those."""
    nonces: int = 0
    saves: int = 0
    step: int = 0
    base: int = ZERO
    """The parent of the next checkpoint."""
    root: int = UNSETTLED
    """What was restored at the start; UNSETTLED before."""
    candidate: int = UNSETTLED
    tip: int = ZERO
    """Where a fall-back along the parents began."""
    collected: bool = False
    parts_of: int = NOBODY
    """Ghost: the execution that made the parts of the save in progress."""
    confirmed: frozenset[tuple[int, int]] = frozenset()
    """Nonce and step of every save that the program was told is saved."""
    failed: frozenset[tuple[int, int]] = frozenset()
    """Nonce and step of every save that the program was told is not saved."""


class Request(NamedTuple):
    """A write that hangs in the network: the server may carry it out at any time, or never."""

    doing: str
    number: int = -1
    entry: Entry | None = None
    pack: Pack | None = None
    part: Part | None = None


class Part(NamedTuple):
    """What one rank contributes to a save, published for rank 0."""

    fence: int
    ordinal: int
    packs: frozenset[Pack]
    made_by: int
    """Ghost: the execution that made it, whatever its name says."""


class Origin(NamedTuple):
    """The store that `from` names: which of its checkpoints are live, and whether it can be read at all."""

    live: tuple[int, ...] = (0,)
    reachable: bool = True
    events: int = 0
    """How often its owner or the network may still do something."""


class World(NamedTuple):
    """Everything."""

    log: tuple[Entry, ...]
    """Every entry ever appended, in order, as it was appended."""
    packs: frozenset[Pack]
    flying: tuple[Request, ...]
    processes: tuple[Process, ...]
    delays: int
    """How many writes may still lose their answer or hang."""
    duplicates: int
    changed: tuple[tuple[int, Entry | None], ...] = ()
    """Numbers where something else stands than what was appended; None: deleted."""
    broken: frozenset[Pack] = PACKS
    """Packs that the environment damaged."""
    scarred: frozenset[Pack] = PACKS
    """Ghost: packs that were ever damaged, also if they can be read again."""
    mishaps: int = 0
    """How often the environment may still damage something."""
    parts: frozenset[Part] = frozenset()
    origin: Origin | None = None

    def standing(self, number: int) -> Entry | None:
        """What a GET of this number answers."""
        for changed, entry in self.changed:
            if changed == number:
                return entry
        return self.log[number] if 0 <= number < len(self.log) else None

    def changed_to_unreadable(self, number: int) -> bool:
        return (number, LOST) in self.changed

    def change(self, number: int, entry: Entry | None) -> World:
        others = tuple(pair for pair in self.changed if pair[0] != number)
        return self._replace(changed=tuple(sorted((*others, (number, entry)), key=repr)))

    def on_lists(self) -> list[int]:
        """The numbers that stand, oldest first."""
        if not self.changed:
            return list(range(len(self.log)))
        return [number for number in range(len(self.log)) if self.standing(number) is not None]

    def whole(self, number: int) -> bool:
        """Whether the checkpoint at this number can be read from end to end."""
        entry = self.standing(number)
        if entry is None or entry.kind != CHECKPOINT or entry.stub:
            return False
        return entry.packs <= self.packs and not (entry.packs & self.broken)

    def named_by(self, live: tuple[int, ...]) -> frozenset[Pack]:
        """The packs that these checkpoints name."""
        return frozenset().union(*(self.log[number].packs for number in live))

    def publish(self, part: Part) -> World:
        """A part replaces what stands under its name."""
        others = {other for other in self.parts if (other.fence, other.ordinal) != (part.fence, part.ordinal)}
        return self._replace(parts=frozenset({*others, part}))

    def become(self, index: int, process: Process) -> World:
        return self._replace(processes=(*self.processes[:index], process, *self.processes[index + 1 :]))

    def launch(self, request: Request) -> World:
        """A request begins to hang in the network."""
        return self._replace(flying=tuple(sorted((*self.flying, request), key=repr)), delays=self.delays - 1)


class Broken(Exception):  # noqa: N818 - an invariant that is broken, not an error of the model
    """An invariant doesn't hold. The text begins with its name."""


def lineage(world: World, number: int) -> list[int]:
    """The checkpoint and its ancestors, newest first."""
    chain = []
    while number >= 0:
        chain.append(number)
        number = world.log[number].parent
    return chain


def read_on(world: World, known: Known) -> tuple[Known, list[Entry]]:
    """Read by number from `known` up to the first number where nothing stands."""
    met = []
    while (entry := world.standing(known.seen + 1)) is not None:
        known = known.after(known.seen + 1, entry)
        met.append(entry)
    return known, met


def survey(world: World, lag: int = 0) -> Known:
    """What a LIST finds that lags by `lag` entries: down to the newest writer's entry, and up again."""
    numbers = world.on_lists()
    numbers = numbers[: len(numbers) - lag] if lag else numbers
    readable: list[tuple[int, Entry]] = []
    for number in reversed(numbers):
        entry = world.standing(number)
        assert entry is not None
        readable.append((number, entry))
        if entry.kind in (FENCE, CHECKPOINT, COMPLETE):
            break
    known = Known()
    for number, entry in reversed(readable):
        known = known.after(number, entry)
    return known
