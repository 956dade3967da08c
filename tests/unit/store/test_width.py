"""How many requests are in flight: more where that brings more, fewer where the place asks for it."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable

import pytest

from tests.unit.store.stepped import SteppedBackend
from waypost.backends.objectstore import ObjectStoreBackend
from waypost.backends.protocol import Limited
from waypost.mover.serving import _Telling
from waypost.store.width import MOST, START, Width, first_at, most_at


class Line:
    """A place that answers each request after a time, and says when a request begun now would end."""

    def __init__(self, seconds: Callable[[int], float]) -> None:
        """`seconds`: what one request of MIB takes while so many are in flight."""
        self.time, self._seconds = 0.0, seconds

    def carry(self, width: Width, requests: int) -> list[int]:
        """Keep as many in flight as it says; how many that were, after each."""
        seen = []
        for _ in range(requests):
            self.time += self._seconds(width.now) / width.now
            width.landed(1 << 20)
            seen.append(width.now)
        return seen


def distant(width: int) -> float:
    """Each connection carries the same, however many there are."""
    return 0.1


def full(width: int) -> float:
    """All share one line, which four fill."""
    return 0.1 * width / 4


def test_where_every_connection_carries_the_same_it_grows_to_the_most() -> None:
    line = Line(distant)
    assert line.carry(Width(lambda: line.time), 200)[-1] == MOST


def test_on_a_line_that_is_full_it_tries_once_and_goes_back() -> None:
    line = Line(full)
    seen = line.carry(Width(lambda: line.time), 60)
    assert seen[-1] == START
    assert max(seen) == 2 * START
    assert seen.count(START) > 40


def test_it_tries_again_later_for_a_line_may_change() -> None:
    line = Line(full)
    width = Width(lambda: line.time)
    line.carry(width, 60)
    line._seconds = distant
    assert line.carry(width, 300)[-1] == MOST


def test_slow_down_halves_it_at_once_and_growing_again_is_careful() -> None:
    line = Line(distant)
    width = Width(lambda: line.time)
    line.carry(width, 200)
    width.throttled(line.time)
    seen = line.carry(width, 400)
    assert seen[0] == MOST // 2
    assert all(after <= before + 1 for before, after in itertools.pairwise(seen))
    assert seen[-1] > MOST // 2


@pytest.mark.parametrize("times", [3, 30])
def test_however_often_it_is_told_one_is_left(times: int) -> None:
    line = Line(distant)
    width = Width(lambda: line.time)
    for _ in range(times):
        width.throttled(line.time)
        line.carry(width, 1)
    assert width.now >= 1
    assert width.now <= 2


def test_of_many_that_tell_of_the_same_trouble_one_is_heard() -> None:
    line = Line(distant)
    width = Width(lambda: line.time)
    line.carry(width, 200)
    began, line.time = line.time, line.time + 1
    for _ in range(MOST):
        width.throttled(began)
        line.time += 0.01
    assert width.now == MOST // 2
    width.throttled(line.time)
    assert width.now == MOST // 4


def test_where_time_stands_still_nothing_is_concluded() -> None:
    width = Width(lambda: 0.0)
    for _ in range(100):
        width.landed(1)
    assert width.now == START


class Single(SteppedBackend):
    most_requests = 1


def test_a_place_that_does_one_at_a_time_is_known_as_that_through_what_is_put_around_it() -> None:
    """Its attributes come by `__getattr__` then, which `isinstance` doesn't ask as of Python 3.12."""
    single: Limited = Single()
    for place, most in [(Single(), single.most_requests), (SteppedBackend(), MOST)]:
        telling = _Telling(place, frozenset(), lambda message: None)
        assert most_at(telling) == most_at(place) == most


def test_a_place_says_how_many_requests_to_begin_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lane over TLS wants a core; over plain HTTP the kernel does most of it."""
    for address, cores, expected in (
        ("http://storage:9000", 2, 4),
        ("https://storage:9000", 2, 2),
        ("https://storage:9000", 1, 2),
        ("https://storage:9000", 16, 4),
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setattr(os, "cpu_count", functools.partial(int, cores))
        assert first_at(ObjectStoreBackend("s3://bucket/store")) == expected
    assert first_at(SteppedBackend()) == START
