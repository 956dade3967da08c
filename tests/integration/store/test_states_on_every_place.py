"""A state through real servers and places: saved behind the program's back, restored into its arrays."""

from __future__ import annotations

import numpy
import pytest

from waypost.checkpoints import Checkpoints
from waypost.store.keys import MIB

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("place", ["file", "versitygw"], indirect=True)
def test_states_come_back_from_every_place(uri: str) -> None:
    """Larger than a pack, two saves with one buffer, and a part by itself."""
    chance = numpy.random.default_rng(7)
    state = {"weights": chance.random(5 * MIB), "half": chance.random(1000).astype("f2"), "epoch": 0}
    with Checkpoints(uri, attempt=1) as store:
        for epoch in range(2):
            state["weights"][epoch] = epoch  # type: ignore[index]
            store.save({**state, "epoch": epoch}, step=epoch).result(100)
    there = {"weights": numpy.zeros(5 * MIB), "half": numpy.zeros(1000, "f2")}
    with Checkpoints(uri) as store:
        found = store.restore_state(into=there)
        part = store.restore_state(select="half", checkpoint=None)
    assert found is not None
    assert part is not None
    assert (found.info.step, found.state["epoch"]) == (1, 1)
    assert numpy.array_equal(there["weights"], state["weights"])  # type: ignore[arg-type]
    assert numpy.array_equal(part.state["half"], state["half"])  # type: ignore[arg-type]
    assert list(part.state) == ["half"]
