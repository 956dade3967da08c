"""What a program gives up is in the store, or on the disk with all its bytes: whatever fails, interrupts or kills."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.store.consumed import Kept, given, made
from tests.unit.store.stepped import BUDGET, Process, SteppedBackend, World, fail, lose_answer, refuse
from tests.unit.store.test_linking import Gate
from waypost.checkpoints import Checkpoints
from waypost.errors import WaypostError
from waypost.store import consuming, keys, leftovers, renaming, saver, snapshot, submitting, undisturbed

TRACED = {module.__file__ for module in (consuming, leftovers, renaming, saver, snapshot, submitting, undisturbed)}
SMALL = 10
PROGRAM = Path(__file__).with_name("killed_consumer.py")


def opened(backend: SteppedBackend, attempt: int | None = 1) -> Checkpoints:
    return Checkpoints(attempt=attempt, backend=backend, seams=World().seams(), saving=BUDGET)


@contextlib.contextmanager
def interrupted(*at: int) -> Iterator[list[int]]:
    """Ctrl-C at these of the steps of this thread: lines, entries and returns of what saves. How many there were."""
    steps = [0]

    def trace(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in TRACED:
            return None
        if event in ("call", "line", "return"):
            steps[0] += 1
            if steps[0] in at:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        yield steps
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)


def interrupted_at(
    at: int, again: int | None, kind: str, backend: SteppedBackend, store: Checkpoints, kept: Kept
) -> bool:
    """A save interrupted at this step, which takes the place of another one; how many steps there were."""
    kept.made = []
    for name in ("older", "newer"):
        content = f"{at} {name}".encode()
        if kind == "file":
            kept.parent.mkdir(exist_ok=True)
            (kept.parent / name).write_bytes(content)
        else:
            made(kept.parent / name, content, SMALL)
        kept.remember(kept.parent / name)
    if kind == "refused":
        (kept.parent / "newer" / "out").symlink_to("/")
    gate = Gate(backend, store)
    store.save(kept.parent / "older", consume=True)
    with interrupted(at, *([] if again is None else [at + again])) as steps, contextlib.suppress(WaypostError):
        store.save(kept.parent / "newer", consume=True)
    gate.open.set()
    store.flush(20)
    if kind == "refused":
        (kept.parent / "newer" / "out").unlink()
    assert kept.lost() == []
    consuming.put_all_back()  # as the interpreter's exit
    assert not consuming._under_way
    if renaming._renameat2 is not None:  # else an empty folder may stay that was made to be renamed over
        assert given(kept.parent) == []
    assert kept.lost() == []
    return steps[0] >= at


def require_kept_at_every_step(kind: str, again: int | None, stride: int, folder: Path) -> None:
    """Ctrl-C at each step in turn; `again`: once more so many steps later."""
    first, more = 1, True
    while more:
        backend = SteppedBackend()
        with opened(backend) as store:
            for at in range(first, first + 20 * stride, stride):  # then another one: a long log takes long to read
                kept = Kept(folder / f"{at}", folder / f"restored-{at}", functools.partial(opened, backend, None))
                more = interrupted_at(at, again, kind, backend, store, kept)
            first = at + stride
    assert first > 100, "it was traced line by line"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_ctrl_c_at_many_a_step_leaves_it_stored_or_where_it_was(kind: str, tmp_path: Path) -> None:
    require_kept_at_every_step(kind, None, 29, tmp_path)


@pytest.mark.deep
@pytest.mark.parametrize(
    ("kind", "again"),
    [("folder", None), ("folder", 1), ("folder", 7), ("file", None), ("refused", None), ("without renameat2", None)],
)
def test_ctrl_c_at_any_step_leaves_it_stored_or_where_it_was(
    kind: str, again: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "without renameat2":
        monkeypatch.setattr(renaming, "_renameat2", None)
    require_kept_at_every_step(kind, again, 1, tmp_path)


FAULTS: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("put", keys.PACKS, refuse),
    ("put", keys.PACKS, fail),
    ("put", keys.PACKS, lose_answer),
    ("put_new", keys.LOG, refuse),
    ("put_new", keys.LOG, fail),
    ("put_new", keys.LOG, lose_answer),
    ("get", keys.LOG, fail),
)


class Turmoil:
    """One order of events of many: saves of three names, by a program that makes what it gives up anew."""

    def __init__(self, seed: int, folder: Path) -> None:
        self._chance = random.Random(seed)
        self.backend, self._numbers = SteppedBackend(), itertools.count()
        self._through = threading.Event()
        self._through.set()
        self.backend.before = self._pass
        self.parent = folder / "run"
        self.parent.mkdir()
        self.kept = Kept(self.parent, folder / "restored", lambda: opened(self.backend, None))
        self.store = opened(self.backend)
        self.log: list[str] = []

    def _pass(self, operation: str, key: str) -> None:
        if operation.startswith("put"):
            assert self._through.wait(20)

    def _place(self) -> Path:
        return self.parent / self._chance.choice("abc")

    def make(self) -> None:
        """What the program does next; it leaves alone what it finds there."""
        place, content = self._place(), b"%d," % next(self._numbers)
        size = self._chance.choice([1, 30_000])
        with contextlib.suppress(FileExistsError):
            if self._chance.random() < 0.3:
                with open(place, "xb") as file:
                    file.write(content * size)
            else:
                place.mkdir()
                made(place, content, size)
            self.kept.remember(place)
            self.log.append(f"made {content!r} at {place.name}")

    def save(self, *, interrupt: bool = False) -> None:
        place, wait = self._place(), self._through.is_set() and self._chance.random() < 0.2
        at = self._chance.randrange(1, 150) if interrupt else 0
        self.log.append(f"save {place.name}, wait={wait}, interrupted at {at}")
        with contextlib.suppress(WaypostError, OSError), interrupted(at):
            self.store.save(place, consume=True, wait=wait)

    def interrupt(self) -> None:
        self.save(interrupt=True)

    def save_another(self) -> None:
        self.log.append("save bytes")
        with contextlib.suppress(WaypostError):
            self.store.save(os.urandom(8))

    def break_something(self) -> None:
        operation, key, fault = self._chance.choice(FAULTS)
        self.log.append(f"{operation} {key} {fault.__name__}")
        self.backend.plan(operation, key, *[fault] * self._chance.choice([1, 1, 100]))

    def mend(self) -> None:
        self.backend._plans.clear()

    def hold(self) -> None:
        self._through.clear()

    def go_on(self) -> None:
        self._through.set()

    def flush(self) -> None:
        self._through.set()
        with contextlib.suppress(WaypostError, OSError):
            self.store.flush(20)

    def fence(self) -> None:
        if self._chance.random() < 0.2:
            self._through.set()
            self.mend()
            self.log.append("fenced")
            with contextlib.suppress(WaypostError):
                Process(self.backend, attempt=2)

    def run(self) -> None:
        steps = [self.make, self.make, self.save, self.save, self.save, self.interrupt, self.save_another]
        steps += [self.break_something, self.mend, self.hold, self.go_on, self.flush, self.fence]
        for _ in range(40):
            self._chance.choice(steps)()
            if self._chance.random() < 0.2:
                self._require_all()
        self.flush()
        with contextlib.suppress(WaypostError, OSError):
            self.store.close()
        consuming.put_all_back()
        self.mend()
        self._require_all()

    def _require_all(self) -> None:
        plans, self.backend._plans = self.backend._plans, type(self.backend._plans)()
        lost = self.kept.lost()
        self.backend._plans = plans
        assert not lost, "\n".join([f"lost: {[str(one)[:80] for one in lost]}", *self.log])


def turmoil(seeds: range, folder: Path) -> None:
    for seed in seeds:
        (folder / f"{seed}").mkdir()
        order = Turmoil(seed, folder / f"{seed}")
        try:
            order.run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        finally:
            order.go_on()


def test_in_a_few_orders_of_events_nothing_is_lost(tmp_path: Path) -> None:
    turmoil(range(8), tmp_path)


@pytest.mark.deep
def test_in_many_orders_of_events_nothing_is_lost(tmp_path: Path) -> None:
    turmoil(range(100, 180), tmp_path)


@pytest.mark.deep
@pytest.mark.parametrize(
    ("kind", "how", "stride"), [("folder", "renameat2", "1"), ("folder", "without", "4"), ("file", "without", "3")]
)
def test_a_kill_at_any_step_leaves_it_stored_or_on_the_disk(kind: str, how: str, stride: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), kind, how, stride, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[-1][1] == "lived", "every step had its turn"
    seen = {where for _, _, *places in lines for where in places}
    assert seen == {"place", "given", "stored"}
    assert len(lines) > 100
