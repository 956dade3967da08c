"""What a run of many schedules found, and how many of them were really different."""

from __future__ import annotations

import array
import dataclasses
import gc
from collections import Counter
from collections.abc import Iterable
from typing import Final

from tests.simulator.casts import CASTS
from tests.simulator.schedule import Schedule

_BETWEEN_COLLECTIONS: Final = 500


@dataclasses.dataclass(frozen=True)
class Violation:
    """Where an invariant fell: `make simulate SEED=seed SCHEDULES=1 CAST=cast` shows it again."""

    seed: int
    cast: str
    verdict: str


@dataclasses.dataclass
class Figures:
    """Of some schedules."""

    schedules: int = 0
    steps: int = 0
    fingerprints: array.array[int] = dataclasses.field(default_factory=lambda: array.array("Q"))
    met: Counter[str] = dataclasses.field(default_factory=Counter)
    violations: list[Violation] = dataclasses.field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Count others in; their fingerprints stay where they are."""
        self.schedules += other.schedules
        self.steps += other.steps
        self.met.update(other.met)
        self.violations += other.violations


def run(seeds: Iterable[int], casts: tuple[str, ...], *, first_only: bool = False) -> Figures:
    """Run these seeds, each on the cast that it stands for; until the first violation if `first_only`."""
    figures = Figures()
    gc.disable()  # greenlets and closures are cycles; looking for them all the time takes a fifth of the time
    try:
        for seed in seeds:
            cast = casts[seed % len(casts)]
            scene = Schedule(seed, CASTS[cast]).run()
            figures.schedules += 1
            figures.steps += len(scene.trace)
            figures.fingerprints.append(scene.fingerprint())
            figures.met.update(scene.judge.met)
            if scene.judge.verdict is not None:
                figures.violations.append(Violation(seed, cast, scene.judge.verdict))
                if first_only:
                    break
            if figures.schedules % _BETWEEN_COLLECTIONS == 0:
                gc.collect()
    finally:
        gc.enable()
    return figures
