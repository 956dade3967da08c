"""The row of scopes: what their names say, who holds which number, and how long a row may get."""

from __future__ import annotations

import pytest

from tests.unit.store.scoped_place import scoped_place
from tests.unit.store.stepped import (
    Overwriting,
    Process,
    World,
)
from waypost.errors import (
    ConfigurationError,
)
from waypost.store import keys
from waypost.store.entries import Base, Checkpoint, Entry
from waypost.store.scopes import LONG_ROW, MAX_ROW, NO_SCOPES, Scope, Scopes, placed
from waypost.store.sequences import NOTHING, Sequences


@pytest.fixture
def place() -> Overwriting:
    return scoped_place()


def test_names_and_keys_are_read_as_they_are_written() -> None:
    scope = Scope(12, 3, "0123456789abcdef" * 2)
    assert scope.name == "99999999999999999987-99999999999999999996-0123456789abcdef0123456789abcdef"
    assert Scope.parse(scope.name) == scope
    assert placed(scope.key(7)) == (scope, 7)
    assert scope.key(7) == f"log/{scope.name}-99999999999999999992.json"
    for other in (Scope(13, 1, "f" * 32), Scope(12, 4, "f" * 32), Scope(12, 3, "0" * 32)):
        assert other.outranks(scope)
        assert other.key(1) < scope.key(10**6), "and so it stands before it in a LIST"
    for wrong in (
        "log/x.json",
        keys.log_key(5),
        scope.key(7) + "/",
        f"log/{'9' * 20}-{'9' * 20}-{'0' * 32}-{'9' * 20}.json",
    ):
        assert placed(wrong) is None


def test_numbers_are_found_by_the_row() -> None:
    first, second = Scope(1, 1, "0" * 32), Scope(2, 1, "0" * 32)
    row = NO_SCOPES.followed_by(2, first, NOTHING).followed_by(6, second, Sequences.of([3]))
    assert [row.holder(number) for number in (1, 2, 5, 6, 99)] == [None, first, first, second, second]
    assert row.own == second
    assert Scopes.from_json(row.to_json()) == row


def test_a_long_row_loses_its_oldest_scopes_unless_something_is_live_there() -> None:
    row, live = NO_SCOPES, Sequences.of([20])
    for number in range(2, LONG_ROW + 100):
        row = row.followed_by(number, Scope(number, 1, "0" * 32), live)
    assert row.row[0][0] == 20
    assert len(row.row) == LONG_ROW + 80
    assert len(row.followed_by(10**6, Scope(10**6, 1, "0" * 32), Sequences.of([10**6 - 1])).row) == LONG_ROW


@pytest.mark.parametrize(
    "value", [None, {}, [1], [[1]], [[True, "x"]], [[1, "x"]], [[2, Scope(1, 1, "0" * 32).name]] * 2, [[0, "x"]]]
)
def test_a_row_that_makes_no_sense_is_no_row(value: object) -> None:
    with pytest.raises(ValueError, match="scopes"):
        Scopes.from_json(value)


def test_too_many_scopes_with_something_live_are_a_clear_error(place: Overwriting) -> None:
    scopes = Scopes(tuple((number, Scope(number, 1, "0" * 32)) for number in range(2, MAX_ROW + 2)))
    last = scopes.own
    assert last is not None
    base: Entry = Base(
        sequence=MAX_ROW + 1,
        attempt=last.attempt,
        fence=MAX_ROW + 1,
        nonce="0",
        time=World().seams().now(),
        live=Sequences.of([2]),
        pinned=NOTHING,
        scopes=scopes,
    )
    place.objects[last.key(base.sequence)] = base.encode()
    with pytest.raises(ConfigurationError, match="of more than 4000 different starts"):
        Process(place, attempt=10**6)


def test_the_largest_entry_still_fits() -> None:
    scopes = Scopes(tuple((2**62 + number, Scope(2**62, number + 1, "0" * 32)) for number in range(MAX_ROW)))
    entry = Checkpoint(
        sequence=2**63 - 1,
        attempt=1,
        fence=1,
        nonce="0" * 32,
        time=World().seams().now(),
        live=NOTHING,
        pinned=NOTHING,
        scopes=scopes,
        step=1,
        metrics={},
        metadata={"x": "x" * keys.MAX_ANNOTATIONS},
        parent=None,
        size=0,
        manifest={"packs": "x" * keys.MAX_INLINE},
        data=b"x" * keys.MAX_INLINE,
    )
    assert len(entry.encode()) < keys.MAX_ENTRY
