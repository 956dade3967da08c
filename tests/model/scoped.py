"""The store without conditional writes, explored exhaustively: scopes, and "put, then LIST before believing".

Every process is arbitrarily slow at every request (never scheduled again = killed there); a PUT may also be carried out
by the server at any later time, after its client was told "unknown" or died; a DELETE likewise. GET, PUT and LIST are
consistent: that is what this mode asks of a place. Each writer saves with retention `keepLast: 1`, pruning inside its
CHECKPOINT, and keeps what it resumed from.

What is modelled is written down in docs/format.md ("Mode scoped"). `holes` puts back, one at a time, what would be
wrong: each is found by an invariant, which shows that the invariants can fail.

    python -m tests.model.scoped        the large runs, minutes
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

Scope = tuple[int, int, int]
"""Attempt, takeover, nonce (here: the process). The highest that has authority is restored from."""
Packs = frozenset[tuple[int, int]]
History = tuple[tuple[int, Scope], ...]
"""Which scope holds the numbers from `first` on, oldest first: what an entry carries as `scopes`."""
Hole = Literal[
    "no LIST after a PUT",
    "no BASE",
    "restore from the first LIST",
    "a lone FENCE has authority",
    "a number is used twice",
    "delete before the LIST",
    "takeover not counted",
    "no history",
    "collects up to its own fence",
]

FENCE, BASE, CHECKPOINT, COMPLETE = "FENCE", "BASE", "CHECKPOINT", "COMPLETE"


class Entry(NamedTuple):
    """What stands under the key (scope, sequence)."""

    scope: Scope
    sequence: int
    kind: str
    live: frozenset[int] = frozenset()
    history: History = ()
    parent: int | None = None
    packs: Packs = frozenset()


class Known(NamedTuple):
    """What follows from a LIST: the entry with authority, and who may be stopped by whom."""

    entry: Entry | None
    highest: Scope | None


class Process(NamedTuple):
    """One writer."""

    number: int
    attempt: int
    at: str = "off"
    scope: Scope = (0, 0, 0)
    first: Known | None = None
    known: Entry | None = None
    """The entry behind which it goes on."""
    used: int = 0
    """The highest number it has sent."""
    base: int | None = None
    fence: int = 0
    doomed: tuple[tuple[int, int], ...] = ()
    pending: Entry | None = None
    saves: int = 0
    confirmed: frozenset[tuple[Scope, int]] = frozenset()


class World(NamedTuple):
    """A state of everything."""

    entries: frozenset[Entry]
    packs: Packs
    floating: tuple[tuple[str, Entry | tuple[int, int]], ...]
    """Requests that the server will carry out any time, or never."""
    processes: tuple[Process, ...]
    delays: int


Step = tuple[str, Callable[[], World]]


class Violation(Exception):  # noqa: N818 - it is no error of the program's
    """An invariant doesn't hold."""


class Model:
    """The protocol for a cast of attempts, with `delays` requests that may float and `saves` per process."""

    def __init__(
        self, attempts: Sequence[int], delays: int, saves: int, *, complete: bool = False, hole: Hole | None = None
    ) -> None:
        self.attempts, self.delays, self.saves, self.complete, self.hole = attempts, delays, saves, complete, hole

    def begin(self) -> World:
        """Nothing has happened yet."""
        processes = tuple(Process(number, attempt) for number, attempt in enumerate(self.attempts))
        return World(frozenset(), frozenset(), (), processes, self.delays)

    # --- What a LIST tells ---------------------------------------------------------------------------------------

    def look(self, entries: frozenset[Entry], below: Scope | None = None) -> Known:
        """The newest entry of the highest scope that has more than a FENCE."""
        scopes = sorted({entry.scope for entry in entries}, reverse=True)
        highest = scopes[0] if scopes else None
        for scope in scopes:
            if below is not None and scope >= below:
                continue
            own = [entry for entry in entries if entry.scope == scope]
            newest = max(own, key=lambda entry: entry.sequence)
            if newest.kind != FENCE or self.hole == "a lone FENCE has authority":
                return Known(newest, highest)
        return Known(None, highest)

    @staticmethod
    def find(entries: frozenset[Entry], history: History, sequence: int) -> Entry | None:
        """The entry with this number, in the scope that the history names for it."""
        scope = next((scope for first, scope in reversed(history) if first <= sequence), None)
        return next((entry for entry in entries if (entry.scope, entry.sequence) == (scope, sequence)), None)

    def overtaken(self, world: World, process: Process) -> bool:
        return any(entry.scope > process.scope for entry in world.entries)

    # --- What can happen next ------------------------------------------------------------------------------------

    def steps(self, world: World) -> Iterator[Step]:
        for index, (kind, what) in enumerate(world.floating):
            yield f"late {kind} {what}", lambda index=index: self._arrive(world, index)  # type: ignore[misc]
        for process in world.processes:
            for name, step in self._of(world, process):
                yield f"w{process.number} {process.at}: {name}", step

    def _arrive(self, world: World, index: int) -> World:
        what = world.floating[index][1]
        world = world._replace(floating=world.floating[:index] + world.floating[index + 1 :])
        if isinstance(what, Entry):
            return self._put(world, what, late=True)
        return world._replace(packs=world.packs - {what})

    def _put(self, world: World, entry: Entry, *, late: bool = False) -> World:
        key = (entry.scope, entry.sequence)
        there = next((other for other in world.entries if (other.scope, other.sequence) == key), None)
        if there is not None and there != entry:
            raise Violation(f"I2: {key} is put twice, with different content" + (" (late)" if late else ""))
        return world._replace(entries=world.entries | {entry})

    def _of(self, world: World, me: Process) -> Iterator[Step]:
        match me.at:
            case "off":
                yield "LIST", lambda: self._start(world, me)
            case "fence":
                fence = Entry(me.scope, 1, FENCE)
                yield "PUT", lambda: self._put(self._now(world, me, at="list again"), fence)
                yield from self._hangs(world, me, fence, dies=True)
            case "list again":
                yield "LIST", lambda: self._list_again(world, me)
            case "base":
                base = self._base(me)
                yield "PUT", lambda: self._put(self._now(world, me, at="check", pending=base), base)
                yield from self._hangs(world, me, base, dies=True)
            case "check":
                yield "LIST", lambda: self._check(world, me)
                if world.delays and me.pending is not None and me.pending.kind == CHECKPOINT:
                    told = self._now(world, me, at="save", pending=None, saves=me.saves + 1)
                    yield "LIST fails, told unknown", lambda: told._replace(delays=world.delays - 1)
            case "restore":
                yield "GET", lambda: self._restore(world, me)
            case "save" if me.saves < self.saves:
                yield from self._save(world, me)
            case "save" if self.complete:
                end = self._entry(me, COMPLETE)
                yield (
                    "COMPLETE",
                    lambda: self._put(self._now(world, me, at="check", pending=end, used=end.sequence), end),
                )
            case "delete":
                yield from self._delete(world, me)

    def _start(self, world: World, me: Process) -> World:
        known = self.look(world.entries)
        if known.highest is not None and known.highest[0] > me.attempt:
            return self._now(world, me, at="refused")
        if known.entry is not None and known.entry.kind == COMPLETE:
            return self._now(world, me, at="completed")
        takeovers = [entry.scope[1] for entry in world.entries if entry.scope[0] == me.attempt]
        takeover = 1 + max(takeovers, default=0) if self.hole != "takeover not counted" else 1
        scope = (me.attempt, takeover, 0 if self.hole == "takeover not counted" else me.number)
        return self._now(world, me, at="fence", scope=scope, first=known)

    def _list_again(self, world: World, me: Process) -> World:
        if self.overtaken(world, me):
            return self._now(world, me, at="refused")
        known = self.look(world.entries, below=me.scope)
        if self.hole == "restore from the first LIST":
            known = me.first or known
        if known.entry is not None and known.entry.kind == COMPLETE:
            return self._now(world, me, at="completed")
        me = me._replace(known=known.entry, first=None)
        if self.hole == "no BASE":
            base = self._base(me)
            return self._now(world, me, at="restore", known=base, used=base.sequence, fence=base.sequence)
        return self._now(world, me, at="base")

    def _base(self, me: Process) -> Entry:
        last, live, history = 1, frozenset[int](), History()
        if me.known is not None:
            last, live, history = max(1, me.known.sequence), me.known.live, me.known.history
        if self.hole == "no history":
            history = ()
        return Entry(me.scope, last + 1, BASE, live, (*history, (last + 1, me.scope)))

    def _check(self, world: World, me: Process) -> World:
        entry = me.pending
        assert entry is not None
        if self.overtaken(world, me) and self.hole != "no LIST after a PUT":
            return self._now(world, me, at="fenced", pending=None)
        if entry.kind == BASE:
            return self._now(
                world, me, at="restore", known=entry, used=entry.sequence, fence=entry.sequence, pending=None
            )
        if entry.kind == COMPLETE:
            return self._now(world, me, at="completed", pending=None)
        confirmed = me.confirmed | {(me.scope, entry.sequence)}
        doomed = self._doomed(world, me, entry)
        return self._now(
            world,
            me,
            at="delete" if doomed else "save",
            known=entry,
            pending=None,
            saves=me.saves + 1,
            confirmed=confirmed,
            doomed=doomed,
        )

    def _doomed(self, world: World, me: Process, entry: Entry) -> tuple[tuple[int, int], ...]:
        """The packs of what this entry has pruned and nothing live names."""
        assert me.known is not None
        gone: set[tuple[int, int]] = set()
        for sequence in me.known.live - entry.live:
            old = self.find(world.entries, entry.history, sequence)
            if old is None:
                raise Violation(f"I0: {sequence} can't be found by the history of {entry}")
            gone |= old.packs
        return tuple(sorted(gone & world.packs))

    def _orphans(self, world: World, me: Process) -> tuple[tuple[int, int], ...]:
        """The packs whose names carry a lower fence than one's own and that nothing live names."""
        assert me.known is not None
        live: set[tuple[int, int]] = set()
        for sequence in me.known.live:
            entry = self.find(world.entries, me.known.history, sequence)
            assert entry is not None
            live |= entry.packs
        lower = {pack for pack in world.packs if world.processes[pack[0]].fence < me.fence}
        if self.hole == "collects up to its own fence":
            lower = {pack for pack in world.packs if world.processes[pack[0]].fence <= me.fence}
        return tuple(sorted(lower - live))

    def _restore(self, world: World, me: Process) -> World:
        assert me.known is not None
        newest = max(me.known.live, default=None)
        if newest is not None:
            entry = self.find(world.entries, me.known.history, newest)
            if entry is None:
                raise Violation(f"I0: checkpoint {newest} can't be found by the history of {me.known}")
            if entry.packs - world.packs:
                if self.overtaken(world, me):
                    return self._now(world, me, at="fenced")
                raise Violation(f"I1r: {me.scope} can't restore {newest}: packs are gone")
        return self._now(world, me, at="save", base=newest)

    def _entry(self, me: Process, kind: str, packs: Packs = frozenset()) -> Entry:
        assert me.known is not None
        sequence = 1 + (me.known.sequence if self.hole == "a number is used twice" else me.used)
        live = me.known.live
        if kind == CHECKPOINT:
            live = frozenset({number for number in live if number == me.base} | {sequence})
        parent = max((number for number in me.known.live), default=None)
        return Entry(me.scope, sequence, kind, live, me.known.history, parent, packs)

    def _save(self, world: World, me: Process) -> Iterator[Step]:
        entry = self._entry(me, CHECKPOINT, frozenset({(me.number, me.saves)}))
        after = self._now(world, me, at="check", pending=entry, used=entry.sequence)
        after = after._replace(packs=world.packs | entry.packs)
        if self.hole == "delete before the LIST":
            after = after._replace(packs=after.packs - set(self._doomed(world, me, entry)))
        yield "PUT", lambda: self._put(after, entry)
        if orphans := self._orphans(world, me):
            yield "collects", lambda: self._now(world, me, at="delete", doomed=orphans)
        yield from self._hangs(after, me, entry, dies=True)
        told = self._now(after, me, at="save", used=entry.sequence, saves=me.saves + 1)
        yield from self._hangs(told, me, entry, dies=False)

    def _hangs(self, world: World, me: Process, entry: Entry, *, dies: bool) -> Iterator[Step]:
        if world.delays:
            after = self._now(world, me, at="dead") if dies else world
            after = after._replace(delays=world.delays - 1, floating=(*world.floating, ("PUT", entry)))
            yield f"PUT hangs, {'dies' if dies else 'told unknown'}", lambda: after

    def _delete(self, world: World, me: Process) -> Iterator[Step]:
        pack, *rest = me.doomed
        after = self._now(world, me, at="delete" if rest else "save", doomed=tuple(rest))
        yield "DELETE", lambda: after._replace(packs=world.packs - {pack})
        if world.delays:
            hangs = after._replace(delays=world.delays - 1, floating=(*world.floating, ("DELETE", pack)))
            yield "DELETE hangs", lambda: hangs

    @staticmethod
    def _now(world: World, me: Process, **changes: object) -> World:
        later = me._replace(**changes)  # type: ignore[arg-type]
        others = tuple(later if process.number == me.number else process for process in world.processes)
        return world._replace(processes=others)

    # --- What has to hold ----------------------------------------------------------------------------------------

    def judge(self, world: World) -> None:
        """Raise Violation unless every invariant holds."""
        self._confirmed_is_in_the_history(world, self.look(world.entries).entry)
        started = [process for process in world.processes if process.fence]
        for low, high in itertools.permutations(started, 2):
            if low.scope < high.scope and low.fence >= high.fence:
                raise Violation(f"IF: the fence of {high.scope} isn't above that of {low.scope}")

    def _confirmed_is_in_the_history(self, world: World, newest: Entry | None) -> None:
        chain: set[tuple[Scope, int]] = set()
        if newest is not None:
            for sequence in newest.live:
                entry = self.find(world.entries, newest.history, sequence)
                if entry is None or entry.packs - world.packs:
                    raise Violation(f"I1: checkpoint {sequence}, live by {newest}, misses packs")
            last: int | None = max(newest.live, default=None)
            while last is not None:
                entry = self.find(world.entries, newest.history, last)
                if entry is None:
                    raise Violation(f"I0: parent {last} can't be found by the history of {newest}")
                chain.add((entry.scope, entry.sequence))
                last = entry.parent
        for process in world.processes:
            if lost := process.confirmed - chain:
                raise Violation(f"I4: {lost}, confirmed to w{process.number}, is no ancestor of what is restored")

    def goes_on(self, world: World) -> None:
        """I9: a fresh attempt alone starts, restores the newest and saves (or finds the task complete)."""
        fresh = Process(len(self.attempts), 1 + max(self.attempts))
        world = world._replace(processes=(*world.processes, fresh), delays=0)
        while True:
            me = world.processes[-1]
            if me.at == "completed" or me.confirmed:
                return
            if me.at in ("fenced", "refused"):
                raise Violation(f"I9: a fresh attempt ends as {me.at}")
            [(_, step), *_] = list(self._of(world, me))
            world = step()
            self.judge(world)


class Found(NamedTuple):
    """What an exploration came to."""

    states: int
    transitions: int
    exhausted: bool
    violations: dict[str, tuple[str, list[str]]]
    """By the invariant: what is wrong, and the shortest way there."""
    ends: frozenset[str]
    """Where processes got to, to show that the run reached what it is about."""


def explore(model: Model, *, states: int = 3_000_000, seconds: float = 600.0) -> Found:
    """Breadth first, so that a violation comes with its shortest way; I9 from every state."""
    first = model.begin()
    came: dict[World, tuple[World, str] | None] = {first: None}
    queue, violations, transitions, ends = deque([first]), dict[str, tuple[str, list[str]]](), 0, set[str]()
    deadline = time.monotonic() + seconds
    while queue:
        if len(came) > states or time.monotonic() > deadline:
            return Found(len(came), transitions, False, violations, frozenset(ends))
        world = queue.popleft()
        for name, step in model.steps(world):
            transitions += 1
            try:
                after = step()
                if after in came:
                    continue
                came[after] = (world, name)
                model.judge(after)
                model.goes_on(after)
            except Violation as violation:
                words = str(violation)
                violations.setdefault(words.partition(":")[0], (words, [*_way(came, world), name]))
                continue
            ends.update(process.at for process in after.processes)
            queue.append(after)
    return Found(len(came), transitions, True, violations, frozenset(ends))


def _way(came: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    way: list[str] = []
    while (before := came[world]) is not None:
        world = before[0]
        way.append(before[1])
    return way[::-1]


RUNS: Final[dict[str, Model]] = {
    "S1 attempts 1,2, 2 saves, 2 delays": Model((1, 2), 2, 2),
    "S2 two processes of attempt 1, 2 saves, 2 delays": Model((1, 1), 2, 2),
    "S3 attempts 1,2,3, 1 save, 1 delay": Model((1, 2, 3), 1, 1),
    "S4 attempts 1,2, COMPLETE, 1 save, 2 delays": Model((1, 2), 2, 1, complete=True),
    "S5 attempts 1,1,2, 1 save, 1 delay": Model((1, 1, 2), 1, 1),
    "S6 attempts 1,2,3, 2 saves, 1 delay": Model((1, 2, 3), 1, 2),
    "S7 attempts 1,2,3, 1 save, 2 delays": Model((1, 2, 3), 2, 1),
}


def main() -> int:
    """Run everything, print a line each."""
    wrong = 0
    for name, model in RUNS.items():
        began = time.monotonic()
        found = explore(model)
        wrong += bool(found.violations)
        verdict = ", ".join(found.violations) or "no violation"
        bound = "exhausted" if found.exhausted else "BOUND HIT"
        spent = f"{time.monotonic() - began:.0f} s"
        print(
            f"{name}: {found.states:,} states, {found.transitions:,} transitions, {bound}, {verdict}, {spent}",
            flush=True,
        )
        for words, way in found.violations.values():
            print("  ", words, "\n     ", "\n      ".join(way), flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
