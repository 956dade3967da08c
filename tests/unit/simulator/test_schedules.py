"""A short run of the simulator, and that its word can be relied on: the same seed is the same schedule."""

from __future__ import annotations

import pytest

from tests.simulator.casts import CASTS
from tests.simulator.figures import run
from tests.simulator.schedule import Schedule

SCHEDULES = 3000


def test_no_schedule_breaks_an_invariant() -> None:
    figures = run(range(SCHEDULES), tuple(CASTS))
    assert figures.violations == [], "`make simulate SEED=… SCHEDULES=1 CAST=…` shows each step by step"
    for event in ("fenced", "refused", "resumed from another attempt", "carried out late", "told complete", "read"):
        assert figures.met[event] > 20, f"the schedules hardly ever come to this: {event}"


def test_most_schedules_are_different_ones() -> None:
    figures = run(range(1000), tuple(CASTS))
    assert len(set(figures.fingerprints)) > 0.7 * figures.schedules


@pytest.mark.parametrize("cast", CASTS)
def test_a_seed_is_the_same_schedule_again(cast: str) -> None:
    for seed in range(20):
        first, second = Schedule(seed, CASTS[cast]), Schedule(seed, CASTS[cast])
        first.run()
        second.run()
        assert first.trace == second.trace
        assert first.judge.records == second.judge.records
