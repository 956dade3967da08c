"""Sets of sequence numbers as ranges: the same as plain sets, however they came about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.store.sequences import Sequences

numbers = st.frozensets(st.integers(1, 60))


@given(numbers)
def test_it_holds_what_it_was_made_of_newest_first(plain: frozenset[int]) -> None:
    found = Sequences.of(plain)
    assert list(found) == sorted(plain, reverse=True)
    assert found.newest == max(plain, default=None)
    assert all((number in found) == (number in plain) for number in range(1, 62))


@given(numbers, numbers)
def test_without_is_the_difference(plain: frozenset[int], gone: frozenset[int]) -> None:
    assert Sequences.of(plain).without(Sequences.of(gone)) == Sequences.of(plain - gone)


@given(numbers)
def test_adding_the_next_is_a_union(plain: frozenset[int]) -> None:
    for number in (61, 70):
        assert Sequences.of(plain).adding(number) == Sequences.of(plain | {number})


@given(numbers, st.integers(1, 61))
def test_below_is_the_highest_lower_one(plain: frozenset[int], number: int) -> None:
    assert Sequences.of(plain).below(number) == max((other for other in plain if other < number), default=None)


@given(numbers)
def test_json_leads_back(plain: frozenset[int]) -> None:
    assert Sequences.from_json(Sequences.of(plain).to_json()) == Sequences.of(plain)


def test_ten_thousand_saves_in_a_row_are_two_numbers() -> None:
    assert Sequences.of(range(2, 10_002)).to_json() == [[2, 10_001]]


def test_the_log_only_grows() -> None:
    with pytest.raises(ValueError, match="doesn't come after"):
        Sequences.of([5]).adding(5)
