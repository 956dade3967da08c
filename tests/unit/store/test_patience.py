"""How long and how often a request is repeated: by its budget, or by what is left of the grace after a stop order."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from tests.unit.store.stepped import Process, SteppedBackend, World
from waypost.backends.protocol import NotNowError, RefusedError, ThrottledError, UnreachableError
from waypost.errors import StopRequested, StorageError
from waypost.store import waiting
from waypost.store.calls import SLOWEST, Budget, Calls

T = TypeVar("T")
BUDGET = Budget(seconds=100.0, answer=15.0, first_pause=0.1, longest_pause=10.0)


@dataclasses.dataclass
class Setting:
    """A store that answers as `trouble` says, in a world where time passes by sleeping and by hanging."""

    trouble: Exception | None = None
    hangs: bool = False
    chance: float = 0.0
    grace: Callable[[], float | None] = lambda: None
    interrupt: Callable[[], None] = lambda: None
    budget: Budget = BUDGET

    def __post_init__(self) -> None:
        self.world, self.tries = World(), list[float]()
        self.backend = SteppedBackend()
        self.backend.before = self._before
        seams = dataclasses.replace(self.world.seams(), chance=lambda: self.chance, in_time=self._in_time)
        self.calls = Calls(self.backend, seams, self.budget, self.interrupt, self.grace)

    def _before(self, operation: str, key: str) -> None:
        self.tries.append(self.world.time)
        if self.trouble is not None:
            raise self.trouble

    def _in_time(self, request: Callable[[], T], left: Callable[[], float]) -> T:
        if not self.hangs:
            return request()
        self.tries.append(self.world.time)
        while left() > 0:
            self.world.sleep(0.25)
        raise UnreachableError("no answer in time")

    @property
    def pauses(self) -> list[float]:
        return [round(after - before, 3) for before, after in zip(self.tries, self.tries[1:], strict=False)]


def fail(setting: Setting, size: int = 0) -> StorageError:
    with pytest.raises(StorageError) as caught:
        setting.calls.put("write a pack to", "packs/x", bytes(size))
    return caught.value


def test_pauses_double_up_to_the_longest_and_the_budget_is_kept() -> None:
    setting = Setting(UnreachableError("500"), chance=1.0)
    error = fail(setting)
    assert setting.pauses[:9] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert set(setting.pauses[9:]) == {10.0}
    assert 90.0 < setting.world.time <= 100.0
    assert f"500 (tried {len(setting.tries)} times in {setting.world.time:.0f} s)" in str(error)


def test_pauses_are_jittered_between_half_and_whole() -> None:
    lowest = Setting(UnreachableError("500"), chance=0.0)
    fail(lowest)
    assert lowest.pauses[:3] == [0.05, 0.1, 0.2]


def test_after_slow_down_the_pauses_are_ten_times_as_long() -> None:
    setting = Setting(ThrottledError("503 SlowDown"), chance=1.0)
    fail(setting)
    assert setting.pauses[:5] == [1.0, 2.0, 4.0, 8.0, 10.0]


def test_what_repeating_will_not_change_is_not_repeated() -> None:
    setting = Setting(RefusedError("403 AccessDenied", "Check the credentials"))
    error = fail(setting)
    assert len(setting.tries) == 1
    assert str(error).endswith("403 AccessDenied. Check the credentials")


def test_a_try_that_hangs_leaves_time_for_others_and_the_budget_is_kept() -> None:
    setting = Setting(hangs=True)
    error = fail(setting)
    assert all(15.0 <= pause < 26.0 for pause in setting.pauses)
    assert len(setting.tries) > 4
    assert setting.world.time <= 100.0 + 1.0
    assert "no answer in time" in str(error)


def test_a_transfer_gets_the_time_that_its_bytes_need() -> None:
    setting = Setting(hangs=True, chance=1.0)
    fail(setting, size=100 * SLOWEST)
    assert 115.0 <= setting.pauses[0] < 116.0
    assert 100.0 < setting.world.time <= 201.0


def test_one_of_several_transfers_gets_the_time_that_its_share_of_the_line_needs() -> None:
    setting = Setting(hangs=True, chance=1.0)
    calls = setting.calls.beside(lambda: None, lambda began: None, lambda: 4)
    with pytest.raises(StorageError):
        calls.put("write a pack to", "packs/x", bytes(100 * SLOWEST))
    assert 415.0 <= setting.pauses[0] < 416.0


def test_an_answer_that_goes_on_is_waited_for_and_one_that_falls_silent_is_not() -> None:
    setting, came = Setting(), list[float]()
    patience = setting.calls.beside(lambda: None, lambda began: None, lambda: 4).patience(100 * SLOWEST)
    left = patience.one_try(lambda: came[-1] if came else None)
    assert left() == 115.0, "nothing came: not four times as long"
    for _ in range(3):
        setting.world.sleep(100.0)
        came.append(setting.world.time)
        assert left() == 115.0
    setting.world.sleep(100.0)
    assert left() == 15.0, "it fell silent"
    came.append(setting.world.time)
    assert left() == 15.0, "not for ever: it had all the time that its share of a slow line needs"


def test_a_large_transfer_that_fails_at_once_is_not_repeated_any_longer() -> None:
    setting = Setting(UnreachableError("500"), chance=1.0)
    fail(setting, size=100 * SLOWEST)
    assert 90.0 < setting.world.time <= 100.0


# --- After a stop order ----------------------------------------------------------------------------------------------
class Stopped:
    """A stop order that comes at `since`, `seconds` before the kill."""

    def __init__(self, since: float, seconds: float = 15.0) -> None:
        self._since, self._end = since, since + seconds
        self.world = World()

    def grace(self) -> float | None:
        return None if self.world.time < self._since else max(0.0, self._end - self.world.time)

    def meet(self, setting: Setting) -> Setting:
        self.world = setting.world
        return setting


@pytest.mark.parametrize("hangs", [False, True])
def test_what_is_left_of_the_grace_is_used_and_two_seconds_are_kept_for_telling(hangs: bool) -> None:
    stopped = Stopped(since=0.0)
    setting = stopped.meet(Setting(UnreachableError("500"), hangs=hangs, chance=1.0, grace=stopped.grace))
    fail(setting)
    assert len(setting.tries) >= (4 if hangs else 10)
    assert 11.0 <= setting.world.time <= 13.3


def test_a_long_pause_is_cut_short_by_a_stop_order() -> None:
    stopped = Stopped(since=20.0)
    setting = stopped.meet(Setting(UnreachableError("500"), chance=1.0, grace=stopped.grace))
    fail(setting)
    assert len([at for at in setting.tries if at >= 20.0]) >= 10
    assert min(at for at in setting.tries if at >= 20.0) < 20.5
    assert setting.world.time <= 34.1


def test_a_try_that_hangs_when_the_stop_order_comes_is_given_up_in_time_to_try_again() -> None:
    stopped = Stopped(since=2.0)
    setting = stopped.meet(Setting(hangs=True, grace=stopped.grace))
    fail(setting)
    assert setting.tries[1] < 7.0
    assert setting.world.time <= 16.3


def test_a_large_transfer_is_not_given_up_early() -> None:
    stopped = Stopped(since=2.0)
    setting = stopped.meet(Setting(hangs=True, grace=stopped.grace))
    fail(setting, size=100 * SLOWEST)
    assert len(setting.tries) == 1
    assert 14.5 < setting.world.time <= 15.3


def test_a_stop_order_ends_a_hanging_start() -> None:
    def interrupt() -> None:
        if setting.world.time >= 3.0:
            raise StopRequested

    setting = Setting(hangs=True, interrupt=lambda: interrupt())
    with pytest.raises(StopRequested):
        setting.calls.get("read format.json of", "format.json", 100)
    assert setting.world.time < 4.0


# --- What is known of a save -----------------------------------------------------------------------------------------
def full(execute: Any) -> None:
    raise NotNowError("No space left on device", "Free space")


def lost(execute: Any) -> None:
    execute()
    raise UnreachableError("reset")


def test_a_save_that_only_ever_met_a_full_disk_is_not_saved_and_nothing_is_looked_for() -> None:
    backend = SteppedBackend()
    process = Process(backend)
    backend.plan("put_new", "log/", *[full] * 100)
    backend.requests.clear()
    with pytest.raises(StorageError, match=r"No space left on device \(tried .*\)\. Free space") as caught:
        process.save(b"x")
    assert caught.value.outcome == "not saved"
    assert {operation for operation, _ in backend.requests} == {"put_new"}


def test_a_save_that_may_have_been_sent_before_the_disk_was_full_is_unknown() -> None:
    backend = SteppedBackend()
    process = Process(backend)
    backend.plan("put_new", "log/", process.backend.hang, *[full] * 100)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        process.save(b"x")
    assert caught.value.outcome == "unknown"


def test_a_disk_with_room_again_takes_the_save() -> None:
    backend = SteppedBackend()
    process = Process(backend)
    backend.plan("put_new", "log/", full, full)
    assert process.save(b"x").sequence == 2


# --- Waiting, for real -----------------------------------------------------------------------------------------------
def test_a_request_gives_what_it_returns_and_what_it_raises() -> None:
    assert waiting.in_time(lambda: 7, lambda: 5.0) == 7
    with pytest.raises(ZeroDivisionError):
        waiting.in_time(lambda: 1 // 0, lambda: 5.0)


def test_a_request_that_hangs_is_left_behind_when_its_time_is_up() -> None:
    held = threading.Event()
    end = time.monotonic() + 0.3
    with pytest.raises(UnreachableError, match="no answer in time"):
        waiting.in_time(lambda: held.wait(30), lambda: end - time.monotonic())
    assert time.monotonic() - end < 5.0
    held.set()


def test_an_interrupt_reaches_the_caller_while_the_request_hangs() -> None:
    held = threading.Event()
    asked = iter(range(1000))

    def left() -> float:
        if next(asked) > 2:
            raise StopRequested
        return 30.0

    with pytest.raises(StopRequested):
        waiting.in_time(lambda: held.wait(30), left)
    held.set()


def test_threads_are_kept_for_the_next_request_and_only_a_hanging_one_costs_another() -> None:
    started: list[threading.Thread] = []

    def spawn(work: Callable[[], None]) -> None:
        started.append(threading.Thread(target=work, daemon=True))
        started[-1].start()

    pool, held = waiting.Waiting(spawn), threading.Event()
    assert [pool.in_time(lambda: number, lambda: 5.0) for number in range(50)] == list(range(50))  # noqa: B023
    assert len(started) == 1
    with pytest.raises(UnreachableError):
        pool.in_time(lambda: held.wait(30), lambda: 0.0)
    assert pool.in_time(lambda: 7, lambda: 5.0) == 7
    assert len(started) == 2
    held.set()


def test_a_program_that_exits_and_can_start_no_thread_still_sends_its_last_save() -> None:
    def spawn(work: Callable[[], None]) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    pool = waiting.Waiting(spawn)
    assert pool.in_time(lambda: 7, lambda: 5.0) == 7
    with pytest.raises(ZeroDivisionError):
        pool.in_time(lambda: 1 // 0, lambda: 5.0)


def test_a_forked_child_waits_for_none_of_its_parents_threads() -> None:
    assert waiting.in_time(lambda: 7, lambda: 5.0) == 7
    child = os.fork()
    if child == 0:
        os._exit(waiting.in_time(lambda: 7, lambda: 5.0))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
