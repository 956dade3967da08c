"""A short run of the simulator, and that its word can be relied on: the same seed is the same schedule."""

from __future__ import annotations

import pytest

from tests.simulator import exhaust
from tests.simulator.casts import CASTS, Cast
from tests.simulator.figures import run
from tests.simulator.process import Writing
from tests.simulator.schedule import Schedule

pytestmark = pytest.mark.deep

SCHEDULES = 2000


@pytest.mark.timeout(300)
def test_no_schedule_breaks_an_invariant() -> None:
    figures = run(range(SCHEDULES), tuple(CASTS))
    assert figures.violations == [], "`make simulate SEED=… SCHEDULES=1 CAST=…` shows each step by step"
    assert len(set(figures.fingerprints)) > 0.7 * figures.schedules, "many schedules are the same"
    for event in (
        "fenced",
        "refused",
        "resumed from another attempt",
        "answer lost",
        "carried out late",
        "told complete",
        "read",
        "deletes",
        "stubs",
        "prune by hand",
        "damaged",
        "snapshots",
        "BASE",
        "fell back",
        "began from another store",
        "nothing to begin from",
    ):
        assert figures.met[event] > 5, f"the schedules hardly ever come to this: {event}"


BLIND = "1,2,3 and unreadable entries"
"""A zombie that didn't see its successor's FENCE, and mistakes of the judge."""
LAGGING = "1,2,3 from a store at work"
"""A second LIST of the source lagged behind the first: an older base than the one found, or none."""
RANKS = "ranks: 1,2"
"""A rank above 0 was told 'not saved', though its part stood, and rank 0 committed it."""


@pytest.mark.parametrize(
    ("seed", "cast"),
    [(seed, BLIND) for seed in (11739, 38124, 48789, 458664, 473694)]
    + [(16, LAGGING), (45, LAGGING), (71, LAGGING), (182, "1,2,3 from a store that begins")]
    + [(201, RANKS), (219, RANKS), (785, "ranks: 2 restarted in its pod")],
)
def test_what_was_a_violation_once_is_none_any_more(seed: int, cast: str) -> None:
    assert run([seed], (cast,)).violations == []


def test_every_order_of_two_processes_of_one_attempt_keeps_the_invariants() -> None:
    cast = Cast((Writing(1, "a", saves=1, keeps=None), Writing(1, "a", saves=1, keeps=None)))
    found = list(exhaust.schedules(cast, faults=0))
    assert [scene.judge.verdict for scene in found if scene.judge.verdict is not None] == []
    assert len({scene.fingerprint() for scene in found}) == len(found) > 40


@pytest.mark.parametrize("cast", CASTS)
def test_a_seed_is_the_same_schedule_again(cast: str) -> None:
    for seed in range(6):
        first, second = Schedule(seed, CASTS[cast]).run(), Schedule(seed, CASTS[cast]).run()
        assert first.trace == second.trace
        assert first.judge.records == second.judge.records
