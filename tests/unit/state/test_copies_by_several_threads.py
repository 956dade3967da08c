"""A state is copied by several threads, and whatever interrupts that: who goes on leaves none of them behind."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from typing import Any

import numpy
import pytest

from waypost.state import copying
from waypost.state.copying import Block
from waypost.store import crew, undisturbed


@pytest.mark.parametrize("cores", [1, 3, 64])
def test_every_byte_is_copied_once_however_many_threads_share_it(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "cores", lambda: cores)
    monkeypatch.setattr(copying, "ENOUGH", 100)
    chance = numpy.random.default_rng(4)
    sizes = [0, 1, 99, 100, 101, 5000, 3, 0, 2048]
    sources = [chance.integers(0, 256, size, "uint8") for size in sizes]
    target = numpy.zeros(sum(sizes) + 1, "uint8")
    blocks, at = [], 0
    for source in sources:
        blocks.append(Block(target.ctypes.data + at, source.ctypes.data, source.size))
        at += source.size
    copying.copy(blocks)
    assert target[:-1].tobytes() == b"".join(source.tobytes() for source in sources)
    assert target[-1] == 0
    copying.copy([])


@pytest.mark.parametrize("when", ["while it copies itself", "between two starts", "while it waits", "twice"])
def test_an_interrupted_copy_returns_only_when_no_thread_copies_any_more(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle: the buffer is given back next, and another save fills it."""
    main, began, over = threading.get_ident(), threading.Event(), list[int]()
    start, starts, looks = _thread.start_new_thread, list[int](), list[int]()
    look = crew._Turn.is_over

    def copy(blocks: Any) -> None:
        if threading.get_ident() == main:
            assert began.wait(10)
            if when in ("while it copies itself", "twice"):
                raise KeyboardInterrupt
            return
        began.set()
        time.sleep(0.1)
        over.append(1)

    def starting(*arguments: Any) -> int:
        if starts and when == "between two starts":
            assert began.wait(10)
            raise KeyboardInterrupt
        starts.append(1)
        return start(*arguments)

    def looking(turn: crew._Turn) -> bool:
        looks.append(1)
        if len(looks) in (1, 2, 4, 7) and when in ("while it waits", "twice"):
            raise KeyboardInterrupt
        over = look(turn)
        if len(looks) == 10 and when == "twice":
            raise KeyboardInterrupt  # it has seen that, but not returned yet
        return over

    monkeypatch.setattr(copying, "_copy", copy)
    monkeypatch.setattr(crew, "cores", lambda: 3)
    monkeypatch.setattr(copying, "ENOUGH", 1)
    monkeypatch.setattr(_thread, "start_new_thread", starting)
    monkeypatch.setattr(crew._Turn, "is_over", looking)
    with pytest.raises(KeyboardInterrupt):
        copying.copy([Block(0, 0, 10)])
    seen = len(over)
    assert seen >= 1
    time.sleep(0.15)
    assert len(over) == seen, "a thread went on"


def test_no_ctrl_c_at_whatever_line_leaves_a_thread_behind_or_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each line, and each entry of a function, of what starts the threads and waits for them."""
    where = {crew.__file__, undisturbed.__file__}
    main, busy = threading.get_ident(), list[int]()

    def task() -> None:
        if threading.get_ident() == main:
            time.sleep(0.001)  # the others take theirs meanwhile
        else:
            busy.append(1)
            time.sleep(0.005)
            busy.pop()

    for at in range(400):
        events = 0

        def trace(frame: Any, event: str, _: Any, at: int = at) -> Any:
            nonlocal events
            if frame.f_code.co_filename not in where:
                return None
            if event in ("call", "line", "return"):
                events += 1
                if events == at + 1:
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            crew.work([task] * 3)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        assert not busy, f"a thread went on behind interruption {at}"
        if events <= at:
            return
