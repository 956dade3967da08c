"""What the queue promises to workers: no key twice at a time, none forgotten, and the earliest time wins."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from waypost_operator.runtime.queue import KeyQueue

from .virtual_time import now, run


class Clock:
    """Time that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make() -> tuple[KeyQueue[str], Clock]:
    clock = Clock()
    return KeyQueue(clock), clock


def test_a_key_added_many_times_is_taken_once() -> None:
    queue, _ = make()
    for _ in range(5):
        queue.add("a")
    assert queue.take() == "a"
    queue.done("a")
    assert queue.take() is None


def test_a_key_is_never_held_by_two_workers() -> None:
    queue, _ = make()
    queue.add("a")
    assert queue.take() == "a"
    queue.add("a")
    assert queue.take() is None


def test_a_key_added_while_it_is_held_runs_again() -> None:
    queue, _ = make()
    queue.add("a")
    queue.take()
    queue.add("a")
    queue.done("a")
    assert queue.take() == "a"


def test_a_held_key_does_not_hide_others_that_are_due() -> None:
    queue, _ = make()
    queue.add("a")
    queue.take()
    queue.add("a")
    queue.add("b")
    assert queue.take() == "b"


def test_keys_are_taken_in_the_order_in_which_they_came_due() -> None:
    queue, clock = make()
    queue.add("late", 2.0)
    queue.add("early", 1.0)
    queue.add("now")
    clock.now += 5
    assert [queue.take(), queue.take(), queue.take()] == ["now", "early", "late"]


def test_a_delayed_key_waits_for_its_time() -> None:
    queue, clock = make()
    queue.add("a", 10.0)
    assert queue.take() is None
    clock.now += 10.0
    assert queue.take() == "a"


def test_of_two_times_for_a_key_the_earlier_wins_and_the_other_is_dropped() -> None:
    queue, clock = make()
    queue.add("a", 10.0)
    queue.add("a", 3.0)
    queue.add("a", 7.0)
    clock.now += 3.0
    assert queue.take() == "a"
    queue.done("a")
    clock.now += 60.0
    assert queue.take() is None


def test_a_delay_asked_for_while_held_starts_when_it_was_asked() -> None:
    queue, clock = make()
    queue.add("a")
    queue.take()
    queue.add("a", 10.0)
    clock.now += 4.0
    queue.done("a")
    clock.now += 5.9
    assert queue.take() is None
    clock.now += 0.2
    assert queue.take() == "a"


def test_errors_of_a_key_double_its_delay_up_to_a_cap_until_forgiven() -> None:
    queue: KeyQueue[str] = KeyQueue(Clock(), first_backoff=1.0, longest_backoff=5.0)
    assert [queue.add_failed("a") for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert queue.add_failed("b") == 1.0
    queue.forgive("a")
    assert queue.add_failed("a") == 1.0


def test_a_wait_that_the_server_asks_for_is_respected() -> None:
    queue, clock = make()
    assert queue.add_failed("a", at_least=30.0) == 30.0
    clock.now += 29.0
    assert queue.take() is None


def test_a_thousand_errors_do_not_overflow() -> None:
    queue: KeyQueue[str] = KeyQueue(Clock(), longest_backoff=60.0)
    for _ in range(2000):
        delay = queue.add_failed("a")
    assert delay == 60.0


def test_a_waiting_worker_wakes_at_the_key_s_time_and_no_later() -> None:
    async def scenario() -> None:
        queue: KeyQueue[str] = KeyQueue(now)
        began = now()
        queue.add("a", 30.0)
        assert await queue.get() == "a"
        assert now() - began == 30.0

    run(scenario())


def test_a_waiting_worker_wakes_for_a_key_that_comes_earlier_than_the_one_it_waited_for() -> None:
    async def scenario() -> None:
        queue: KeyQueue[str] = KeyQueue(now)
        began = now()
        queue.add("late", 30.0)
        getting = asyncio.create_task(queue.get())
        await asyncio.sleep(5.0)
        queue.add("early")
        assert await getting == "early"
        assert now() - began == 5.0

    run(scenario())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 20), st.floats(0, 5)), max_size=40))
def test_every_key_added_is_served_after_its_last_addition_and_never_twice_at_a_time(
    additions: list[tuple[str, float, float]],
) -> None:
    async def scenario() -> None:
        queue: KeyQueue[str] = KeyQueue(now)
        held: set[str] = set()
        begun: dict[str, float] = {}

        async def worker() -> None:
            while True:
                key = await queue.get()
                assert key not in held
                held.add(key)
                begun[key] = now()
                await asyncio.sleep(1.0)
                held.discard(key)
                queue.done(key)

        workers = [asyncio.create_task(worker()) for _ in range(2)]
        asked: dict[str, float] = {}
        for key, delay, pause in additions:
            queue.add(key, delay)
            asked[key] = now()
            await asyncio.sleep(pause)
        await asyncio.sleep(200.0)
        assert not any(task.done() for task in workers), [task for task in workers if task.done()]
        assert len(queue) == 0
        assert all(begun[key] >= asked[key] for key in asked)
        for task in workers:
            task.cancel()

    run(scenario())
