"""Against an API server whose every answer is slow, tasks go on; by one answer that hung, nothing is done.

A whole operator process is moved by hand (`stepped`): each request takes effect at once, and its answer arrives as late
as the test says. What an answer tells counts as seen when it was asked for, so a fixed limit for its age would stop
everything as soon as the server is slower than that.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from random import Random

import pytest

from tests.unit.operator.tasks import UID, task
from tests.unit.operator.world import World
from waypost_operator.model.pace import SLACK, Asked, Pace, may_be_as_old
from waypost_operator.runtime.client import REQUEST_SECONDS
from waypost_operator.steps.situation import CONFIRMED_FOR

from .stepped import Process

Takes = Callable[[], float]
"""How many seconds the next answer takes."""
MANY = 400


class Slow:
    """One operator, and a server that takes its time; every kubelet is quick."""

    def __init__(self, takes: Takes) -> None:
        self.world = World(task(max_failures=5, initial_seconds=1, max_seconds=1))
        self.process = Process(self.world)
        self.takes = takes
        self.requests: list[str] = []
        self.ages: list[float] = []
        """Of each create: how long ago, when it was sent, the task had been asked for."""
        self._asked = self.world.now

    def run_until(self, done: Callable[[], bool]) -> None:
        """Let it work until `done`, or fail."""
        for _ in range(MANY):
            if done():
                return
            self.process.watch()
            if self.process.request is None:
                if not self.process.wake():
                    self.world.now += timedelta(seconds=1)
                continue
            self._answer()
        raise AssertionError(f"it never comes to that; the last requests: {self.requests[-12:]}")

    def _answer(self) -> None:
        request = self.process.request
        assert request is not None
        self.requests.append(request.verb)
        if request.verb == "POST pod":
            self.ages.append((self.world.now - self._asked).total_seconds())
        if request.verb in ("GET task", "PUT status"):
            self._asked = self.world.now
        self.process.carry_out()
        self.world.now += timedelta(seconds=self.takes())
        self.process.hear()


def in_turn(*seconds: float) -> Takes:
    taken: Iterator[float] = itertools.cycle(seconds)
    return lambda: next(taken)


def at_random(seed: int) -> Takes:
    dice = Random(seed)
    return lambda: dice.uniform(0.01, REQUEST_SECONDS - 0.01)


SLOW: dict[str, Takes] = {
    "quick": in_turn(0.01),
    "as slow as the limit": in_turn(5.0),
    "slower than the limit": in_turn(5.5),
    "as slow as a request may be": in_turn(9.9),
    "now slow, now slower": in_turn(5.5, 9.9),
    "slower and slower": in_turn(5.1, 6.0, 7.0, 8.0, 9.0, 9.9),
    **{f"at random {seed}": at_random(seed) for seed in range(20)},
}


@pytest.mark.parametrize("takes", SLOW.values(), ids=SLOW.keys())
def test_a_preempted_task_is_relaunched_however_slow_the_answers_are(takes: Takes) -> None:
    slow = Slow(takes)
    world = slow.world
    for attempt in (1, 2, 3):
        name = f"train-{attempt}"
        slow.run_until(lambda name=name: name in world.alive(UID))  # type: ignore[misc]
        slow.run_until(lambda: bool(world.status.get("podUID")))
        world.bind(name, "node-2")
        world.run(name)
        world.disrupt(name)
        world.exit(name, 143)
        world.remove(name)
    assert max(slow.ages) <= SLACK * REQUEST_SECONDS


@pytest.mark.parametrize("takes", [in_turn(0.01), in_turn(5.5), in_turn(9.9), in_turn(6.0, 8.0, 7.0)])
def test_a_task_goes_on_beside_the_pod_of_a_silent_node_however_slow_the_answers_are(takes: Takes) -> None:
    slow = Slow(takes)
    world = slow.world
    slow.run_until(lambda: bool(world.status.get("podUID")))
    world.bind("train-1", "node-1")
    world.run("train-1")
    world.cut_off("node-1")
    world.disrupt("train-1")
    slow.run_until(lambda: "train-2" in world.alive(UID))
    assert "train-1" in world.pods, "the old pod is never removed by force"


@pytest.mark.parametrize("takes", [in_turn(0.01), in_turn(9.9)])
def test_the_end_of_a_lost_pod_is_judged_by_its_node_however_slow_the_answers_are(takes: Takes) -> None:
    slow = Slow(takes)
    world = slow.world
    slow.run_until(lambda: bool(world.status.get("podUID")))
    world.bind("train-1", "node-1")
    world.run("train-1")
    del world.nodes["node-1"]
    world.remove("train-1")
    slow.run_until(lambda: "outcome" in world.status["attempts"][0])
    assert world.status["attempts"][0]["evidence"].endswith("node node-1 is gone")


def test_nothing_is_created_by_one_answer_that_hung() -> None:
    """The server is quick: what it said nine seconds ago is old, and asking again costs nothing."""
    slow = Slow(lambda: 9.0 if slow.requests[-1] == "PUT status" else 0.01)
    slow.run_until(lambda: bool(slow.world.alive(UID)))
    assert slow.requests.count("PUT status") == 1, "the one that opens the attempt, and hangs"
    assert slow.requests.count("GET task") == 1
    assert max(slow.ages) <= CONFIRMED_FOR.total_seconds(), slow.requests


LEAST = timedelta(seconds=5)


@pytest.mark.parametrize(
    ("took", "old"),
    [
        ([], 5.0),
        ([9.0], 5.0),
        ([0.1, 9.0], 5.0),
        ([9.0, 0.1], 5.0),
        ([2.0, 2.0], 5.0),
        ([6.0, 8.0], 12.0),
        ([9, 9], 18),
    ],
)
def test_an_answer_may_be_twice_as_old_as_answers_were_shown_to_take_twice_in_a_row(
    took: list[float], old: float
) -> None:
    pace = Pace()
    for seconds in took:
        pace = pace.then(timedelta(seconds=seconds))
    assert may_be_as_old(LEAST, {Asked.TASK: pace}, Asked.TASK) == timedelta(seconds=old)
    assert may_be_as_old(LEAST, {Asked.NODE: pace}, Asked.TASK) == LEAST, "only its own kind tells"
