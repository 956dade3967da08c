"""Visit every world that can be reached, breadth first: so the first counterexample of each kind is a shortest one.

A world is some 3 KB. Where nothing is expected to be found, no way needs to be told, and of the worlds visited only
their hashes of 64 bits are kept (*hash compaction*, as in SPIN): a hundred bytes each. Two worlds with one hash would
be taken for one, and what lies behind the second not be seen: for five million worlds the odds are one in a million,
and other ones at each run, for Python salts its hashes.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from tests.model import environment, invariants, server
from tests.model.appending import Role, Step
from tests.model.cli import Cli, Pinner
from tests.model.deleter import Deleter
from tests.model.rank import Leader, Rank
from tests.model.reader import Reader
from tests.model.rules import Rules
from tests.model.thread import Pruning, Saving
from tests.model.world import CHECKPOINT, COMPLETE, FENCE, PACKS, ZERO, Broken, Entry, Origin, Pack, Process, World
from tests.model.writer import Writer

_THREAD_NONCES = 100


class Found(NamedTuple):
    """A broken invariant, and a shortest way there."""

    what: str
    steps: list[str]


class Result(NamedTuple):
    """What an exploration came to."""

    states: int
    transitions: int
    exhausted: bool
    found: dict[str, Found]
    """By the invariant's name."""
    seconds: float
    """Of CPU time, also in the bound: a machine that is busy with other things changes nothing."""
    ends: Counter[str]
    """How often a process reached each of its ends: an exploration that never fences anybody shows nothing."""


def first_world(rules: Rules) -> World:
    """An empty store, and nobody has begun."""
    processes = tuple(
        Process(role, attempt, nonces=_THREAD_NONCES if role == "pruning thread" else 0)
        for role, attempt in rules.processes
    )
    origin = None if rules.origin == "none" else Origin(events=rules.origin_events)
    log, packs = _left_behind(rules.saved)
    return World(log, packs, (), processes, rules.delays, rules.duplicates, mishaps=rules.mishaps, origin=origin)


def _left_behind(saved: int) -> tuple[tuple[Entry, ...], frozenset[Pack]]:
    if not saved:
        return (), PACKS
    log = [Entry(FENCE, 0, 0, 0, append=0)]
    for number in range(1, saved + 1):
        pack = frozenset({Pack("odd" if number % 2 else "even", 0, number)})
        live = tuple(range(1, number + 1))
        parent = ZERO if number == 1 else number - 1
        log.append(Entry(CHECKPOINT, 0, 0, number, live, step=number, packs=pack, parent=parent, append=number))
    return tuple(log), frozenset().union(*(entry.packs for entry in log))


class Dead(Role):
    """Does nothing any more."""

    def steps(self, world: World, index: int) -> Iterator[Step]:
        return iter(())


_ROLES: Final[dict[str, type[Role]]] = {
    "writer": Writer,
    "reader": Reader,
    "cli": Cli,
    "pinner": Pinner,
    "deleter": Deleter,
    "saving thread": Saving,
    "pruning thread": Pruning,
    "rank 0": Leader,
    "rank": Rank,
    "dead": Dead,
}


class Model:
    """The steps of everybody, under some rules."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._roles = {name: role(rules) for name, role in _ROLES.items()}

    def steps(self, world: World) -> Iterator[tuple[Any, Step]]:
        """Who does something (a number of a process, or a word), and the step."""
        for position, request in enumerate(world.flying):
            label = f"{request.doing} {request.number if request.pack is None else request.pack}"
            yield "the server, late", (label, partial(server.carry_out, self.rules, world, position))
        for index, process in enumerate(world.processes):
            for step in self._roles[process.role].steps(world, index):
                yield index, step
        for step in environment.steps(self.rules, world):
            yield "it happens", step

    def fresh_attempt_goes_on(self, world: World) -> None:
        """I9: a higher attempt, alone from here, fences, restores the newest live checkpoint and saves."""
        if any(entry.kind == COMPLETE for entry in world.log):
            return
        newest = world.log[-1].live[-1] if world.log and world.log[-1].live else -1
        index = len(world.processes)
        world = world._replace(processes=(*world.processes, Process("writer", 99)), delays=0, duplicates=0)
        for _ in range(30):
            if world.processes[index].confirmed:
                if world.processes[index].root != newest:
                    raise Broken(f"I9 a fresh attempt restores {world.processes[index].root} instead of {newest}")
                return
            steps = list(self._roles["writer"].steps(world, index))
            if not steps:
                break
            world = steps[0][1]()
        raise Broken(f"I9 a fresh attempt is stuck: {world.processes[index].at}")


def explore(
    rules: Rules,
    *,
    max_states: int = 5_000_000,
    seconds: float = 3600,
    usable: bool = False,
    to_first: bool = False,
    compact: bool = False,
) -> Result:
    """Visit everything within the bounds of `rules`; `usable` asks for I9 in every world, `to_first` ends the
    search at the first broken invariant, `compact` keeps hashes only and so can't tell the way to it."""
    model, began = Model(rules), time.process_time()
    start = first_world(rules)
    visited: _Ways | _Hashes = _Hashes(start) if compact else _Ways(start)
    queue, found, ends, transitions, exhausted = deque([start]), dict[str, Found](), Counter[str](), 0, True
    while queue:
        world = queue.popleft()
        for who, (label, step) in model.steps(world):
            transitions += 1
            at = world.processes[who].at if isinstance(who, int) else ""
            try:
                then = step()
                if then in visited:
                    continue
                invariants.check(rules, then)
                if usable:
                    model.fresh_attempt_goes_on(then)
            except Broken as broken:
                name = str(broken).split()[0]
                if name not in found:
                    found[name] = Found(str(broken), [*visited.way_to(world), _in_words(who, at, label)])
                if to_first:
                    return Result(len(visited), transitions, False, found, time.process_time() - began, ends)
                continue
            visited.add(then, world, (who, at, label))
            queue.append(then)
            if isinstance(who, int):
                ends[then.processes[who].at] += 1
        if len(visited) > max_states or time.process_time() - began > seconds:
            exhausted = False
            break
    return Result(len(visited), transitions, exhausted, found, time.process_time() - began, ends)


class _Ways:
    """The worlds visited, and how each was reached first."""

    def __init__(self, start: World) -> None:
        self._came_from: dict[World, tuple[World, tuple[Any, str, str]] | None] = {start: None}

    def __contains__(self, world: World) -> bool:
        return world in self._came_from

    def __len__(self) -> int:
        return len(self._came_from)

    def add(self, world: World, before: World, words: tuple[Any, str, str]) -> None:
        """Visit a world, by a step from another one."""
        self._came_from[world] = (before, words)

    def way_to(self, world: World) -> list[str]:
        """The steps from the start."""
        way = []
        while (step := self._came_from[world]) is not None:
            world, words = step
            way.append(_in_words(*words))
        return way[::-1]


class _Hashes:
    """Of the worlds visited only the hashes."""

    def __init__(self, start: World) -> None:
        self._seen = {hash(start)}

    def __contains__(self, world: World) -> bool:
        return hash(world) in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, world: World, _before: World, _words: tuple[Any, str, str]) -> None:
        """Visit a world."""
        self._seen.add(hash(world))

    def way_to(self, _world: World) -> list[str]:
        """Not known."""
        return ["(explore it again, and keep the ways)"]


def _in_words(who: Any, at: str, label: str) -> str:
    return f"process {who} {at}: {label}".rstrip(": ") if isinstance(who, int) else f"{who}: {label}"
