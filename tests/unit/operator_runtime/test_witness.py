"""A watch that has died is noticed, and one that is only slow or has nothing to tell is not accused."""

from __future__ import annotations

from waypost_operator.runtime.witness import STALE_SECONDS, Kind, WatchWitness

from .objects import KEY, task


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make() -> tuple[WatchWitness, Clock]:
    clock = Clock()
    return WatchWitness(clock=clock), clock


def test_a_write_that_never_comes_back_through_the_watch_is_reported() -> None:
    witness, clock = make()
    witness.expect(Kind.TASK, task(version=5))
    clock.now = STALE_SECONDS - 1
    assert witness.overdue() == []
    clock.now = STALE_SECONDS + 1
    assert "version 5 of ns/train" in witness.overdue()[0]


def test_an_echo_or_anything_newer_settles_it() -> None:
    for version in (5, 6):
        witness, clock = make()
        witness.expect(Kind.TASK, task(version=5))
        witness.shown(Kind.TASK, task(version=version))
        clock.now = STALE_SECONDS + 1
        assert witness.overdue() == []


def test_an_older_version_settles_nothing() -> None:
    witness, clock = make()
    witness.expect(Kind.TASK, task(version=5))
    witness.shown(Kind.TASK, task(version=4))
    clock.now = STALE_SECONDS + 1
    assert witness.overdue()


def test_a_steady_stream_of_own_writes_does_not_hide_that_none_came_back() -> None:
    witness, clock = make()
    for version in range(20):
        witness.expect(Kind.TASK, task(version=version))
        clock.now += STALE_SECONDS / 10
    assert witness.overdue()


def test_an_echo_that_overtakes_the_answer_counts() -> None:
    witness, clock = make()
    witness.shown(Kind.TASK, task(version=5))
    witness.expect(Kind.TASK, task(version=5))
    clock.now = STALE_SECONDS + 1
    assert witness.overdue() == []


def test_the_end_of_an_object_settles_what_was_owed_about_it() -> None:
    witness, clock = make()
    witness.expect(Kind.TASK, task(version=5))
    witness.shown(Kind.TASK, task(version=7), deleted=True)
    witness.expect(Kind.POD, task(version=5))
    witness.gone(Kind.POD, KEY)
    clock.now = STALE_SECONDS + 1
    assert witness.overdue() == []


def test_a_quiet_cluster_is_no_dead_watch() -> None:
    witness, clock = make()
    witness.shown(Kind.TASK, task(version=5))
    clock.now = 100 * STALE_SECONDS
    assert witness.overdue() == []
