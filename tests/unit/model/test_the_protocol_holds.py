"""The rules of the store, explored to the end in small bounds; every hole that they close, put back and found."""

from __future__ import annotations

import pytest

from tests.model.exploring import explore
from tests.model.held import HELD
from tests.model.holes import HOLES
from tests.model.runs import Run
from tests.model.world import UNSETTLED, ZERO

pytestmark = pytest.mark.deep

_MOST_STATES = 40_000


@pytest.mark.parametrize("run", [pytest.param(run, id=f"{run.name}: {run.about}") for run in HOLES if run.small])
def test_a_hole_put_back_is_found(run: Run) -> None:
    assert run.small is not None
    result = explore(run.small, max_states=_MOST_STATES, to_first=True)
    assert result.found, f"{run.name} put back a hole, and nothing was found in {result.states} worlds"
    assert set(result.found) <= run.breaks, "\n".join(str(found) for found in result.found.values())


@pytest.mark.parametrize("run", [pytest.param(run, id=f"{run.name}: {run.about}") for run in HELD if run.small])
def test_the_rules_hold_in_every_world_that_can_be_reached(run: Run) -> None:
    assert run.small is not None
    result = explore(run.small, max_states=_MOST_STATES, usable=run.usable)
    assert not result.found, "\n".join(
        [f"{found.what}:\n  " + "\n  ".join(found.steps) for found in result.found.values()]
    )
    assert result.exhausted, f"{run.name} isn't small any more: choose smaller bounds for it"


def test_hashes_alone_tell_the_worlds_apart() -> None:
    assert hash(UNSETTLED) != hash(ZERO), "Python gives -1 and -2 the same hash"
    [rules] = [run.small for run in HELD if run.name == "R1" and run.small]
    whole, compact = explore(rules), explore(rules, compact=True)
    assert (whole.states, whole.transitions, whole.ends) == (compact.states, compact.transitions, compact.ends)


def test_what_breaks_is_seen_by_hashes_too() -> None:
    [hole] = [run for run in HOLES if run.name == "L2"]
    assert set(explore(hole.rules, compact=True).found) <= hole.breaks
    assert explore(hole.rules, compact=True).found
