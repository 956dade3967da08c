"""The rules of mode "scoped", explored exhaustively in a small size; each hole put back is found."""

from __future__ import annotations

import pytest

from tests.model.scoped import RUNS, Hole, Model, explore

pytestmark = pytest.mark.deep

SMALL = {
    "attempts 1,2, two saves": Model((1, 2), delays=1, saves=2),
    "two processes of one attempt, two saves": Model((1, 1), delays=1, saves=2),
    "attempts 1,2,3": Model((1, 2, 3), delays=0, saves=1),
    "attempts 1,2, and COMPLETE": Model((1, 2), delays=1, saves=1, complete=True),
}
HOLES: dict[Hole, tuple[tuple[int, ...], str]] = {
    "no LIST after a PUT": ((1, 2), "I4"),
    "no BASE": ((1, 2), "IF"),
    "restore from the first LIST": ((1, 2), "I4"),
    "a lone FENCE has authority": ((1, 2), "I4"),
    "a number is used twice": ((1, 2), "I2"),
    "delete before the LIST": ((1, 2), "I1"),
    "takeover not counted": ((1, 1), "I2"),
    "no history": ((1, 2), "I1"),
    "collects up to its own fence": ((1, 2), "I1"),
}


@pytest.mark.parametrize("model", SMALL.values(), ids=SMALL.keys())
def test_every_interleaving_keeps_the_invariants(model: Model) -> None:
    found = explore(model)
    assert not found.violations
    assert found.exhausted
    assert {"fenced", "refused", "restore", "dead"} - ({"dead"} if model.delays == 0 else set()) <= found.ends


@pytest.mark.parametrize("hole", HOLES)
def test_each_hole_is_found(hole: Hole) -> None:
    attempts, invariant = HOLES[hole]
    found = explore(Model(attempts, delays=1, saves=2, hole=hole))
    assert invariant in found.violations, found.violations


def test_the_large_runs_cover_the_casts_that_the_rules_are_about() -> None:
    assert {model.attempts for model in RUNS.values()} >= {(1, 2), (1, 1), (1, 2, 3), (1, 1, 2)}
