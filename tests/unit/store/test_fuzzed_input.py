"""The fuzzer's targets in small (`make fuzz` runs them in large): changed JSON and raw bytes, some hundred of each."""

from __future__ import annotations

import logging
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutate
from tests.fuzz.targets import TARGETS, checked, seeds
from waypost.store.damage import UnreadableEntryError
from waypost.store.entries import decode

pytestmark = pytest.mark.deep

SEEDS = list(seeds())


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=300, deadline=None)
@given(seed=st.sampled_from(SEEDS), chance=st.integers(0, 2**32), raw=st.binary(max_size=60))
def test_nothing_but_the_stated_errors(target: str, seed: bytes, chance: int, raw: bytes) -> None:
    logging.disable(logging.CRITICAL)
    try:
        TARGETS[target](mutate(seed, random.Random(chance)) or raw)
        TARGETS[target](raw)
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_is_taken_by_every_target(target: str) -> None:
    for seed in SEEDS:
        TARGETS[target](seed)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_what_is_no_number_of_json_makes_an_entry_unreadable(number: str) -> None:
    """Found by fuzzing: such metadata could be read, but not be written again when its checkpoint became a stub."""
    [good] = [seed for seed in SEEDS if b'"metadata":{"k":[1]}' in seed and b'"stub"' in seed]
    decode(checked(good), 3)
    with pytest.raises(UnreadableEntryError, match="no number of JSON"):
        decode(checked(good.replace(b'{"k":[1]}', f'{{"k":[{number}]}}'.encode())), 3)
