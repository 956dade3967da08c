"""Mode "scoped": nothing is confirmed or deleted before a LIST behind the PUT shows no higher scope (rule 11, H9)."""

from __future__ import annotations

import pytest

from tests.unit.store.scoped_place import entries, once, scoped_place
from tests.unit.store.stepped import (
    BUDGET,
    Overwriting,
    Process,
    World,
    format_file,
    large,
    lose_answer,
    read,
    refuse,
)
from waypost.errors import (
    CheckpointPrunedError,
    CompletedError,
    ConfigurationError,
    FencedError,
    StorageError,
)
from waypost.store import keys
from waypost.store.calls import Calls
from waypost.store.entries import Prune
from waypost.store.format import Mode
from waypost.store.scoped import ScopedJournal
from waypost.store.sequences import NOTHING


@pytest.fixture
def place() -> Overwriting:
    return scoped_place()


def test_a_zombie_is_fenced_for_ever_and_nothing_of_it_is_restored(place: Overwriting) -> None:
    zombie = Process(place)
    zombie.save(b"one")
    successor = Process(place, attempt=2)
    for _ in range(2):
        with pytest.raises(FencedError, match=r"attempt 1 \(fence 2\) of .* was overtaken by attempt 2"):
            zombie.save(b"zombie's")
    assert read(place) == (3, b"one")
    assert successor.save(b"two").sequence == 5
    assert Process(place, attempt=3).restore() == (5, b"two")


def test_a_fence_that_arrives_with_the_save_fences(place: Overwriting) -> None:
    first = Process(place)
    once(place, "list", keys.LOG, lambda: Process(place, attempt=2))
    with pytest.raises(FencedError):
        first.save(b"too late")


def test_a_zombie_that_restores_ends_as_fenced_and_never_falls_back(place: Overwriting) -> None:
    first = Process(place)
    first.save(large(b"one"))
    zombie = Process(place, attempt=2)
    Process(place, attempt=3)
    for key in place.packs():
        place.delete(key)
    with pytest.raises(FencedError, match="while it was restoring"):
        zombie.restore()


def test_a_save_whose_listing_fails_is_unknown_and_its_number_is_spent(place: Overwriting) -> None:
    process = Process(place)
    place.plan("list", keys.LOG, refuse)
    with pytest.raises(StorageError) as failed:
        process.save(b"one")
    assert failed.value.outcome == "unknown"
    assert process.save(b"two").sequence == 4
    assert read(place) == (4, b"two")


def test_a_save_that_lands_after_it_was_given_up_is_not_live(place: Overwriting) -> None:
    process = Process(place)
    place.plan("put", keys.LOG, *[place.hang] * 50)
    with pytest.raises(StorageError) as failed:
        process.save(b"one")
    assert failed.value.outcome == "unknown"
    place._plans.clear()
    assert process.save(b"two").sequence == 4
    place.deliver()
    assert read(place) == (4, b"two")
    assert (1, "CHECKPOINT", 3) in entries(place)
    with pytest.raises(CheckpointPrunedError):
        read(place, 3, strict=True)


def test_a_save_refused_at_once_is_not_saved(place: Overwriting) -> None:
    process = Process(place)
    place.plan("put", keys.LOG, refuse)
    with pytest.raises(StorageError) as failed:
        process.save(b"one")
    assert failed.value.outcome == "not saved"
    place.plan("put", keys.LOG, lose_answer, refuse)
    with pytest.raises(StorageError) as failed:
        process.save(b"one")
    assert failed.value.outcome == "unknown"


def test_nothing_but_complete_follows_a_complete_of_unknown_outcome(place: Overwriting) -> None:
    process = Process(place)
    place.plan("list", keys.LOG, refuse)
    with pytest.raises(StorageError):
        process.complete()
    with pytest.raises(StorageError, match="whether that stands is unknown"):
        process.save(b"more")
    process.complete()
    with pytest.raises(CompletedError):
        Process(place, attempt=2)


class Lagging(Overwriting):
    """Listings show what was there one write ago."""

    def __init__(self) -> None:
        super().__init__()
        self.lags = False
        self._shown: list[str] = []

    def list(self, prefix: str, start_after: str = "", limit: int = 1000) -> list[str]:
        now = super().list(prefix, start_after, limit)
        shown, self._shown = self._shown, now
        return shown if self.lags else now


def test_listings_that_lag_are_noticed_before_anything_is_confirmed() -> None:
    place = Lagging()
    place.objects[keys.FORMAT_KEY] = format_file(Mode.SCOPED)
    process = Process(place)
    place.lags = True
    with pytest.raises(StorageError, match="a listing doesn't show an entry") as failed:
        process.save(b"one")
    assert failed.value.outcome == "unknown"
    with pytest.raises(StorageError, match="a listing doesn't show an entry"):
        Process(place, attempt=2)


def test_nobody_appends_without_a_scope(place: Overwriting) -> None:
    """A person's `prune` or `pin` has no fence, and nothing there would hold it off the running task."""
    Process(place).save(b"one")
    journal = ScopedJournal(Calls(place, World().seams(), BUDGET))
    state = journal.survey()
    entry = Prune(
        sequence=journal.free_number(state),
        attempt=0,
        fence=0,
        nonce="0",
        time=World().seams().now(),
        live=NOTHING,
        pinned=NOTHING,
        prunes=state.live,
    )
    with pytest.raises(ConfigurationError, match="only the running task itself may write"):
        journal.put(entry)


def test_no_two_writers_name_a_pack_alike(place: Overwriting) -> None:
    for attempt in (1, 2, 3):
        Process(place, attempt).save(large(b"the same"))
    names = [key.removeprefix(keys.PACKS).split("-") for key in place.packs()]
    assert len({(fence, ordinal) for fence, ordinal, _ in names}) == 3
    assert all(keys.is_object_name("-".join(name)) and int(name[1]) > 10**6 for name in names)
