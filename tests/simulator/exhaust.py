"""Every order of a small cast's requests, and every fault up to a number: by backtracking, from the first step on.

`python -m tests.simulator.exhaust --cast 1,2 --faults 1`. Each schedule is run from its beginning, along the choices
that led to the last one, with the last choice changed. A step that nobody else can notice is taken at once, for its
place in the order says nothing: reading the format, and uploading a pack whose name is not known to anybody yet.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tests.simulator.actors import Actor, Fate, Request
from tests.simulator.casts import CASTS, Cast
from tests.simulator.scene import Scene, hushed
from tests.simulator.schedule import BUDGETS, fates_of
from tests.simulator.town import SHAPES

_BETWEEN_COLLECTIONS: Final = 500
Fates = Mapping[str, Sequence[Fate]]


@dataclasses.dataclass
class _Choice:
    """One of so many moves."""

    taken: int
    moves: int


def schedules(cast: Cast, faults: int) -> Iterator[Scene]:
    """Every schedule of this cast with at most so many faults."""
    path: list[_Choice] = []
    while True:
        with hushed():
            yield _follow(cast, path, faults)
        while path and path[-1].taken + 1 == path[-1].moves:
            path.pop()
        if not path:
            return
        path[-1].taken += 1


def _follow(cast: Cast, path: list[_Choice], faults: int) -> Scene:
    """Run along `path`, and on by every first move, which is added to it."""
    scene = Scene(cast, SHAPES[0], BUDGETS[0])
    depth, fates = 0, fates_of(cast)
    while scene.judge.verdict is None:
        alive = [actor for actor in scene.actors if scene.goes_on(actor)]
        unnoticed = [actor for actor in alive if _is_unnoticed(actor.request)]
        moves = _moves(unnoticed[:1], 0, faults, fates) or _moves(alive, len(scene.place.hanging), faults, fates)
        if not moves:
            break
        if depth == len(path):
            path.append(_Choice(0, len(moves)))
        actor, what = moves[path[depth].taken]
        depth += 1
        if actor is None:
            assert isinstance(what, int)
            scene.carry_out(what)
        else:
            assert isinstance(what, Fate)
            faults -= what is not Fate.ANSWERED
            scene.step(actor, what)
    if scene.judge.verdict is None:
        scene.go_on_alone()
    return scene


def _moves(alive: list[Actor], hanging: int, faults: int, fates: Fates) -> list[tuple[Actor | None, Fate | int]]:
    moves: list[tuple[Actor | None, Fate | int]] = [(actor, Fate.ANSWERED) for actor in alive]
    moves += [(None, index) for index in range(hanging)]
    if faults:
        for actor in alive:
            assert actor.request is not None
            moves += [(actor, fate) for fate in dict.fromkeys(fates[actor.request.operation])]
    return moves


def _is_unnoticed(request: Request | None) -> bool:
    if request is None:
        return False
    if request.operation == "get":
        return request.key == "format.json"
    return request.operation == "put" and request.key.startswith(("packs/", "manifests/"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.exhaust", description=__doc__)
    parser.add_argument("--cast", choices=sorted(CASTS), default="1,2")
    parser.add_argument("--faults", type=int, default=0)
    asked = parser.parse_args()
    began, count, distinct = time.monotonic(), 0, set[int]()
    gc.disable()
    for scene in schedules(CASTS[asked.cast], asked.faults):
        count += 1
        distinct.add(scene.fingerprint())
        if count % _BETWEEN_COLLECTIONS == 0:
            gc.collect()
        if scene.judge.verdict is not None:
            print(f"schedule {count}: {scene.judge.verdict}")
            for step in scene.trace:
                print("  ", *step)
            return 1
    seconds = time.monotonic() - began
    print(f"cast {asked.cast!r}, up to {asked.faults} faults: exhausted, {count} schedules, {len(distinct)} distinct,")
    print(f"no violation, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
